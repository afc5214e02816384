"""From scores of windows to one number for a source, as SiSEC and the MDX challenge report it."""

import torch
from torch import Tensor


def median_over_windows(scores: Tensor) -> Tensor:
    """Median over the last axis without its NaN: a track's score in SiSEC (arXiv 1804.06267).

    Args:
        scores: dB, `[..., windows]`, NaN where a window has no score.

    Returns:
        dB, `[...]`: the mean of the two middle windows where their count is even; NaN where no window has
        a score.
    """
    return _median(scores, -1)


def median_over_tracks(scores: Tensor) -> Tensor:
    """Median over the first axis without its NaN: a test set's score in SiSEC (arXiv 1804.06267).

    Args:
        scores: dB, `[tracks, ...]`, such as the `median_over_windows` of each track.

    Returns:
        dB, `[...]`, with the rules of `median_over_windows`.
    """
    return _median(scores, 0)


def mean_over_tracks(scores: Tensor) -> Tensor:
    """Mean over the first axis without its NaN: a test set's SDR in the MDX challenge (arXiv 2108.13559).

    Args:
        scores: dB, `[tracks, ...]`, such as the `sdr` of each track.

    Returns:
        dB, `[...]`; NaN where no track has a score.
    """
    return scores.nanmean(0)


def _median(scores: Tensor, dim: int) -> Tensor:
    # torch's median is the lower of two middle values. The usual one lies halfway to the upper; adding them
    # keeps two infinite ones infinite, where interpolating makes NaN of them.
    lower = torch.nanmedian(scores, dim).values
    upper = -torch.nanmedian(-scores, dim).values
    return (lower + upper) / 2
