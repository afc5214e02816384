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
    """Independent random changes to every row of every example.

    They are applied in this order: shift in time, swap of left and right, change of sign, gain or silence,
    and remix, which shuffles the rows of each source within groups of examples, so that a mixture combines
    several songs. Finally, whole examples may be made mono.

    Attributes:
        shift: Maximum shift in samples; the output is shorter by this amount.
        flip_channels: Whether to swap left and right in half of the rows of stereo examples.
        flip_sign: Whether to invert the polarity of half of the rows.
        gain: Smallest and largest factor applied to a row.
        remix_group: Number of examples among which rows are shuffled; 0 switches remix off. Small groups,
            unlike whole batches, keep the probability that two rows of a song stay together the same on any
            number of devices. A batch that does not divide evenly is split into the fewest groups of at most
            this size, as equal as possible.
        mute: Probability that a row is silenced. Without it, a network trained on songs that have every
            source all the time learns to find each source in anything.
        mono: Probability that all channels of an example are replaced by their mean, as in mono recordings.
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

        The rest of a song contains its unknown sources. In the example that remix moves this row to, exactly
        these sources are in the mixture but not in their own rows, so the mask of the known sources moves
        along with the rest.

        Args:
            stems: Sources and rest, `[B, R, C, L]`; their sum is the mixture.
            known: Mask of the sources whose row is the true stem, `[B, S]` bool.
            generator: Random number generator, on the device of the stems or on the CPU. One on the CPU gives
                the same numbers whatever the device.

        Returns:
            Augmented stems `[B, R, C, L - shift]` and the mask of their known sources `[B, S]`.

        Raises:
            ValueError: The stems are not longer than the shift.
        """
        batch, rows, channels, length = stems.shape
        if length <= self.shift:
            raise ValueError(f"stems of {length} samples cannot be shifted by up to {self.shift}")

        def uniform() -> Tensor:
            return torch.rand(batch, rows, generator=generator, device=generator.device, dtype=torch.float64)

        # Everything is drawn, needed or not, so that switching one change off leaves the others as they are.
        offset = (uniform() * (self.shift + 1)).long()
        swap = uniform() < 0.5
        sign = torch.where((uniform() < 0.5) & self.flip_sign, -1.0, 1.0)
        low, high = self.gain
        factor = sign * (low + (high - low) * uniform())
        example = self._remix(uniform())
        factor = torch.where(uniform() < self.mute, 0.0, factor)
        mono = uniform()[:, 0] < self.mono
        channel = torch.arange(channels, device=swap.device).expand(batch, rows, channels)
        if self.flip_channels and channels == 2:
            channel = channel ^ swap[..., None].long()

        # A single gather does everything but the gain, from a view of the stems at every possible start.
        places = stems.unfold(-1, length - self.shift, 1)
        row = torch.arange(rows, device=stems.device)[:, None]
        device = stems.device
        moved = places[example.to(device)[..., None], row, channel.to(device), offset.to(device)[..., None]]
        moved *= factor.to(stems)[..., None, None]
        moved[mono.to(device)] = moved[mono.to(device)].mean(2, keepdim=True)
        return moved, known[example[:, -1].to(known.device)]

    def _remix(self, order: Tensor) -> Tensor:
        """Index of the example that each row is taken from, `[B, R]`; `order` is uniform noise `[B, R]`."""
        batch = order.shape[0]
        index = torch.arange(batch, device=order.device)[:, None]
        if not self.remix_group:
            return index.expand_as(order)
        groups = -(-batch // self.remix_group)
        # Groups are runs of neighbouring examples, and sorting cannot move a row out of its own.
        return (index * groups // batch + order).argsort(dim=0)
