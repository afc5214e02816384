"""A studio that needs no installed sounds: sines for instruments, noise for drums, a hum for voices."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from hdemucs.synthesis import song
from hdemucs.synthesis.instruments.soundfont import SoundFont
from hdemucs.synthesis.score.notes import RATE, Note
from hdemucs.synthesis.sounds import Sound
from hdemucs.synthesis.voice import ensemble, vocals
from tests.synthesis.tiny import hum, tiny_sounds, tiny_voice


def furnish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Sound]:
    """Stand in for installed sounds and voices, both for training and held out; returns the sounds."""
    monkeypatch.setattr(SoundFont, "play", _play_sines)
    monkeypatch.setattr(vocals, "sing", hum)
    monkeypatch.setattr(ensemble, "sing", hum)
    for package in ("fluidsynth", "world"):
        monkeypatch.setattr(song, package, lambda: None)
    sounds = []
    for held_out in (False, True):
        folder = tmp_path / f"sounds held_out={held_out}"
        folder.mkdir()
        sounds += tiny_sounds(folder, held_out)
    monkeypatch.setattr(song, "find_sounds", lambda: sounds)
    monkeypatch.setattr(song, "find_voices", lambda: [tiny_voice(), tiny_voice(held_out=True)])
    return sounds


def _play_sines(
    font: SoundFont, notes: Sequence[Note], seconds: float, program: int, *, bank: int = 0, transpose: int = 0
) -> np.ndarray:
    """Stands in for `SoundFont.play` where fluidsynth is not installed."""
    audio = np.zeros((2, round(seconds * RATE)), np.float32)
    for note in notes:
        if 0 <= note.start < seconds:
            sound = audio[:, round(note.start * RATE) : round((note.start + note.duration) * RATE)]
            phase = 2 * np.pi * 440 * 2 ** ((note.pitch - 69) / 12) * np.arange(sound.shape[1]) / RATE
            sound += np.float32(0.1 * note.velocity) * np.sin(phase, dtype=np.float32)
    return audio
