"""Apply a model to audio of any length, in memory that does not grow with it."""

from hdemucs.apply.options import Options, OptionValues, Progress, ProgressCallback, make_options
from hdemucs.apply.run import apply, apply_model, check_segment

__all__ = [
    "OptionValues",
    "Options",
    "Progress",
    "ProgressCallback",
    "apply",
    "apply_model",
    "check_segment",
    "make_options",
]
