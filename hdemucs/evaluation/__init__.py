"""How good a separation is: metrics on tensors, and their summary over windows and tracks."""

from hdemucs.evaluation.aggregate import mean_over_tracks, median_over_tracks, median_over_windows
from hdemucs.evaluation.bsseval import BSSEval, Version, bss_eval
from hdemucs.evaluation.metrics import sdr, si_sdr

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
