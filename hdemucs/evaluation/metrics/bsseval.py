"""BSS Eval of source images, version 4: how large the error of an estimate is, and of what kind.

An estimate e of source s is projected onto the span of the delayed channels of its own reference, giving p,
and onto the span of those of all references, giving q. Then p - s is spatial distortion (a gain, a filter,
channels mixed up), q - p is interference and e - q are artifacts (Vincent et al., "The signal separation
evaluation campaign (2007-2010)", Signal Processing 92, 2012). Version 4 uses the same projection filters for
the whole track (Stöter, Liutkus, Ito, arXiv 1804.06267).

Letters in shapes: S sources, C channels, L samples, M = S * C, P windows, F frequencies, K filter taps.
"""

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

from hdemucs.evaluation.metrics.projection import fast_length, projection_filters
from hdemucs.evaluation.metrics.signals import TRANSFORM_LENGTH, check_signals, side_by_side


@dataclass(frozen=True)
class BSSEval:
    """Scores in dB, each `[S, P]` in float64; higher is better.

    Attributes:
        sdr: Source to all distortion: the source against everything that is wrong with its estimate.
        isr: Source image to spatial distortion.
        sir: Source to interference: the projection onto its own reference against leaks of the others.
        sar: Source to artifacts: the projection onto all references against what none of them explains.
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
) -> BSSEval:
    """Score every source in every window, with the numbers of `museval.evaluate`.

    Windows start at multiples of the hop. An incomplete window at the end is not scored, but its samples take
    part in the filters. A track shorter than a window is one window. Each window is scored as if the track
    were zero outside it, and filters ring out beyond its end.

    Silence has no score. A window in which any reference or estimate is silent is NaN for all sources, so a
    track with a source that never sounds is NaN throughout (museval refuses it). Silent means that the
    channels sum to exactly zero at every sample, which is museval's test, so two channels of opposite phase
    are silent too. A perfect score is infinite in theory; rounding usually makes it finite, but above 100 dB.

    The filters are as accurate as normal equations in float64 can be: scores are right to about 0.001 dB for
    16-bit references. If references are float32 with an empty frequency band, or one channel is a multiple of
    another, ISR, SIR and SAR may change by decibels with rounding, as they do in museval.

    Args:
        references: True sources `[S, C, L]`, floating-point.
        estimates: Estimated sources, same shape and order; moved block by block to the device of the
            references. Computation is in float64, whatever the input.
        window: Length of a window in samples; one second at 44.1 kHz by default, as in SiSEC 2018. Memory in
            bytes is about 200 for each sample and reference channel of a window, plus
            32 (S C filter_length)^2.
        hop: Number of samples between the starts of windows; one second at 44.1 kHz by default.
        filter_length: Number of taps of the projection filters; 512 in all versions of BSS Eval.

    Returns:
        SDR, ISR, SIR and SAR of every source in every window, `[S, P]` in dB.

    Raises:
        ValueError: The signals cannot be scored (see `check_signals`), or a length is below 1.
    """
    check_signals(references, estimates)
    for name, value in (("window", window), ("hop", hop), ("filter_length", filter_length)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1 sample, not {value}")
    length = references.shape[-1]
    window = min(window, length)
    size = fast_length(window + filter_length - 1)
    filters = _transfer_functions(projection_filters(references, estimates, filter_length), size)
    starts = range(0, length - window + 1, hop)
    group = max(1, TRANSFORM_LENGTH // size)
    scores = []
    for first in range(0, len(starts), group):
        chosen = starts[first : first + group]
        span = side_by_side(references, estimates, chosen[0], chosen[-1] + window)
        scores.append(_scores(span.unfold(-1, window, hop), filters, size, len(references)))
    return BSSEval(*torch.cat(scores, dim=-1))


def _transfer_functions(filters: Tensor, size: int) -> Tensor:
    """Filters `[2, M, M, K]` as matrices `[F, M, 2 * M]` by which spectra `[F, P, M]` are multiplied."""
    return rearrange(torch.fft.rfft(filters, size), "own e m f -> f m (own e)").contiguous()


def _scores(windows: Tensor, filters: Tensor, size: int, sources: int) -> Tensor:
    """SDR, ISR, SIR and SAR `[4, S, P]` of windows `[2 * M, P, samples]`, references before estimates.

    Energies are sums over frequencies (Parseval), so nothing is transformed back.
    """
    spectra = torch.fft.rfft(windows, size, norm="ortho")
    # All frequencies but the first, and the last of an even size, also stand for their mirror image.
    spectra[..., 1 : (size + 1) // 2] *= 2**0.5
    spectra = rearrange(spectra, "m p f -> f p m").contiguous()
    true, estimate = spectra.chunk(2, dim=-1)
    own, joint = torch.bmm(true, filters).chunk(2, dim=-1)
    signals_and_errors = [
        (true, estimate - true),
        (true, own - true),
        (own, joint - own),
        (joint, estimate - joint),
    ]
    ratios = [
        _decibels(_energy(signal, sources), _energy(error, sources)) for signal, error in signals_and_errors
    ]
    return torch.stack(ratios).masked_fill(_silent(windows, sources), torch.nan)


def _energy(spectra: Tensor, sources: int) -> Tensor:
    """Energies `[S, P]` of spectra `[F, P, M]`."""
    squares = torch.view_as_real(spectra).square().sum(0)
    return rearrange(squares, "p (s c) part -> s p (c part)", s=sources).sum(-1)


def _silent(windows: Tensor, sources: int) -> Tensor:
    """Mask `[P]` of the windows `[2 * M, P, samples]` in which any reference or estimate is silent."""
    sums = rearrange(windows, "(both s c) p l -> (both s) c p l", both=2, s=sources).sum(1)
    return (sums == 0).all(-1).any(0)


def _decibels(signal: Tensor, error: Tensor) -> Tensor:
    """Ratio in dB; infinite without an error, even if there is no signal either."""
    return torch.where(error == 0, torch.inf, 10 * torch.log10(signal / error))
