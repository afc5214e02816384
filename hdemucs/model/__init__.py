"""The networks: pure torch, no files and no audio formats."""

from hdemucs.model.bag import Bag, Model, Network
from hdemucs.model.demucs import Demucs
from hdemucs.model.hdemucs import HDemucs

__all__ = ["Bag", "Demucs", "HDemucs", "Model", "Network"]
