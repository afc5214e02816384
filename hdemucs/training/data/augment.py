"""Augmentation of a batch on its device (arXiv 1911.13254, with the settings of demucs 4.1.0).

Letters: B batch, R rows (the sources, and last the rest of the mixture), S = R - 1 sources, C channels,
L samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Augment:
    """Random change of every row of every example, each independent of the others.

    In this order: shift in time, swap of left and right, change of sign, gain or silence, and remix: within
    groups of examples, the rows of a source are dealt out anew, so that a mixture is of several songs. Last,
    whole examples may become mono.

    Attributes:
        shift: largest shift in samples; what comes out is so much shorter.
        flip_channels: swap left and right of half of the rows, where there are two channels.
        flip_sign: turn half of the rows upside down.
        gain: smallest and largest factor on a row.
        remix_group: examples among which rows are dealt out, 0 for no remix. Small groups, unlike whole
            batches, give the same odds that two rows of a song stay together on any number of devices. A
            batch that does not divide is split into as few groups of at most this size as it takes, as equal
            as possible.
        mute: share of the rows that are silenced. Where every song has every source all the time, a network
            would learn to find each of them in anything.
        mono: share of the examples of which all channels become their mean, for recordings without width.
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

        The rest holds the sources of its song that are not known. Wherever remix takes it, exactly these are
        in the mixture without being in their rows; so what is known goes with it.

        Args:
            stems: `[B, R, C, L]`, the sources and the rest; their sum is the mixture.
            known: `[B, S]` bool, the rows that are the true source.
            generator: of all draws, on the device of the stems or on the CPU. The latter gives the same draws
                for any device.

        Returns:
            New stems `[B, R, C, L - shift]` and what is known of them `[B, S]`.

        Raises:
            ValueError: the stems are not longer than the shift.
        """
        batch, rows, channels, samples = stems.shape
        if samples <= self.shift:
            raise ValueError(f"{samples} samples cannot be shifted by up to {self.shift}")

        def uniform() -> Tensor:
            return torch.rand(batch, rows, generator=generator, device=generator.device, dtype=torch.float64)

        # Drawn whether needed or not: switching one part off leaves the draws of the others.
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

        # One look-up does all but the gain: in a view of the stems from every place where a row could start.
        places = stems.unfold(-1, samples - self.shift, 1)
        row = torch.arange(rows, device=stems.device)[:, None]
        device = stems.device
        moved = places[example.to(device)[..., None], row, channel.to(device), offset.to(device)[..., None]]
        moved *= factor.to(stems)[..., None, None]
        moved[mono.to(device)] = moved[mono.to(device)].mean(2, keepdim=True)
        return moved, known[example[:, -1].to(known.device)]

    def _deal(self, order: Tensor) -> Tensor:
        """Which example each row comes from, `[B, R]`, by random numbers `[B, R]` from 0 to 1."""
        batch = order.shape[0]
        index = torch.arange(batch, device=order.device)[:, None]
        if not self.remix_group:
            return index.expand_as(order)
        groups = -(-batch // self.remix_group)
        # Groups are neighbours, and sorting cannot move a row beyond its own.
        return (index * groups // batch + order).argsort(dim=0)
