"""Separation quality: metrics on tensors, and a benchmark that scores models on a test set."""

from hdemucs.evaluation.metrics import (
    BSSEval,
    bss_eval,
    mean_over_tracks,
    median_over_tracks,
    median_over_windows,
    sdr,
    si_sdr,
)

__all__ = [
    "BSSEval",
    "bss_eval",
    "mean_over_tracks",
    "median_over_tracks",
    "median_over_windows",
    "sdr",
    "si_sdr",
]
