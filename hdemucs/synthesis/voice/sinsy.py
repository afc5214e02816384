"""Singing that was sung: phrases by Sinsy, whose voice was made from recorded songs (the package pysinsy).

Sinsy sings MusicXML with hidden Markov models (Oura et al.: Recent development of the HMM-based singing voice
synthesis system Sinsy, SSW7, 2010). Its vowels are those of held notes, which no speech has.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from hdemucs.errors import SynthesisError
from hdemucs.synthesis.voice.speakers import PHRASES, Clip, Speaker

_TEMPO = 90
_LOW, _HIGH = 62, 72  # MIDI numbers: below, its filter is often unstable; above, envelopes are too coarse
_FULL_SCALE = 32768.0
_LOUDEST = 10000.0  # of sound phrases; those with higher peaks contain an unstable filter
_TRIES = 4 * PHRASES
_SPEECH_BELOW = 10.0  # semitones by which speech is lower than these phrases
_OCTAVES = 3.0  # by which a voice is lower when its vocal tract is twice as long
_STEPS = ("C", "C+", "D", "D+", "E", "F", "F+", "G", "G+", "A", "A+", "B")
_SYLLABLES = (
    *"あいうえおかきくけこがぎぐげごさしすせそざじずぜぞたちつてとだでどなにぬねの",
    *"はひふへほばびぶべぼぱぴぷぺぽまみむめもやゆよらりるれろわ",
    *("きゃ", "きょ", "しゃ", "しゅ", "ちゃ", "ちょ", "にゃ", "りゃ", "りょ", "ふぁ", "うぃ", "うぇ", "てぃ"),
)


@dataclass(frozen=True)
class Sinsy(Speaker):
    """A singer of the package pysinsy.

    Attributes:
        size: Speed at which the phrases are played: below 1, the singer's vocal tract is longer.
    """

    size: float = 1.0

    def available(self) -> bool:
        # pysinsy itself imports pkg_resources, which newer versions of setuptools no longer have.
        return find_spec("pysinsy") is not None and find_spec("pkg_resources") is not None

    def clips(self) -> Iterator[Clip]:
        rng = np.random.default_rng(list(repr(self).encode()))
        sung = 0
        for _ in range(_TRIES):
            samples, rate = _sung(_phrase(rng))
            if np.abs(samples).max(initial=0) < _LOUDEST:
                sung += 1
                yield samples / _FULL_SCALE, round(rate * self.size)
            if sung == PHRASES:
                return

    def home(self, measured: float) -> float:
        longer = -12 * np.log2(self.size)
        return float(measured - _SPEECH_BELOW - (_OCTAVES - 1) * longer)


_Sung = tuple[int, int, str]  # MIDI number, length in quarters of a beat, syllable


def _phrase(rng: np.random.Generator) -> list[_Sung]:
    """Draw a melody of short and long notes, each with a syllable."""
    count = int(rng.integers(6, 9))
    pitches = np.clip(rng.integers(_LOW, _HIGH) + np.cumsum(rng.integers(-4, 5, count)), _LOW, _HIGH)
    lengths = rng.choice([1, 2, 3, 4, 6], count)
    syllables = rng.choice(_SYLLABLES, count)
    return [(int(p), int(n), str(s)) for p, n, s in zip(pitches, lengths, syllables, strict=True)]


def musicxml(phrase: Sequence[_Sung]) -> str:
    """A phrase as a score, with a rest before and after it."""
    rest = "<note><rest/><duration>2</duration><voice>1</voice></note>"
    notes = "".join(
        f"<note><pitch><step>{_STEPS[pitch % 12][0]}</step><alter>{len(_STEPS[pitch % 12]) - 1}</alter>"
        f"<octave>{pitch // 12 - 1}</octave></pitch><duration>{length}</duration><voice>1</voice>"
        f"<lyric><syllabic>single</syllabic><text>{syllable}</text></lyric></note>"
        for pitch, length, syllable in phrase
    )
    beats = 4 + sum(length for _, length, _ in phrase)
    return (
        '<?xml version="1.0" encoding="UTF-8"?><score-partwise version="2.0">'
        '<part-list><score-part id="P1"><part-name>voice</part-name></score-part></part-list>'
        '<part id="P1"><measure number="1"><attributes><divisions>4</divisions>'
        f"<key><fifths>0</fifths></key><time><beats>{beats}</beats><beat-type>16</beat-type></time>"
        "<clef><sign>G</sign><line>2</line></clef></attributes>"
        f'<direction><sound tempo="{_TEMPO}"/></direction>'
        f"{rest}{notes}{rest}</measure></part></score-partwise>"
    )


def _sung(phrase: Sequence[_Sung]) -> Clip:
    """Sing a phrase; samples as for 16 bits."""
    engine = _engine()
    with tempfile.TemporaryDirectory() as folder:
        score = Path(folder) / "phrase.xml"
        score.write_text(musicxml(phrase), encoding="utf-8")
        read = engine.loadScoreFromMusicXML(str(score))
    if not read:
        raise SynthesisError("pysinsy does not sing (its score was not read); reinstall the package")
    samples, rate = engine.synthesize()
    engine.clearScore()
    return samples, int(rate)


@cache
def _engine() -> Any:
    import pysinsy

    engine = pysinsy.Sinsy()
    ready = engine.setLanguages("j", pysinsy.get_default_dic_dir())
    if not (ready and engine.loadVoices(pysinsy.get_default_htsvoice())):
        raise SynthesisError("pysinsy does not sing (its voice was not read); reinstall the package")
    return engine
