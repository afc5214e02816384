"""Metrics of separation quality: functions of tensors, without files or models."""

from hdemucs.evaluation.metrics.aggregate import mean_over_tracks, median_over_tracks, median_over_windows
from hdemucs.evaluation.metrics.bsseval import BSSEval, bss_eval
from hdemucs.evaluation.metrics.sdr import sdr, si_sdr

__all__ = [
    "BSSEval",
    "bss_eval",
    "mean_over_tracks",
    "median_over_tracks",
    "median_over_windows",
    "sdr",
    "si_sdr",
]
