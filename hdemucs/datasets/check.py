"""Decodes every sample of a song once, and caches the facts found in a small JSON file."""

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

_VERSION = 3


@dataclass(frozen=True)
class FileFacts:
    """Facts found by decoding a file to its end.

    Attributes:
        sample_rate: Sample rate in Hz.
        channels: Number of channels.
        length: Number of samples decoded, which may differ from what the header says.
        peak: Largest absolute sample.
        fault: Why the file cannot be used; None if it can.
    """

    sample_rate: int = 0
    channels: int = 0
    length: int = 0
    peak: float = 0.0
    fault: str | None = None


@dataclass(frozen=True)
class SongFacts:
    """Facts found by decoding all files of a song.

    Attributes:
        files: Facts of each stem, and of `mixture` if it has a file, by name.
        level: RMS of the mixture, over the time that all files cover.
        residual: RMS of the mixture minus all stems; None if there is no mixture to compare with.
    """

    files: dict[str, FileFacts]
    level: float = 0.0
    residual: float | None = None


def check_song(song: Song) -> SongFacts:
    """Decode all files of a song side by side, block by block."""
    readers = {name: _FileReader(*file) for name, file in song.files.items()}
    rates = {reader.facts.sample_rate for reader in readers.values()}
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


class _FileReader:
    """Blocks of a file, up to its end or its first fault, and the facts found on the way."""

    def __init__(self, path: Path, stream: int) -> None:
        self.facts = FileFacts()
        self._blocks: Iterator[Tensor] = iter(())
        self._warnings: list[str] = []
        try:
            source = audio.open(path, stream=stream)
        except AudioError as error:
            self._fail(str(error))
            return
        self.facts = FileFacts(source.sample_rate, source.channels)
        self._blocks = source.blocks()
        self._warnings = source.warnings

    def next(self) -> Tensor | None:
        """Return the next block `[channels, length]`; None at the end or at a fault."""
        try:
            block = next(self._blocks, None)
        except AudioError as error:
            self._fail(str(error))
            return None
        facts = self.facts
        if block is None:
            if not facts.fault and not facts.length:
                self._fail("has no samples")
            elif not facts.fault and self._warnings:
                # Enough for separation, but such a stem would cut the whole song short.
                self._fail(self._warnings[0])
            return None
        # numpy, since songs are checked in as many threads as there are cores, and torch would start more.
        # Its `max` propagates NaN.
        peak = float(np.abs(block.numpy()).max())
        if not math.isfinite(peak):
            self._fail(f"has NaN or infinite samples near {facts.length / facts.sample_rate:.1f} s")
            return None
        self.facts = replace(facts, length=facts.length + block.shape[-1], peak=max(facts.peak, peak))
        return block

    def _fail(self, fault: str) -> None:
        self.facts = replace(self.facts, fault=fault)
        self._blocks = iter(())


class FactsCache:
    """Cache of facts about the songs in a folder.

    Facts are valid as long as a song's files keep their path, size and modification time. A damaged cache is
    treated as empty, and failure to write it is ignored.

    Args:
        songs: Folder of the songs.
        cache: Folder for the JSON file; None for the user's cache folder.
    """

    def __init__(self, songs: Path, cache: Path | None = None) -> None:
        name = hashlib.sha256(os.fsencode(songs.resolve())).hexdigest()[:16]
        self._path = (cache or cache_folder("scans")) / f"{name}.json"
        self._entries: dict[str, Any] = {}
        self._changed = False
        with suppress(OSError, ValueError, TypeError, KeyError):
            content = json.loads(self._path.read_text(encoding="utf-8"))
            if content["version"] == _VERSION:
                self._entries = dict(content["songs"])

    def get(self, song: Song) -> SongFacts | None:
        """Return the facts of a song; None if it was never checked, or has changed since."""
        try:
            key, signature = _signature(song)
            entry = self._entries[key]
            if entry["files"] != signature:
                return None
            facts = entry["facts"]
            files = {name: FileFacts(**file) for name, file in facts["files"].items()}
            if files.keys() != song.files.keys():
                return None
            return SongFacts(files, facts["level"], facts["residual"])
        except (OSError, KeyError, TypeError, AttributeError):
            return None

    def put(self, song: Song, facts: SongFacts) -> None:
        """Remember the facts of a song."""
        with suppress(OSError):  # a file may be gone by now
            key, signature = _signature(song)
            self._entries[key] = {"files": signature, "facts": asdict(facts)}
            self._changed = True

    def save(self) -> None:
        """Write the cache if anything in it is new."""
        if self._changed:
            with suppress(OutputError):
                write_whole(self._path, json.dumps({"version": _VERSION, "songs": self._entries}))


def _signature(song: Song) -> tuple[str, list[list[Any]]]:
    """Key of a song, and what changes with the content of its files, as JSON returns it."""
    files: list[list[Any]] = []
    for name, (path, stream) in song.files.items():
        state = path.stat()
        files.append([name, str(path.absolute()), stream, state.st_size, state.st_mtime_ns])
    return min(file[1] for file in files) + f"#{song.name}", files
