"""Soundfonts played into arrays, by fluidsynth through the wheel pyfluidsynth."""

import ctypes
import mmap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from hdemucs.errors import TrainingError
from hdemucs.synthesis.score.notes import RATE, Note

DRUM_BANK = 128
_BLOCK = 64  # fluidsynth's own block: events take effect at its borders
_BEND_RANGE = 12  # semitones at either end of the pitch wheel
_GAIN = 0.5  # float output does not clip; this only keeps levels near those of other instruments
_SETTINGS = {"synth.reverb.active": 0, "synth.chorus.active": 0, "synth.dynamic-sample-loading": 1}


@dataclass(frozen=True)
class SoundFont:
    """A soundfont file. Equal calls of `play` give equal arrays: each has a synthesiser of its own."""

    path: Path

    def has(self, bank: int, program: int) -> bool:
        """Is there such a preset?"""
        return (bank, program) in _presets(self.path)

    def play(
        self, notes: Sequence[Note], seconds: float, program: int, *, bank: int = 0, transpose: int = 0
    ) -> np.ndarray:
        """Notes played by one preset.

        Args:
            notes: in any order; those that start before 0 or after the end are left out.
            seconds: length of the result; what rings on is cut.
            program: General MIDI number from 0.
            bank: 128 for drum kits.
            transpose: play keys so many semitones higher and bend them back: the samples of other keys, so
                another timbre at the same pitch. Used to make more instruments of one.

        Returns:
            float32 `[2, frames]`.
        """
        channel = 9 if bank == DRUM_BANK else 0
        frames = round(seconds * RATE)
        audio = np.zeros((2, -(-frames // _BLOCK) * _BLOCK), np.float32)
        with _synthesiser(self.path) as (synth, font):
            synth.program_select(channel, font, bank, program)
            for control, value in ((101, 0), (100, 0), (6, _BEND_RANGE), (38, 0)):
                synth.cc(channel, control, value)
            now = 0
            bend = 0
            for block, key, velocity, cents in _events(notes, seconds, transpose):
                now = _render(synth, audio, now, block * _BLOCK)
                if velocity and cents != bend:
                    bend = cents
                    synth.pitch_bend(channel, round(np.clip(bend / (100 * _BEND_RANGE), -1, 1) * 8191))
                if velocity:
                    synth.noteon(channel, key, velocity)
                else:
                    synth.noteoff(channel, key)
            _render(synth, audio, now, audio.shape[1])
        return audio[:, :frames]


@contextmanager
def _synthesiser(path: Path) -> Iterator[tuple[Any, int]]:
    synth = _fluidsynth().Synth(gain=_GAIN, samplerate=RATE, channels=16, **_SETTINGS)
    try:
        font = synth.sfload(str(path))
        if font < 0:
            raise TrainingError(
                f"{path}: is no soundfont that fluidsynth can read; install its package again"
            )
        yield synth, font
    finally:
        synth.delete()


def _render(synth: Any, audio: np.ndarray, start: int, end: int) -> int:
    end = min(end, audio.shape[1])
    if end > start:
        left, right = (row.ctypes.data_as(ctypes.c_void_p) for row in audio)
        _write_float()(synth.synth, end - start, left, start, 1, right, start, 1)
    return max(start, end)


@cache
def _presets(path: Path) -> frozenset[tuple[int, int]]:
    """(bank, program) of all presets, from the file's `phdr` chunk: 20 bytes of name, then both."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        start = data.rfind(b"pdtaphdr") + 12
        size = int.from_bytes(data[start - 4 : start], "little")
        records = [data[at : at + 38] for at in range(start, start + size - 38, 38)]
    return frozenset(
        (int.from_bytes(r[22:24], "little"), int.from_bytes(r[20:22], "little")) for r in records
    )


def _events(notes: Sequence[Note], seconds: float, transpose: int) -> list[tuple[int, int, int, int]]:
    """(block, key, velocity or 0 for off, bend in cents), in order, offs first."""
    events = []
    for note in notes:
        key = round(note.pitch) + transpose
        if not (0 <= note.start < seconds and 0 <= key <= 127):
            continue
        velocity = int(np.clip(round(note.velocity * 127), 1, 127))
        cents = round(100 * (note.pitch - key))
        start = round(note.start * RATE / _BLOCK)
        end = max(start + 1, round((note.start + note.duration) * RATE / _BLOCK))
        events += [(start, key, velocity, cents), (end, key, 0, 0)]
    return sorted(events, key=lambda event: (event[0], event[2] > 0))


@cache
def _write_float() -> Any:
    """`fluid_synth_write_float`, which the wheel does not bind: its 16 bits would be dithered at random."""
    pointer, number = ctypes.c_void_p, ctypes.c_int
    arguments = (pointer, number, pointer, number, number, pointer, number, number)
    return _fluidsynth().cfunc(
        "fluid_synth_write_float", number, *((f"a{i}", t, 1) for i, t in enumerate(arguments))
    )


def _fluidsynth() -> Any:
    try:
        import fluidsynth
    except ImportError as error:
        raise TrainingError(
            "soundfonts cannot be played without fluidsynth; pip install 'hdemucs[synthesis]', "
            "and on Debian: apt-get install libfluidsynth3"
        ) from error
    return fluidsynth
