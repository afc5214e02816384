"""The inverse STFT, a few frames at a time.

Letters in shapes: B batch, C channels, F frequencies, T frames, L samples.
"""

import torch
from torch import Tensor, nn

from hdemucs.model.spectrogram import ALIGNMENTS, Synthesis, overlap_add

FRAMES = 16
"""Number of frames to process at a time."""


class FastSynthesis(nn.Module):
    """Fast form of `Synthesis`: a few frames go all the way while they are in the cache.

    A spectrum that is `mean` in the real and imaginary part of every bin is a known frame; it is added to the
    frames, with the window, in the product that scales them.
    """

    def __init__(self, synthesis: Synthesis, dtype: torch.dtype) -> None:
        super().__init__()
        self._padding = synthesis.padding

    def forward(self, y: Tensor, mean: Tensor, std: Tensor, length: int) -> Tensor:
        """`[B, 2 * C, F, T]`, real and imaginary parts standardised, to waveforms `[B, C, length]`."""
        y = y.permute(0, 2, 3, 1)
        b, f, count, channels = y.shape
        channels //= 2
        n_fft, hop = 2 * f, f // 2
        start, border = ALIGNMENTS[self._padding](hop)
        window = torch.hann_window(n_fft, dtype=mean.dtype)
        scale = window * std
        level = mean * torch.fft.irfft(torch.full((f,), 1 + 1j), n_fft, norm="ortho") * window
        out = torch.zeros(b, channels, (count + 3) * hop)
        for first in range(0, count, FRAMES):
            part = y[:, :, first : first + FRAMES].contiguous().to(mean.dtype)
            bins = torch.view_as_complex(part.unflatten(3, (channels, 2))).flatten(2)
            # torch transposes a matrix in blocks, but not a tensor of more dimensions.
            spectra = torch.stack([one.t().contiguous() for one in bins])
            frames = torch.fft.irfft(spectra, n_fft, norm="ortho")
            frames = frames.unflatten(1, (-1, channels)).transpose(1, 2)
            frames = torch.addcmul(level, frames, scale)
            n = frames.shape[2]
            out[..., first * hop : (first + n + 3) * hop] += overlap_add(frames)
        envelope = overlap_add((window**2).expand(count + 2 * border, -1))
        out = out[..., start : start + length]
        out /= envelope[start + border * hop :][:length]
        return out
