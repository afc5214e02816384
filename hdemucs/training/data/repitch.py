"""Change of tempo and pitch, on the CPU (Cohen-Hadria et al. 2019, as demucs 4.1.0 does it).

Letters: R rows (the sources, and last the rest of the mixture), C channels, L samples.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from hdemucs.audio import resample
from hdemucs.errors import TrainingError

MARGIN = 4096
"""Frames of the song on either side of an excerpt; a stretch fades within 60 ms of its ends."""

VOICE_SHARE = 0.5
"""Voices get half of the change of pitch, because their formants move with it."""


@dataclass(frozen=True)
class Change:
    """A change of tempo and pitch, the same for all stems of an excerpt.

    Attributes:
        tempo: 1.1 is faster by 10%.
        pitch: in semitones, not necessarily whole.
    """

    tempo: float
    pitch: float

    def source_length(self, length: int) -> int:
        """How many frames of the song make `length` changed ones, a margin on either side included."""
        return math.ceil(length * self.tempo) + 2 * MARGIN

    def apply(self, stems: Tensor, length: int, sample_rate: int, voices: Sequence[int] = ()) -> Tensor:
        """Change stems: all by the same tempo and pitch, but for voices, which get half of the pitch.

        Frame `t` of the result is what was at `MARGIN + t * tempo`, in all rows alike. The tempo is changed
        by a phase vocoder, which leaves frequencies where they are; the pitch by playing the result at
        another speed, which moves all by exactly its ratio (a fraction, off by a fifth of a cent at most).
        Tones keep their level within 0.1 dB; noise loses 0.6 dB, and 1 dB at the largest changes. The same
        input gives the same output.

        demucs 4.1.0 gives voices all of the pitch, with SoundTouch's windows for speech. They are spared here
        because formants move with the pitch, and few singers have formants so far off; that they end up in
        another key than the rest matters little where remix puts stems of different songs together anyway.

        Args:
            stems: `[R, C, source_length(length)]` float32.
            length: of the result.
            sample_rate: in Hz.
            voices: rows that are voices.

        Returns:
            `[R, C, length]`. Silent rows stay exactly silent.

        Raises:
            TrainingError: python-stretch is not installed.
            ValueError: the stems have another length.
        """
        if stems.shape[-1] != self.source_length(length):
            raise ValueError(
                f"{length} samples are made of {self.source_length(length)}, not {stems.shape[-1]}"
            )
        changed = stems.new_zeros(*stems.shape[:-1], length)
        start = round(MARGIN / self.tempo)
        for index, row in enumerate(stems):
            # Rows one by one: the vocoder ties the phases of channels that it gets together.
            if row.any():
                pitch = self.pitch * (VOICE_SHARE if index in voices else 1)
                changed[index] = _change(row, self.tempo, pitch, sample_rate)[:, start : start + length]
        return changed


@dataclass(frozen=True)
class Repitch:
    """How tempo and pitch of excerpts are changed at random; defaults are the paper's.

    Attributes:
        probability: that an excerpt is changed at all.
        max_tempo: largest change of tempo: 0.12 is 12%.
        tempo_std: standard deviation of the change of tempo before it is clipped to the largest.
        max_pitch: largest change of pitch, in semitones; all whole numbers up to it are as likely.
    """

    probability: float = 0.2
    max_tempo: float = 0.12
    tempo_std: float = 0.05
    max_pitch: int = 2

    def draw(self, rng: np.random.Generator) -> Change | None:
        """The change of one excerpt, or None if it stays as it is."""
        if rng.random() >= self.probability:
            return None
        tempo = 1 + float(np.clip(rng.normal(0, self.tempo_std), -self.max_tempo, self.max_tempo))
        return Change(tempo, int(rng.integers(-self.max_pitch, self.max_pitch, endpoint=True)))


def _change(row: Tensor, tempo: float, pitch: float, sample_rate: int) -> Tensor:
    """Signal `[C, L]` at another tempo and pitch; about `L / tempo` frames, aligned with the first."""
    if tempo == 1 and pitch == 0:
        return row
    try:
        from python_stretch.Signalsmith import Stretch
    except ImportError as error:
        raise TrainingError(
            "change of tempo and pitch needs python-stretch: pip install 'hdemucs[train]', "
            "or set augment.repitch.probability=0"
        ) from error
    # A denominator up to 200: off by 0.2 cents at most, and a short filter.
    ratio = Fraction(2 ** (pitch / 12)).limit_denominator(200)
    stretch = Stretch(0)
    stretch.preset(row.shape[0], sample_rate)
    stretch.setTimeFactor(tempo / float(ratio))
    stretched = torch.from_numpy(stretch.process(np.ascontiguousarray(row.numpy())))
    return torch.cat(list(resample([stretched], ratio.numerator, ratio.denominator)), -1)
