"""A look at every sample of a song, once: what is found is kept in a small JSON file."""

import hashlib
import json
import math
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hdemucs import audio
from hdemucs.datasets.songs import Song
from hdemucs.errors import AudioError, OutputError
from hdemucs.files import cache_folder, write_whole

_VERSION = 2


@dataclass(frozen=True)
class FileFacts:
    """What is known of a file that was decoded to its end.

    Attributes:
        sample_rate: in Hz.
        channels: their number.
        length: that came out, which may not be what the header says.
        peak: largest absolute sample.
        fault: why it cannot be used, in the words of its error; else None.
    """

    sample_rate: int = 0
    channels: int = 0
    length: int = 0
    peak: float = 0.0
    fault: str | None = None


@dataclass(frozen=True)
class SongFacts:
    """What is known of a song.

    Attributes:
        files: facts by name of stem, or `mixture`.
        level: RMS of the mixture, over the time that all files last.
        residual: RMS of the mixture minus all stems; None if there is no mixture, or it cannot be compared.
    """

    files: dict[str, FileFacts]
    level: float = 0.0
    residual: float | None = None


def check_song(song: Song) -> SongFacts:
    """Decode all files of a song, side by side, block by block."""
    readers = {name: _Reader(song, name) for name in song.files}
    rates = {reader.sample_rate for reader in readers.values()}
    comparable = "mixture" in readers and len(rates) == 1
    energy = residual = 0.0
    total = 0
    while blocks := {name: block for name, reader in readers.items() if (block := reader.next()) is not None}:
        if not (comparable and len(blocks) == len(readers)):
            continue
        length = min(block.shape[-1] for block in blocks.values())
        stereo = {name: audio.remix(block[:, :length], 2) for name, block in blocks.items()}
        mixture = stereo.pop("mixture")
        energy += _energy(mixture)
        residual += _energy(mixture - torch.stack(list(stereo.values())).sum(0))
        total += mixture.numel()
    files = {name: reader.facts for name, reader in readers.items()}
    if not total or any(facts.fault for facts in files.values()):
        return SongFacts(files)
    return SongFacts(files, math.sqrt(energy / total), math.sqrt(residual / total))


def _energy(samples: Tensor) -> float:
    return float(np.square(samples.numpy()).sum(dtype=np.float64))


class _Reader:
    """The blocks of a file, and what was seen of them; after a fault there are none."""

    def __init__(self, song: Song, name: str) -> None:
        self.facts = FileFacts()
        self._blocks: Iterator[Tensor] = iter(())
        path, stream = song.files[name]
        try:
            source = audio.open(path, stream=stream)
        except AudioError as error:
            self._fail(str(error))
            return
        self.facts = FileFacts(source.sample_rate, source.channels)
        self._blocks = source.blocks()

    @property
    def sample_rate(self) -> int:
        return self.facts.sample_rate

    def next(self) -> Tensor | None:
        """The next block `[C, n]`, None at the end or at a fault."""
        try:
            block = next(self._blocks, None)
        except AudioError as error:
            self._fail(str(error))
            return None
        facts = self.facts
        if block is None:
            if not facts.length and not facts.fault:
                self._fail("it has no samples")
            return None
        # numpy works in this thread alone, of which there are as many as cores; NaN comes through `max`.
        peak = float(np.abs(block.numpy()).max())
        if not math.isfinite(peak):
            second = facts.length / facts.sample_rate
            self._fail(f"it has samples that are NaN or infinite near {second:.1f} s")
            return None
        self.facts = replace(facts, length=facts.length + block.shape[-1], peak=max(facts.peak, peak))
        return block

    def _fail(self, fault: str) -> None:
        self.facts = replace(self.facts, fault=fault)
        self._blocks = iter(())


class Cache:
    """Facts of the songs of one folder, for as long as their files keep path, size and time of change.

    A cache that is damaged counts as empty, and one that cannot be written is not written.

    Args:
        songs: the folder.
        place: where the JSON file is; None for the user's cache folder.
    """

    def __init__(self, songs: Path, place: Path | None = None) -> None:
        name = hashlib.sha256(os.fsencode(songs.resolve())).hexdigest()[:16]
        self.path = (place or cache_folder("scans")) / f"{name}.json"
        self._entries: dict[str, Any] = {}
        self._changed = False
        with suppress(OSError, ValueError, TypeError, KeyError):
            content = json.loads(self.path.read_text(encoding="utf-8"))
            if content["version"] == _VERSION:
                self._entries = dict(content["songs"])

    def get(self, song: Song) -> SongFacts | None:
        """What was found of a song, None if it changed since, or was never looked at."""
        try:
            key, signature = _signature(song)
            entry = self._entries[key]
            if entry["files"] != signature:
                return None
            facts = entry["facts"]
            files = {name: FileFacts(**file) for name, file in facts["files"].items()}
            return (
                SongFacts(files, facts["level"], facts["residual"])
                if files.keys() == song.files.keys()
                else None
            )
        except (OSError, KeyError, TypeError, AttributeError):
            return None

    def put(self, song: Song, facts: SongFacts) -> None:
        """Remember what was found of a song."""
        with suppress(OSError):  # the file is gone: that is not to be remembered
            key, signature = _signature(song)
            self._entries[key] = {"files": signature, "facts": asdict(facts)}
            self._changed = True

    def save(self) -> None:
        """Write what is new."""
        if self._changed:
            with suppress(OutputError):
                write_whole(self.path, json.dumps({"version": _VERSION, "songs": self._entries}))


def _signature(song: Song) -> tuple[str, list[list[Any]]]:
    """The song's place, and what changes with the content of its files, as JSON gives it back."""
    files: list[list[Any]] = []
    for name, (path, stream) in song.files.items():
        state = path.stat()
        files.append([name, str(path.absolute()), stream, state.st_size, state.st_mtime_ns])
    return min(file[1] for file in files) + f"#{song.name}", files
