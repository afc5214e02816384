"""Least-squares projection onto delayed references, by which BSS Eval tells kinds of distortion apart.

An estimate is projected onto the span of all channels of some sources, each delayed by 0 to K - 1 samples.
The normal equations need only correlations, which are sums over the track. They are accumulated block by
block, so no transform is longer than a block and the track is never copied.

Letters in shapes: S sources, C channels, L samples, K filter taps, M = S * C channels of the references (and
as many of the estimates), F frequencies.
"""

import torch
from einops import rearrange
from torch import Tensor

from hdemucs.evaluation.metrics.signals import TRANSFORM_LENGTH, side_by_side

EPSILON = torch.finfo(torch.float64).eps


def projection_filters(references: Tensor, estimates: Tensor, taps: int) -> Tensor:
    """Filters that project each estimate onto its own reference, and onto all references.

    Args:
        references: True sources `[S, C, L]`, taken as zero before and after.
        estimates: Estimated sources, same shape.
        taps: Filter length K.

    Returns:
        Filters `[2, M, M, K]` in float64 on the device of the references. The axes are: own reference or all
        references, channel of the estimates, channel of the references, tap. In the first half, filters from
        references other than the estimate's own are zero.
    """
    sources, channels, _ = references.shape
    auto, cross = correlations(references, estimates, taps)
    own = torch.zeros_like(cross)
    for source in range(sources):
        block = slice(source * channels, (source + 1) * channels)
        own[block, block] = _solve(auto[block, block], cross[block, block])
    # With one source both systems are the same; solving it twice would let rounding pass for interference.
    return torch.stack([own, _solve(auto, cross) if sources > 1 else own])


def correlations(references: Tensor, estimates: Tensor, taps: int) -> tuple[Tensor, Tensor]:
    """Correlations `r[a, b, k] = sum_t x_a(t) y_b(t + k)` of references x with references and estimates y.

    A zero-padded block of x, and y over the same block and the next K - 1 samples, correlate without
    wrap-around at these K lags. Products of their spectra are summed, then transformed back once.

    Args:
        references: True sources `[S, C, L]`.
        estimates: Estimated sources, same shape.
        taps: Number of lags K, starting from 0.

    Returns:
        Correlations in float64: `[M, M, K]` among references, and `[M, M, K]` of references with estimates.
    """
    sources, channels, length = references.shape
    inputs = sources * channels
    # A block of sixteen times the lags wastes little; transforms shorter than 8192 are no faster per sample.
    size = fast_length(min(max(16 * taps, 8192), length + taps - 1))
    block = size - taps + 1
    blocks = min(max(TRANSFORM_LENGTH // 2 // block, 1), -(-length // block))
    total = torch.zeros(size // 2 + 1, inputs, 2 * inputs, dtype=torch.complex128, device=references.device)
    for start in range(0, length, blocks * block):
        stop = start + blocks * block + taps - 1
        ahead = side_by_side(references, estimates, start, stop)
        here = ahead[:inputs, : blocks * block].unflatten(-1, (blocks, block))
        x = rearrange(torch.fft.rfft(here, size), "m p f -> f m p").contiguous()
        y = rearrange(torch.fft.rfft(ahead.unfold(-1, size, block), size), "m p f -> f p m").contiguous()
        # Without contiguous memory torch multiplies one frequency at a time, and threads wait at each.
        total.baddbmm_(x.conj_physical_(), y)
    lags = torch.fft.irfft(rearrange(total, "f a b -> a b f"), size)[..., :taps]
    return lags[:, :inputs], lags[:, inputs:]


def _solve(auto: Tensor, cross: Tensor) -> Tensor:
    """Filters `[estimate, reference, K]` from correlations `[reference, reference or estimate, K]`.

    The matrix of the normal equations holds, for tap k of channel a and tap l of channel b, the correlation
    of a with b at lag k - l (which is that of b with a at lag l - k). With the taps of its rows reversed, it
    depends on their sum only, so it is a view of the correlations that is copied once.
    """
    taps = auto.shape[-1]
    falling_lags = torch.cat([auto.flip(-1), auto.transpose(0, 1)[..., 1:]], dim=-1)
    right = rearrange(cross.flip(-1), "a e k -> (a k) e")
    ridge = EPSILON
    while True:
        # As in BSS Eval, a ridge of one epsilon gives channels of zeros filters of zeros.
        ridged = falling_lags.clone()
        ridged.diagonal()[taps - 1] += ridge
        matrix = rearrange(ridged.unfold(-1, taps, 1), "a b k l -> (a k) (b l)")
        solution, singular = torch.linalg.solve_ex(matrix, right)
        if not singular:
            return rearrange(solution, "(b l) e -> e b l", l=taps)
        # Two channels are identical to the last bit. All exact solutions give the same projection, so take
        # the one that the smallest ridge above rounding error makes unique.
        ridge = max(100 * ridge, taps * EPSILON * auto.diagonal()[0].max().item())


def fast_length(length: int) -> int:
    """Smallest number from `length` on without a prime factor above 5: transforms of that size are fast."""
    while True:
        rest = length
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length
        length += 1
