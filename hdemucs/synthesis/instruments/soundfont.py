"""Soundfonts, rendered to arrays by fluidsynth (package pyfluidsynth)."""

import ctypes
import mmap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from hdemucs.errors import SynthesisError, install_extra
from hdemucs.synthesis.score.notes import RATE, Note
from hdemucs.synthesis.sounds import Sound

DRUM_BANK = 128
_BLOCK = 64  # samples that fluidsynth renders at once: events take effect at block boundaries
_BEND_RANGE = 12  # semitones at either end of the pitch wheel
_GAIN = 0.5  # keeps levels near those of other instruments; float output cannot clip
_SETTINGS = {"synth.reverb.active": 0, "synth.chorus.active": 0, "synth.dynamic-sample-loading": 1}
_TRANSPOSITIONS = (-4, -3, -2, 0, 0, 0, 0, 2, 3, 4)


@dataclass(frozen=True)
class Program:
    """A General MIDI program, played by any of the soundfonts at hand.

    Attributes:
        number: Program number from 0.
    """

    number: int
    in_held_out = True

    def draw(self, sounds: Sequence[Sound], rng: np.random.Generator) -> "ProgramPlayer":
        """Draw a soundfont and a transposition."""
        fonts = [sound for sound in sounds if sound.kind == "soundfont"]
        sound = fonts[rng.integers(len(fonts))]
        transpose = int(rng.choice(_TRANSPOSITIONS))
        return ProgramPlayer(f"{sound.name} {self.number}", SoundFont(sound.path), self.number, transpose)


def programs(*numbers: int) -> tuple[Program, ...]:
    """Presets for General MIDI program numbers, for a row of `FAMILIES`."""
    return tuple(Program(number) for number in numbers)


@dataclass(frozen=True)
class ProgramPlayer:
    """One program of one soundfont.

    Attributes:
        label: Soundfont and program, for a song's description.
        font: Soundfont.
        program: General MIDI program number from 0.
        transpose: Transposition in semitones, see `SoundFont.play`.
    """

    label: str
    font: "SoundFont"
    program: int
    transpose: int

    def play(self, notes: Sequence[Note], seconds: float, rng: np.random.Generator) -> np.ndarray:
        """Render notes to float32 `[2, length]` at `RATE`; all takes are identical, and `rng` is not used."""
        return self.font.play(notes, seconds, self.program, transpose=self.transpose)


@dataclass(frozen=True)
class SoundFont:
    """A soundfont file. Identical calls of `play` return identical arrays, as each uses a new synthesiser."""

    path: Path

    def has(self, bank: int, program: int) -> bool:
        """Whether the file contains a preset."""
        return (bank, program) in _presets(self.path)

    def play(
        self, notes: Sequence[Note], seconds: float, program: int, *, bank: int = 0, transpose: int = 0
    ) -> np.ndarray:
        """Render notes with one preset.

        Args:
            notes: Notes in any order. Those that start before 0 or after the end are skipped.
            seconds: Duration of the result in seconds. Notes still sounding at the end are cut off.
            program: General MIDI program number from 0.
            bank: Bank number; 128 for drum kits.
            transpose: Semitones by which keys are played higher, then bent back down. The pitch stays the
                same, but recordings of other keys are used, which gives one preset several timbres.

        Returns:
            Float32 `[2, length]` at `RATE`.

        Raises:
            SynthesisError: fluidsynth is not installed, or cannot read the file.
        """
        channel = 9 if bank == DRUM_BANK else 0
        length = round(seconds * RATE)
        audio = np.zeros((2, -(-length // _BLOCK) * _BLOCK), np.float32)
        with _synthesiser(self.path) as (synth, font):
            write = partial(_write_float(), synth.synth)
            synth.program_select(channel, font, bank, program)
            # Registered parameter 0 is the range of the pitch wheel, in semitones and cents.
            for control, value in ((101, 0), (100, 0), (6, _BEND_RANGE), (38, 0)):
                synth.cc(channel, control, value)
            now = 0
            bend = 0
            for block, key, velocity, cents in _events(notes, seconds, transpose):
                now = _render(write, audio, now, block * _BLOCK)
                if velocity and cents != bend:
                    bend = cents
                    synth.pitch_bend(channel, round(np.clip(bend / (100 * _BEND_RANGE), -1, 1) * 8191))
                if velocity:
                    synth.noteon(channel, key, velocity)
                else:
                    synth.noteoff(channel, key)
            _render(write, audio, now, audio.shape[1])
        return audio[:, :length]


def fluidsynth() -> Any:
    """Import the pyfluidsynth module.

    Raises:
        SynthesisError: The package, or the library that it wraps, is not installed.
    """
    try:
        import fluidsynth as module
    except ImportError as error:
        raise SynthesisError(
            f"fluidsynth, which plays soundfonts, is not installed; {install_extra('synthesis')}, "
            "and on Debian: apt-get install libfluidsynth3"
        ) from error
    return module


@contextmanager
def _synthesiser(path: Path) -> Iterator[tuple[Any, int]]:
    """Yield a synthesiser with the soundfont loaded, and fluidsynth's number for the soundfont."""
    synth = fluidsynth().Synth(gain=_GAIN, samplerate=RATE, channels=16, **_SETTINGS)
    try:
        font = synth.sfload(str(path))
        if font < 0:
            raise SynthesisError(
                f"{path}: not a soundfont that fluidsynth can read; reinstall the package it came with"
            )
        yield synth, font
    finally:
        synth.delete()


def _render(write: Callable[..., int], audio: np.ndarray, start: int, end: int) -> int:
    """Render samples `start` to `end` in place, and return the position reached."""
    end = min(end, audio.shape[1])
    if end > start:
        left, right = (row.ctypes.data_as(ctypes.c_void_p) for row in audio)
        write(end - start, left, start, 1, right, start, 1)
    return max(start, end)


def _write_float() -> Callable[..., int]:
    """Bind `fluid_synth_write_float`, which pyfluidsynth lacks; the 16-bit output has random dither."""
    pointer, number = ctypes.c_void_p, ctypes.c_int
    arguments = (pointer, number, pointer, number, number, pointer, number, number)
    function: Callable[..., int] = fluidsynth().cfunc(
        "fluid_synth_write_float", number, *((f"a{i}", t, 1) for i, t in enumerate(arguments))
    )
    return function


@cache
def _presets(path: Path) -> frozenset[tuple[int, int]]:
    """Read the bank and program of every preset in a file.

    They are in its `phdr` chunk, in records of 38 bytes: a name of 20 bytes, followed by program and bank.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        start = data.rfind(b"pdtaphdr") + 12
        size = int.from_bytes(data[start - 4 : start], "little")
        records = [data[at : at + 38] for at in range(start, start + size - 38, 38)]
    return frozenset(
        (int.from_bytes(r[22:24], "little"), int.from_bytes(r[20:22], "little")) for r in records
    )


def _events(notes: Sequence[Note], seconds: float, transpose: int) -> list[tuple[int, int, int, int]]:
    """Convert notes to note-on and note-off events: block, key, velocity (0 for off), pitch bend in cents.

    Events are sorted by block; within a block, note-offs come first.
    """
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
