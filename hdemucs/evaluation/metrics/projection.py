"""Least squares with delayed references: the distortions that BSS Eval tells apart.

An estimate is projected onto the span of all channels of some sources, each delayed by 0 to K - 1 samples.
The normal equations need correlations only, and those are sums over the track: they are gathered block by
block, so that no transform is longer than a block and no copy of the track is made.

Letters in shapes: S sources, C channels, L samples, K filter taps, M = S * C channels of the references, as
many of the estimates, F frequencies.
"""

import torch
from einops import rearrange
from torch import Tensor

from hdemucs.evaluation.metrics.signals import PIECE_SAMPLES, side_by_side

EPSILON = torch.finfo(torch.float64).eps


def projection_filters(references: Tensor, estimates: Tensor, taps: int) -> Tensor:
    """Filters that project each estimate onto its own reference, and onto all of them.

    Args:
        references: `[S, C, L]`, taken as zero before and after.
        estimates: same shape.
        taps: filter length K.

    Returns:
        Float64 `[2, M, M, K]` on the device of the references: own or all, channel of the estimates, channel
        of the references; zeros where a channel is not of the own reference.
    """
    sources, channels, _ = references.shape
    auto, cross = correlations(references, estimates, taps)
    own = torch.zeros_like(cross)
    for source in range(sources):
        block = slice(source * channels, (source + 1) * channels)
        own[block, block] = _solve(auto[block, block], cross[block, block])
    # The same system gives the same filters; solving it again would let rounding pass for interference.
    return torch.stack([own, _solve(auto, cross) if sources > 1 else own])


def correlations(references: Tensor, estimates: Tensor, taps: int) -> tuple[Tensor, Tensor]:
    """Correlations `r[a, b, k] = sum_t x_a(t) y_b(t + k)` of references x with references and estimates y.

    A block of x with zeros behind it, and y over the block and the next K - 1 samples, correlate without
    wrapping at these K lags; the products of their spectra add up before the one inverse transform.

    Args:
        references: `[S, C, L]`.
        estimates: same shape.
        taps: number of lags K, from 0 on.

    Returns:
        Float64 `[M, M, K]` among the references and `[M, M, K]` with the estimates.
    """
    sources, channels, length = references.shape
    inputs = sources * channels
    # Sixteen times the lags wastes little of a block; below 8192 the transforms gain nothing.
    size = fast_length(min(max(16 * taps, 8192), length + taps - 1))
    block = size - taps + 1
    blocks = min(max(PIECE_SAMPLES // 2 // block, 1), -(-length // block))
    total = torch.zeros(size // 2 + 1, inputs, 2 * inputs, dtype=torch.complex128, device=references.device)
    for start in range(0, length, blocks * block):
        stop = start + blocks * block + taps - 1
        ahead = side_by_side(references, estimates, start, stop)
        here = ahead[:inputs, : blocks * block].unflatten(-1, (blocks, block))
        x = rearrange(torch.fft.rfft(here, size), "m p f -> f m p").contiguous()
        y = rearrange(torch.fft.rfft(ahead.unfold(-1, size, block), size), "m p f -> f p m").contiguous()
        # Contiguous, or torch multiplies frequency by frequency, each a wait for all threads.
        total.baddbmm_(x.conj_physical_(), y)
    lags = torch.fft.irfft(rearrange(total, "f a b -> a b f"), size)[..., :taps]
    return lags[:, :inputs], lags[:, inputs:]


def _solve(auto: Tensor, cross: Tensor) -> Tensor:
    """Filters `[estimate, reference, K]` from correlations `[reference, reference or estimate, K]`.

    The matrix of the normal equations holds, for tap k of channel a and tap l of channel b, the correlation
    of a with b at lag k - l (which is that of b with a at l - k). With the taps of its rows in reverse it
    depends on their sum: a view of the correlations, copied once.
    """
    taps = auto.shape[-1]
    falling_lags = torch.cat([auto.flip(-1), auto.transpose(0, 1)[..., 1:]], dim=-1)
    right = rearrange(cross.flip(-1), "a e k -> (a k) e")
    ridge = EPSILON
    while True:
        # As in BSS Eval, the ridge of one epsilon is there for channels of zeros, whose filters become zeros.
        ridged = falling_lags.clone()
        ridged.diagonal()[taps - 1] += ridge
        matrix = rearrange(ridged.unfold(-1, taps, 1), "a b k l -> (a k) (b l)")
        solution, singular = torch.linalg.solve_ex(matrix, right)
        if not singular:
            return rearrange(solution, "(b l) e -> e b l", l=taps)
        # Two channels alike to the last bit. Every exact solution has the same projection, so take one that
        # the smallest ridge which rounding keeps makes unique.
        ridge = max(100 * ridge, taps * EPSILON * auto.diagonal()[0].max().item())


def fast_length(length: int) -> int:
    """The smallest number from `length` on with no prime factor above 5, for which transforms are fast."""
    while True:
        rest = length
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length
        length += 1
