"""Fixtures of this folder."""

from tests.apply.accelerator import accelerator

__all__ = ["accelerator"]
