"""Model files: read and written. A model file is data, and loading one never runs code from it."""

from hdemucs.checkpoint.files import load, save
from hdemucs.checkpoint.importers.demucs import translate_weights

__all__ = ["load", "save", "translate_weights"]
