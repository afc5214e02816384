"""BSS Eval of source images, versions 3 and 4: how far an estimate is off, and by what kind of error.

An estimate e of source s is projected onto the span of delayed channels of its own reference, p, and onto
that of all references, q. Then p - s is spatial distortion (a gain, a filter, channels mixed up), q - p is
interference, e - q artifacts (Vincent et al., "The signal separation evaluation campaign (2007-2010)",
Signal Processing 92, 2012; version 4, which keeps the filters of p and q for the whole track: Stoeter,
Liutkus, Ito, arXiv 1804.06267).

Letters in shapes: S sources, C channels, L samples, M = S * C, P windows, F frequencies.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from einops import rearrange
from torch import Tensor

from hdemucs.evaluation.metrics.projection import fast_length, projection_filters
from hdemucs.evaluation.metrics.signals import PIECE_SAMPLES, check_signals, side_by_side

Version = Literal["v4", "v3"]
"""v4: one set of filters for the track. v3: filters of its own for each window, so much slower."""


@dataclass(frozen=True)
class BSSEval:
    """Scores in dB, each `[S, windows]` in float64, higher is better.

    sdr: source against everything that is wrong with its estimate.
    isr: source against spatial distortion.
    sir: projection onto the own reference against interference.
    sar: projection onto all references against artifacts.
    """

    sdr: Tensor
    isr: Tensor
    sir: Tensor
    sar: Tensor


@torch.no_grad()
def bss_eval(
    references: Tensor,
    estimates: Tensor,
    *,
    window: int = 44100,
    hop: int = 44100,
    filter_length: int = 512,
    version: Version = "v4",
) -> BSSEval:
    """Scores of every source in every window, as `museval.evaluate` gives them.

    Windows start at multiples of the hop and are whole: what is left at the end takes part in the filters of
    v4, but in no window. A track no longer than a window is one window. Each window is scored as if the
    track were zero outside it, and the filters ring out behind it.

    Silence has no score. Where one reference or estimate is silent in a window, that window is NaN for all
    sources; so a track with a source that never sounds is NaN throughout (where museval refuses it). Silent
    means that the channels sum to exactly zero at every sample, as museval tests it, so two channels in
    opposite phase are silent too. A perfect score, without any error, is infinite; rounding makes it finite
    as a rule, but above 100 dB.

    The filters are as sure as normal equations in float64: to about 0.001 dB for references at 16 bits.
    Where references are float32 without any sound in a band, or one channel is a multiple of another, ISR,
    SIR and SAR may change by decibels with rounding, here as in museval.

    Args:
        references: true sources `[S, C, L]`, floating-point.
        estimates: estimated sources, same shape and order; moved, piece by piece, to the device of the
            references. Float64 is used inside, whatever the input.
        window: samples that a score is for; a second at 44.1 kHz, as in SiSEC 2018. Memory is about
            200 bytes for each of its samples and reference channels, and 32 (S C filter_length)^2.
        hop: samples from a window to the next; a second at 44.1 kHz.
        filter_length: taps of the distortion filters; 512 in every version of BSS Eval.
        version: see `Version`.

    Raises:
        ValueError: see `check_signals`; or an option that is below 1 or not a version.
    """
    check_signals(references, estimates)
    for name, value in (("window", window), ("hop", hop), ("filter_length", filter_length)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1 sample, not {value}")
    if version not in get_args(Version):
        raise ValueError(f"version must be one of {', '.join(get_args(Version))}, not {version!r}")
    length = references.shape[-1]
    window = min(window, length)
    size = fast_length(window + filter_length - 1)
    starts = range(0, length - window + 1, hop)
    if version == "v4":
        scores = _with_common_filters(references, estimates, window, starts, size, filter_length)
    else:
        scores = _with_own_filters(references, estimates, window, starts, size, filter_length)
    return BSSEval(*torch.cat(scores, dim=-1))


def _with_common_filters(
    references: Tensor, estimates: Tensor, window: int, starts: range, size: int, taps: int
) -> list[Tensor]:
    """Version 4: `[4, S, P]` of some windows after others."""
    filters = _transfer_functions(projection_filters(references, estimates, taps), size)
    group = max(1, PIECE_SAMPLES // size)
    scores = []
    for first in range(0, len(starts), group):
        chosen = starts[first : first + group]
        span = side_by_side(references, estimates, chosen[0], chosen[-1] + window)
        windows = span.unfold(-1, window, starts.step)
        scores.append(_scores(windows, filters, size, len(references)))
    return scores


def _with_own_filters(
    references: Tensor, estimates: Tensor, window: int, starts: range, size: int, taps: int
) -> list[Tensor]:
    """Version 3: `[4, S, 1]` of each window."""
    scores = []
    for start in starts:
        reference, estimate = (signals[..., start : start + window] for signals in (references, estimates))
        windows = side_by_side(reference, estimate, 0, window)[:, None]
        if _silent(windows, len(references)).all():
            scores.append(windows.new_full((4, len(references), 1), torch.nan))
            continue
        filters = _transfer_functions(projection_filters(reference, estimate, taps), size)
        scores.append(_scores(windows, filters, size, len(references)))
    return scores


def _transfer_functions(filters: Tensor, size: int) -> Tensor:
    """Filters `[2, M, M, K]` as what multiplies spectra `[F, P, M]` from the right: `[F, M, 2 * M]`."""
    return rearrange(torch.fft.rfft(filters, size), "own e m f -> f m (own e)").contiguous()


def _scores(windows: Tensor, filters: Tensor, size: int, sources: int) -> Tensor:
    """SDR, ISR, SIR, SAR `[4, S, P]` of windows `[2 * M, P, samples]`, references before estimates.

    All energies are sums over frequencies (Parseval), so nothing is transformed back.
    """
    spectra = torch.fft.rfft(windows, size, norm="ortho")
    # Each of these frequencies stands for its mirror image too.
    spectra[..., 1 : (size + 1) // 2] *= 2**0.5
    spectra = rearrange(spectra, "m p f -> f p m").contiguous()
    true, estimate = spectra.chunk(2, dim=-1)
    own, every = torch.bmm(true, filters).chunk(2, dim=-1)
    parts = [(true, estimate - true), (true, own - true), (own, every - own), (every, estimate - every)]
    ratios = [_decibels(_energy(kept, sources), _energy(wrong, sources)) for kept, wrong in parts]
    return torch.stack(ratios).masked_fill(_silent(windows, sources), torch.nan)


def _energy(spectra: Tensor, sources: int) -> Tensor:
    """`[S, P]` of `[F, P, M]`."""
    squares = torch.view_as_real(spectra).square().sum(0)
    return rearrange(squares, "p (s c) part -> s p (c part)", s=sources).sum(-1)


def _silent(windows: Tensor, sources: int) -> Tensor:
    """Which windows, `[P]` of `[2 * M, P, samples]`, have a reference or estimate without sound."""
    sums = rearrange(windows, "(both s c) p l -> (both s) c p l", both=2, s=sources).sum(1)
    return (sums == 0).all(-1).any(0)


def _decibels(signal: Tensor, error: Tensor) -> Tensor:
    """Infinite where nothing is wrong, even where nothing is right either."""
    return torch.where(error == 0, torch.inf, 10 * torch.log10(signal / error))
