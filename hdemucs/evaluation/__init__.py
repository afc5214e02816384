"""How good a separation is: metrics on tensors, and their summary over windows and tracks."""

from hdemucs.evaluation.metrics.aggregate import mean_over_tracks, median_over_tracks, median_over_windows
from hdemucs.evaluation.metrics.bsseval import BSSEval, Version, bss_eval
from hdemucs.evaluation.metrics.sdr import sdr, si_sdr

__all__ = [
    "BSSEval",
    "Version",
    "bss_eval",
    "mean_over_tracks",
    "median_over_tracks",
    "median_over_windows",
    "sdr",
    "si_sdr",
]
