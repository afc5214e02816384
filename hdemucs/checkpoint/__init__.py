"""Model files: read and written. A model file is data, and loading one never runs code from it."""

from hdemucs.checkpoint.files import as_model, load, save
from hdemucs.checkpoint.fingerprint import fingerprint
from hdemucs.checkpoint.importers.demucs import translate_weights
from hdemucs.checkpoint.importers.torchaudio import Bundle

__all__ = ["Bundle", "as_model", "fingerprint", "load", "save", "translate_weights"]
