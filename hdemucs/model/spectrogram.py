"""STFT and its inverse, with as many frames as the waveform branch has positions, and Wiener filtering.

Letters in shapes: B batch, S sources, C channels, F frequencies, T frames, L samples.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

Padding = Literal["aligned", "aligned_old", "centered"]
"""How the ends of the signal are padded, which determines the number of frames.

`aligned`: exactly ceil(L / hop) frames, with reflected ends (arXiv 2111.03600, section 3).
`aligned_old`: as many frames, but with zeros at the ends and an inverse that is 1.5 hops early, as in some
models of the MDX challenge.
`centered`: torch's own 1 + L // hop frames, for networks without a waveform branch to line up with.
"""

ALIGNMENTS: Mapping[Padding, Callable[[int], tuple[int, int]]] = {
    "aligned": lambda hop: (hop // 2 * 3, 2),
    "aligned_old": lambda hop: (0, 2),
    "centered": lambda hop: (2 * hop, 0),
}
"""For a hop: samples from the first frame to the signal, and number of frames missing on either side."""


def complex_device(device: torch.device) -> torch.device:
    """The device itself, or the CPU if the device has no complex numbers: some Apple and Intel GPUs."""
    return device if device.type in ("cpu", "cuda", "meta") else _probed(device)


@functools.cache
def _probed(device: torch.device) -> torch.device:
    try:
        x = torch.ones(1, 32, device=device)
        z = torch.stft(x, 16, window=x[0, :16], center=False, return_complex=True)
        z = torch.view_as_complex(torch.view_as_real(z).contiguous())
        torch.fft.irfft(z.transpose(-1, -2), 16).abs().sum().item()
    except (RuntimeError, NotImplementedError, TypeError, AssertionError):
        return torch.device("cpu")
    return device


def reflect_pad(x: Tensor, left: int, right: int) -> Tensor:
    """Pad the last axis by reflection; a signal too short for that is first extended with zeros."""
    missing = max(left, right) + 1 - x.shape[-1]
    if missing > 0:
        zeros_right = min(right, missing)
        zeros_left = missing - zeros_right
        x = F.pad(x, (zeros_left, zeros_right))
        left, right = left - zeros_left, right - zeros_right
    return F.pad(x, (left, right), mode="reflect")


def stft(x: Tensor, n_fft: int, padding: Padding = "aligned") -> Tensor:
    """Normalised short-time Fourier transform, Hann window, hop n_fft / 4, without the Nyquist bin.

    Args:
        x: Real signal `[B, C, L]`, L at least 1.
        n_fft: Window length in samples, a multiple of 8.
        padding: Padding of the ends, which determines T.

    Returns:
        Complex `[B, C, F, T]` with F = n_fft / 2 and T = ceil(L / hop), or 1 + L // hop if `centered`; on the
        CPU if the device of `x` has no complex numbers.
    """
    x = x.to(complex_device(x.device))
    hop = n_fft // 4
    length = x.shape[-1]
    if padding == "centered":
        x = reflect_pad(x, n_fft // 2, n_fft // 2)
    else:
        side = hop // 2 * 3
        sides = (side, side + -length % hop)
        x = reflect_pad(x, *sides) if padding == "aligned" else F.pad(x, sides)
    window = torch.hann_window(n_fft, dtype=x.dtype, device=x.device)
    z = torch.stft(
        x.flatten(0, 1), n_fft, hop, window=window, center=False, normalized=True, return_complex=True
    )
    return z.unflatten(0, x.shape[:2])[..., :-1, :]


def istft(z: Tensor, length: int, padding: Padding = "aligned") -> Tensor:
    """Inverse of `stft`: complex `[B, C, F, T]` to real `[B, C, length]`, with a Nyquist bin of zero."""
    n_fft = 2 * z.shape[-2]
    hop = n_fft // 4
    start, border = ALIGNMENTS[padding](hop)
    window = torch.hann_window(n_fft, dtype=z.real.dtype, device=z.device)
    frames = torch.fft.irfft(z.transpose(-1, -2), n_fft, norm="ortho")
    x = overlap_add(frames * window)[..., start : start + length]
    envelope = overlap_add((window**2).expand(z.shape[-1] + 2 * border, -1))
    return x / envelope[start + border * hop :][:length]


def overlap_add(frames: Tensor) -> Tensor:
    """Overlap-add of frames `[..., T, 4 * hop]`, giving `[..., (T + 3) * hop]`."""
    quarters = frames.unflatten(-1, (4, -1))
    out = F.pad(quarters[..., 0, :], (0, 0, 0, 3))
    for index in range(1, 4):
        out[..., index : index + frames.shape[-2], :] += quarters[..., index, :]
    return out.flatten(-2)


class Analysis(nn.Module):
    """From waveforms to the input of a network: spectrograms with real and imaginary parts as channels.

    Args:
        n_fft: Window length of the STFT in samples.
        padding: Padding of the STFT.
    """

    def __init__(self, n_fft: int, padding: Padding) -> None:
        super().__init__()
        self.n_fft = n_fft
        self.padding: Padding = padding

    def forward(self, mix: Tensor) -> Tensor:
        """Waveforms `[B, C, L]` to `[B, 2 * C, F, T]`, on the same device."""
        z = torch.view_as_real(stft(mix, self.n_fft, self.padding))
        return rearrange(z, "b c f t part -> b (c part) f t").to(mix.device)


class Synthesis(nn.Module):
    """From the standardised output of a network to waveforms.

    Args:
        padding: Padding of the STFT.
    """

    def __init__(self, padding: Padding) -> None:
        super().__init__()
        self.padding: Padding = padding

    def forward(self, y: Tensor, mean: Tensor, std: Tensor, length: int) -> Tensor:
        """`[B, 2 * C, F, T]`, real and imaginary parts standardised, to waveforms `[B, C, length]`."""
        x = torch.addcmul(mean, y.to(mean.dtype), std).to(complex_device(mean.device))
        # In channels-last memory, the real and imaginary parts of a bin are already adjacent.
        parts = x.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1).unflatten(-1, (-1, 2))
        z = torch.view_as_complex(parts).permute(0, 3, 1, 2)
        return istft(z, length, self.padding).to(mean.device)


def wiener(magnitudes: Tensor, mix: Tensor, iterations: int, window: int = 300) -> Tensor:
    """Complex spectrogram of each source from its magnitude and the phase of the mixture, then refined.

    The refinement is expectation-maximisation of a local Gaussian model with one spatial covariance per
    source and frequency (Nugraha, Liutkus, Vincent, 2016, as simplified by open-unmix).

    Args:
        magnitudes: Estimated magnitudes `[B, S, C, F, T]`.
        mix: Complex spectrogram of the mixture, `[B, C, F, T]`, C 1 or 2.
        iterations: Number of refinements; 0 only applies the phase of the mixture.
        window: Number of frames that share one covariance; 300 are about 7 s at a hop of 1024 and 44.1 kHz.

    Returns:
        Complex `[B, S, C, F, T]`.
    """
    phase = torch.polar(torch.ones_like(mix.abs()), mix.angle())
    sources = magnitudes * phase[:, None]
    if iterations == 0:
        return sources
    windows = zip(sources.split(window, -1), mix.split(window, -1), strict=True)
    return torch.cat([_maximise(y, x, iterations) for y, x in windows], -1)


def _maximise(sources: Tensor, mix: Tensor, iterations: int, eps: float = 1e-10) -> Tensor:
    """Refine one window, in double precision: covariances are nearly singular where a source plays alone."""
    precision, device = sources.dtype, sources.device
    # Apple's GPUs have no double precision.
    double_device = torch.device("cpu") if device.type == "mps" else device
    sources = sources.to(double_device, torch.complex128)
    mix = mix.to(double_device, torch.complex128)
    # The constants assume magnitudes of at most about 10, hence the common scale.
    scale = (mix.abs().amax((1, 2, 3), keepdim=True) / 10).clamp(min=1)
    mix = mix / scale
    sources = sources / scale[:, None]
    eye = torch.eye(mix.shape[1], dtype=mix.dtype, device=mix.device)
    for _ in range(iterations):
        power = (sources.real**2 + sources.imag**2).mean(2)
        covariance = torch.einsum("bscft,bsdft->bsfcd", sources, sources.conj())
        covariance = covariance / (power.sum(-1) + eps)[..., None, None]
        power = power.to(mix.dtype)
        mix_covariance = torch.einsum("bsft,bsfcd->bftcd", power, covariance) + eps**0.5 * eye
        whitened = torch.einsum("bftcd,bdft->bftc", _inverse(mix_covariance), mix)
        sources = power[:, :, None] * torch.einsum("bsfcd,bftd->bscft", covariance, whitened)
    return (sources * scale[:, None]).to(device, precision)


def _inverse(matrix: Tensor) -> Tensor:
    """Inverse of 1x1 or 2x2 matrices in closed form, which is faster than LAPACK on millions of tiny ones."""
    if matrix.shape[-1] == 1:
        return matrix.reciprocal()
    (a, b), (c, d) = (row.unbind(-1) for row in matrix.unbind(-2))
    adjugate = torch.stack([torch.stack([d, -b], -1), torch.stack([-c, a], -1)], -2)
    return adjugate / (a * d - b * c)[..., None, None]
