"""Augmentation of a batch on its device (arXiv 1911.13254, with the settings of demucs 4.1.0).

Letters in shapes: B batch, R rows (the sources, then the rest of the mixture), S = R - 1 sources, C channels,
L samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Augment:
    """Random changes of every row of every example, independent of each other.

    They are applied in this order: shift in time, swap of left and right, change of sign, gain or silence,
    and remix, which shuffles the rows of each source within groups of examples, so that a mixture combines
    several songs. Last, whole examples may become mono.

    Attributes:
        shift: Largest shift in samples; the output is shorter by as much.
        flip_channels: Swap left and right in half of the rows of stereo examples.
        flip_sign: Invert the polarity of half of the rows.
        gain: Smallest and largest factor applied to a row.
        remix_group: Number of examples among which rows are shuffled; 0 switches remix off. Small groups,
            unlike whole batches, make it equally likely on any number of devices that two rows of a song stay
            together. A batch that is not a multiple is split into the fewest groups of at most this size, as
            equal as possible.
        mute: Probability that a row is silenced. Without it, where every song has every source all the time,
            a network learns to find each source in anything.
        mono: Probability that all channels of an example become their mean, for recordings without width.
    """

    shift: int = 44100
    flip_channels: bool = True
    flip_sign: bool = True
    gain: Sequence[float] = (0.25, 1.25)
    remix_group: int = 4
    mute: float = 0.0
    mono: float = 0.0

    def __call__(self, stems: Tensor, known: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Augment a batch.

        The rest of a song holds its unknown sources. Wherever remix takes that row, exactly these sources are
        in the mixture without being in their own rows; so the flags of the known sources move along with the
        rest.

        Args:
            stems: Sources and rest, `[B, R, C, L]`; their sum is the mixture.
            known: Whether each row is the true source, `[B, S]` bool.
            generator: Source of all random numbers, on the device of the stems or on the CPU. On the CPU, it
                gives the same numbers for any device.

        Returns:
            Augmented stems `[B, R, C, L - shift]` and their known sources `[B, S]`.

        Raises:
            ValueError: The stems are not longer than the shift.
        """
        batch, rows, channels, length = stems.shape
        if length <= self.shift:
            raise ValueError(f"stems of {length} samples cannot be shifted by up to {self.shift}")

        def uniform() -> Tensor:
            return torch.rand(batch, rows, generator=generator, device=generator.device, dtype=torch.float64)

        # Everything is drawn, needed or not, so that switching one change off does not alter the others.
        offset = (uniform() * (self.shift + 1)).long()
        swap = uniform() < 0.5
        sign = torch.where((uniform() < 0.5) & self.flip_sign, -1.0, 1.0)
        low, high = self.gain
        factor = sign * (low + (high - low) * uniform())
        example = self._deal(uniform())
        factor = torch.where(uniform() < self.mute, 0.0, factor)
        mono = uniform()[:, 0] < self.mono
        channel = torch.arange(channels, device=swap.device).expand(batch, rows, channels)
        if self.flip_channels and channels == 2:
            channel = channel ^ swap[..., None].long()

        # One look-up does all but the gain, in a view of the stems from every sample where a row may start.
        places = stems.unfold(-1, length - self.shift, 1)
        row = torch.arange(rows, device=stems.device)[:, None]
        device = stems.device
        moved = places[example.to(device)[..., None], row, channel.to(device), offset.to(device)[..., None]]
        moved *= factor.to(stems)[..., None, None]
        moved[mono.to(device)] = moved[mono.to(device)].mean(2, keepdim=True)
        return moved, known[example[:, -1].to(known.device)]

    def _deal(self, order: Tensor) -> Tensor:
        """Index of the example that each row comes from, `[B, R]`; `order` is random, `[B, R]` in [0, 1)."""
        batch = order.shape[0]
        index = torch.arange(batch, device=order.device)[:, None]
        if not self.remix_group:
            return index.expand_as(order)
        groups = -(-batch // self.remix_group)
        # Groups are runs of neighbouring examples, and sorting cannot move a row out of its own.
        return (index * groups // batch + order).argsort(dim=0)
