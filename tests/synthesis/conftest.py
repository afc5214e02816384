"""Fixtures that tests of several parts of synthesis share."""

import pytest

from hdemucs.synthesis.instruments import soundfont
from tests.synthesis.tiny import FLUIDSYNTH


@pytest.fixture
def tiny_fluidsynth(monkeypatch: pytest.MonkeyPatch) -> None:
    """Soundfonts are played by the stand-in, whether or not fluidsynth is installed."""
    monkeypatch.setattr(soundfont, "fluidsynth", lambda: FLUIDSYNTH)
