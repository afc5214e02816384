"""Change of tempo and pitch on the CPU (Cohen-Hadria et al. 2019, as in demucs 4.1.0).

Letters in shapes: R rows (the sources, then the rest of the mixture), C channels, L samples.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from hdemucs.audio import resample
from hdemucs.errors import TrainingError, install_extra

MARGIN = 4096
"""Extra samples read on either side of an excerpt, as the stretcher fades within 60 ms of its ends."""

VOICE_SHARE = 0.5
"""Share of the pitch change that voices get, because their formants move with the pitch."""


@dataclass(frozen=True)
class Change:
    """A change of tempo and pitch, the same for all stems of an excerpt.

    Attributes:
        tempo: Tempo factor: 1.1 is 10% faster.
        pitch: Change of pitch in semitones, possibly fractional.
    """

    tempo: float
    pitch: float

    def source_length(self, length: int) -> int:
        """Number of samples of the song needed for `length` samples of the result, margins included."""
        return math.ceil(length * self.tempo) + 2 * MARGIN

    def apply(self, stems: Tensor, length: int, sample_rate: int, voices: Sequence[int] = ()) -> Tensor:
        """Change tempo and pitch of all stems alike, except that voices get half of the pitch change.

        Sample `t` of the result is what was at `MARGIN + t * tempo`, in all rows. The tempo is changed by a
        phase vocoder, which preserves frequencies; the pitch by resampling its output, which scales all
        frequencies by exactly the same ratio (a fraction within 0.2 cents of the requested change). Tones
        keep their level within 0.1 dB; noise loses 0.6 dB, or 1 dB at the largest changes. The same input
        gives the same output.

        demucs 4.1.0 gives voices the full pitch change, with SoundTouch's windows for speech. Here they get
        less, because formants move with the pitch, and few singers have formants that far off. Voices may end
        up in another key than the rest, but remix combines stems of different songs anyway.

        Args:
            stems: Excerpt of the song, `[R, C, source_length(length)]` float32.
            length: Length of the result in samples.
            sample_rate: Sample rate in Hz.
            voices: Indices of the rows that are voices.

        Returns:
            Changed stems `[R, C, length]`. Silent rows stay exactly silent.

        Raises:
            TrainingError: python-stretch is not installed.
            ValueError: The stems have another length than `source_length(length)`.
        """
        if stems.shape[-1] != self.source_length(length):
            raise ValueError(
                f"{length} samples need stems of {self.source_length(length)} samples, not {stems.shape[-1]}"
            )
        changed = stems.new_zeros(*stems.shape[:-1], length)
        start = round(MARGIN / self.tempo)
        for index, row in enumerate(stems):
            # Row by row: the vocoder couples the phases of the channels that it processes together.
            if row.any():
                pitch = self.pitch * (VOICE_SHARE if index in voices else 1)
                changed[index] = _change(row, self.tempo, pitch, sample_rate)[:, start : start + length]
        return changed


@dataclass(frozen=True)
class Repitch:
    """Random change of the tempo and pitch of excerpts; defaults are the paper's.

    Attributes:
        probability: Probability that an excerpt is changed at all.
        max_tempo: Maximum change of tempo, as a fraction: 0.12 is 12%.
        tempo_std: Standard deviation of the change of tempo, as a fraction, before clipping to `max_tempo`.
        max_pitch: Maximum change of pitch in semitones; all whole numbers up to it, up or down, are equally
            likely.
    """

    probability: float = 0.2
    max_tempo: float = 0.12
    tempo_std: float = 0.05
    max_pitch: int = 2

    def draw(self, rng: np.random.Generator) -> Change | None:
        """Draw the change for one excerpt; None to leave it as it is."""
        if rng.random() >= self.probability:
            return None
        tempo = 1 + float(np.clip(rng.normal(0, self.tempo_std), -self.max_tempo, self.max_tempo))
        return Change(tempo, int(rng.integers(-self.max_pitch, self.max_pitch, endpoint=True)))


def _change(row: Tensor, tempo: float, pitch: float, sample_rate: int) -> Tensor:
    """Change a signal `[C, L]` to about `L / tempo` samples; the first sample stays aligned."""
    if tempo == 1 and pitch == 0:
        return row
    try:
        from python_stretch.Signalsmith import Stretch
    except ImportError as error:
        raise TrainingError(
            f"changing tempo and pitch needs python-stretch: {install_extra('train')}, "
            "or set augment.repitch.probability=0"
        ) from error
    # A denominator of at most 200 keeps the filter short and the ratio within 0.2 cents.
    ratio = Fraction(2 ** (pitch / 12)).limit_denominator(200)
    stretch = Stretch(0)
    stretch.preset(row.shape[0], sample_rate)
    stretch.setTimeFactor(tempo / float(ratio))
    stretched = torch.from_numpy(stretch.process(np.ascontiguousarray(row.numpy())))
    return torch.cat(list(resample([stretched], ratio.numerator, ratio.denominator)), -1)
