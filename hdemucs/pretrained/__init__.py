"""Pretrained models: a registry with one card per model, verified downloads, and loading by name or path."""

from hdemucs.pretrained.cache import download, is_downloaded
from hdemucs.pretrained.registry import BEST_MODEL, DEFAULT_MODEL, Card, ModelFile, Score, cards, get_card
from hdemucs.pretrained.resolve import load_model, model_name

__all__ = [
    "BEST_MODEL",
    "DEFAULT_MODEL",
    "Card",
    "ModelFile",
    "Score",
    "cards",
    "download",
    "get_card",
    "is_downloaded",
    "load_model",
    "model_name",
]
