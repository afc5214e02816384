"""Apply a model to audio of any length, in memory that does not grow with it."""

from hdemucs.apply.options import Options, Progress, ProgressCallback
from hdemucs.apply.run import apply, apply_model

__all__ = ["Options", "Progress", "ProgressCallback", "apply", "apply_model"]
