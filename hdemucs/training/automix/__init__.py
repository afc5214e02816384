"""Remixes for fine-tuning: stems of different songs, matched in tempo and key (arXiv 2111.03600)."""

from hdemucs.training.automix.render import RemixCallback, RemixReport, automix

__all__ = ["RemixCallback", "RemixReport", "automix"]
