"""Sounds small enough to be made by tests: a soundfont, a player for it, a drum kit, and a singer."""

import ctypes
import struct
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import soundfile

from hdemucs.synthesis.score.notes import RATE, Note
from hdemucs.synthesis.sounds import Sound


def write_soundfont(path: Path, presets: Sequence[tuple[int, int]] = ((0, 0), (0, 33), (128, 0))) -> Path:
    """A valid sf2 of one sine, whose presets (bank, program) all play it at every key."""
    wave = (20000 * np.sin(2 * np.pi * np.arange(100) / 100)).astype("<i2").tobytes() + bytes(92)

    def chunk(name: bytes, data: bytes) -> bytes:
        return name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)

    def text(name: str) -> bytes:
        return name.encode().ljust(20, b"\0")

    phdr = b"".join(
        text(f"p{n}") + struct.pack("<HHHIII", program, bank, n, 0, 0, 0)
        for n, (bank, program) in enumerate(presets)
    )
    count = len(presets)
    records = {
        b"phdr": phdr + text("EOP") + struct.pack("<HHHIII", 0, 0, count, 0, 0, 0),
        b"pbag": b"".join(struct.pack("<HH", n, 0) for n in range(count + 1)),
        b"pmod": bytes(10),
        b"pgen": struct.pack("<HH", 41, 0) * count + bytes(4),
        b"inst": text("sine") + struct.pack("<H", 0) + text("EOI") + struct.pack("<H", 1),
        b"ibag": struct.pack("<HHHH", 0, 0, 2, 0),
        b"imod": bytes(10),
        b"igen": struct.pack("<HHHHHH", 54, 1, 53, 0, 0, 0),
        b"shdr": text("sine")
        + struct.pack("<IIIIIBbHH", 0, 100, 0, 100, RATE, 69, 0, 0, 1)
        + text("EOS")
        + bytes(26),
    }
    info = (
        b"INFO"
        + chunk(b"ifil", struct.pack("<HH", 2, 1))
        + chunk(b"isng", b"EMU8000\0")
        + chunk(b"INAM", b"tiny\0\0")
    )
    body = b"sfbk" + chunk(b"LIST", info) + chunk(b"LIST", b"sdta" + chunk(b"smpl", wave))
    body += chunk(b"LIST", b"pdta" + b"".join(chunk(name, data) for name, data in records.items()))
    path.write_bytes(chunk(b"RIFF", body))
    return path


class Synth:
    """The part of pyfluidsynth's interface that is used here; every key plays a sine."""

    def __init__(self, **settings: object) -> None:
        self.synth = self
        self.keys: dict[int, float] = {}
        self.bend = 0.0
        self.frame = 0

    def sfload(self, path: str) -> int:
        return 1 if Path(path).read_bytes()[:4] == b"RIFF" else -1

    def program_select(self, channel: int, font: int, bank: int, program: int) -> None:
        self.channel = channel

    def cc(self, channel: int, control: int, value: int) -> None:
        pass

    def pitch_bend(self, channel: int, value: int) -> None:
        self.bend = 12 * value / 8192

    def noteon(self, channel: int, key: int, velocity: int) -> None:
        self.keys[key] = velocity / 127

    def noteoff(self, channel: int, key: int) -> None:
        self.keys.pop(key, None)

    def delete(self) -> None:
        self.keys.clear()


def _write(
    synth: Synth, frames: int, left: ctypes.c_void_p, start: int, _: int, right: ctypes.c_void_p, *__: int
) -> None:
    time = (synth.frame + np.arange(frames)) / RATE
    synth.frame += frames
    sound = np.zeros(frames, np.float32)
    for key, level in synth.keys.items():
        sound += (
            0.1
            * level
            * np.sin(2 * np.pi * 440 * 2 ** ((key + synth.bend - 69) / 12) * time).astype(np.float32)
        )
    for side in (left, right):
        address = ctypes.cast(side, ctypes.POINTER(ctypes.c_float))
        np.ctypeslib.as_array(address, (start + frames,))[start:] = sound


FLUIDSYNTH = SimpleNamespace(Synth=Synth, cfunc=lambda *_: _write)
"""Stands in for the module `fluidsynth`, since tests cannot expect its library to be installed."""


def write_kit(folder: Path) -> Path:
    """A Hydrogen kit of bursts of noise: two strokes of each drum."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    instruments = []
    for name in ("Kick", "Snare", "Closed HH", "Open HH", "Crash", "Ride", "Tom Low", "Tom Hi"):
        layers = []
        for index, level in enumerate((0.2, 0.9)):
            file = f"{name}-{index}.wav".replace(" ", "_")
            burst = level * rng.uniform(-1, 1, (4000, 2)) * np.exp(-np.arange(4000) / 800)[:, None]
            soundfile.write(folder / file, burst, RATE)
            layers.append(f"<layer><filename>{file}</filename></layer>")
        instruments.append(f"<instrument><name>{name}</name>{''.join(layers)}</instrument>")
    (folder / "drumkit.xml").write_text(f"<drumkit>{''.join(instruments)}</drumkit>")
    return folder


def tiny_sounds(folder: Path, held_out: bool = False) -> list[Sound]:
    """A soundfont with the presets of General MIDI and a kit, as `find_sounds` would list them."""
    presets = [*((0, program) for program in range(128)), *((128, kit) for kit in (0, 25))]
    font = write_soundfont(folder / "tiny.sf2", presets)
    kit = write_kit(folder / "kit")
    return [
        Sound("tiny", "soundfont", font, "tiny-soundfont", "CC0-1.0", "here", held_out=held_out),
        Sound("bursts", "kit", kit, "tiny-kit", "CC0-1.0", "here", "acoustic", held_out),
    ]


def tiny_voice(held_out: bool = False) -> SimpleNamespace:
    """Stands for a voice; `hum` sings for it."""
    return SimpleNamespace(name="hum", held_out=held_out, speaker=None, home=57.0)


def hum(notes: Sequence[Note], seconds: float, *_: object, **__: object) -> np.ndarray:
    """Stands in for `sing`: a sine on every note."""
    frames = round(seconds * RATE)
    audio = np.zeros(frames, np.float32)
    for note in notes:
        start = round(note.start * RATE)
        time = np.arange(max(0, min(round(note.duration * RATE), frames - start))) / RATE
        audio[start : start + len(time)] = 0.1 * np.sin(
            2 * np.pi * 440 * 2 ** ((note.pitch - 69) / 12) * time
        )
    return audio
