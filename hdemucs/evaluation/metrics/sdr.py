"""Energy ratios over a full track, all channels together; `sdr` is the score of the MDX challenge.

Letters in shapes: S sources, C channels, L samples.
"""

import torch
from torch import Tensor

from hdemucs.evaluation.metrics.signals import blocks, check_signals

MDX_EPSILON = 1e-7
"""Added to both energies by the Music Demixing Challenge 2021, so that silence has a score."""


def sdr(references: Tensor, estimates: Tensor) -> Tensor:
    """Signal-to-distortion ratio of the Music Demixing Challenge 2021 (arXiv 2108.13559).

    `10 log10((sum s^2 + 1e-7) / (sum (s - e)^2 + 1e-7))`, with both sums over all channels and samples of the
    track: no filter or gain is forgiven, and no window is skipped. A perfect estimate scores
    `10 log10(1 + 1e7 * energy)`, and silence estimated as silence scores 0 dB.

    Args:
        references: True sources `[S, C, L]`, floating-point.
        estimates: Estimated sources, same shape and order; moved to the device of the references.

    Returns:
        Scores in dB, `[S]`, float64.

    Raises:
        ValueError: The signals cannot be scored; see `check_signals`.
    """
    check_signals(references, estimates)
    signal = distortion = torch.zeros((), dtype=torch.float64, device=references.device)
    for reference, estimate in blocks(references, estimates):
        signal = signal + _inner(reference, reference)
        distortion = distortion + _inner(reference - estimate, reference - estimate)
    return 10 * torch.log10((signal + MDX_EPSILON) / (distortion + MDX_EPSILON))


def si_sdr(references: Tensor, estimates: Tensor) -> Tensor:
    """Scale-invariant SDR (arXiv 1811.02508, equation 1), with one gain for all channels of a source.

    `10 log10(|a s|^2 / |a s - e|^2)` with `a = <e, s> / |s|^2`. Channels count as one long vector, so a wrong
    balance between them is an error, which a gain for each channel would hide. Means are not removed, and
    there is no epsilon: the score does not depend on the level of either signal.

    Args:
        references: True sources `[S, C, L]`, floating-point.
        estimates: Estimated sources, same shape and order; moved to the device of the references.

    Returns:
        Scores in dB, `[S]`, float64: NaN where the reference or the estimate is silent, infinite where the
        estimate is exactly the scaled reference, minus infinity where it is orthogonal to it.

    Raises:
        ValueError: The signals cannot be scored; see `check_signals`.
    """
    check_signals(references, estimates)
    projection = energy = torch.zeros((), dtype=torch.float64, device=references.device)
    for reference, estimate in blocks(references, estimates):
        projection = projection + _inner(reference, estimate)
        energy = energy + _inner(reference, reference)
    gain = projection / energy
    # A second pass, because |e|^2 - |a s|^2 would cancel for good estimates.
    error = torch.zeros_like(energy)
    for reference, estimate in blocks(references, estimates):
        residual = gain[:, None, None] * reference - estimate
        error = error + _inner(residual, residual)
    return 10 * torch.log10(gain.square() * energy / error)


def _inner(x: Tensor, y: Tensor) -> Tensor:
    """Inner products `[S]` of `[S, C, L]` over channels and samples."""
    return torch.linalg.vecdot(x.flatten(1), y.flatten(1))
