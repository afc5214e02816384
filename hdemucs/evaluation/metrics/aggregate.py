"""Summaries of scores over windows and tracks, as reported by SiSEC and the MDX challenge."""

import torch
from torch import Tensor


def median_over_windows(scores: Tensor) -> Tensor:
    """Median over the last axis, ignoring NaN: the score of a track in SiSEC (arXiv 1804.06267).

    Args:
        scores: Scores in dB, `[..., windows]`, with NaN for windows that have none.

    Returns:
        Medians in dB, `[...]`. For an even number of windows, the mean of the two middle ones; NaN where no
        window has a score.
    """
    return _median(scores, -1)


def median_over_tracks(scores: Tensor) -> Tensor:
    """Median over the first axis, ignoring NaN: the score of a test set in SiSEC (arXiv 1804.06267).

    Args:
        scores: Scores in dB, `[tracks, ...]`, such as the `median_over_windows` of each track.

    Returns:
        Medians in dB, `[...]`, by the same rules as `median_over_windows`.
    """
    return _median(scores, 0)


def mean_over_tracks(scores: Tensor) -> Tensor:
    """Mean over the first axis, ignoring NaN: the SDR of a test set in the MDX challenge (arXiv 2108.13559).

    Args:
        scores: Scores in dB, `[tracks, ...]`, such as the `sdr` of each track.

    Returns:
        Means in dB, `[...]`; NaN where no track has a score.
    """
    return scores.nanmean(0)


def _median(scores: Tensor, dim: int) -> Tensor:
    # torch returns the lower of two middle values. Averaging the lower and the upper one keeps two infinite
    # values infinite, where interpolation would make NaN of them.
    lower = torch.nanmedian(scores, dim).values
    upper = -torch.nanmedian(-scores, dim).values
    return (lower + upper) / 2
