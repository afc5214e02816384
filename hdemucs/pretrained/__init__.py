"""Named models: a registry of data cards, downloads with checksums, and what a user may give as a model."""

from hdemucs.pretrained.cache import download, is_downloaded
from hdemucs.pretrained.registry import BEST_MODEL, DEFAULT_MODEL, Card, ModelFile, Score, cards, get_card
from hdemucs.pretrained.resolve import load_model

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
]
