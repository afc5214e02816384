"""Songs to train with: where they are, what is known of their stems, and parts of them.

Folders of songs are what `hdemucs.datasets.songs` finds: MusDB-HQ and MusDB18 (`train/` is taken, and
`valid/` if there is one, but never `test/`), or plain folders, where each song is a folder of stem files
(`drums.wav`, ..., `mixture.wav` if there is one) or a `.stem.mp4` file.

A stem without a file is *unknown*: it may be in the mixture, nobody says how it sounds, and there is no loss
on it. One that is *silent* is said to be so in a file `stems.yaml`, in the song's folder or in the folder of
the songs:

    silent: [vocals]          # of every song here (in a song's folder: of this song)
    unknown: [other]          # files that are not to be trusted
    songs:                    # only in the folder of the songs
      Name of a song:
        silent: [drums]

What is nearer to the song counts: its own file, then its entry under `songs`, then the whole folder's.

Letters in shapes: S sources, R = S + 1 rows, C channels, L samples.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from hdemucs import audio
from hdemucs.audio.resampling import rate_ratio
from hdemucs.datasets.songs import MUSDB_HELP, STEM_STREAMS, Song, songs_in
from hdemucs.errors import TrainingError
from hdemucs.suggest import hint
from hdemucs.tracks import SUFFIXES

STEMS_FILE = "stems.yaml"

MUSDB_VALIDATION = frozenset(
    {
        "ANiMAL - Rockshow",
        "Actions - One Minute Smile",
        "Alexander Ross - Goodbye Bolero",
        "Clara Berry And Wooldog - Waltz For My Victims",
        "Fergessen - Nos Palpitants",
        "James May - On The Line",
        "Johnny Lokke - Promises & Lies",
        "Leaf - Summerghost",
        "Meaxic - Take A Step",
        "Patrick Talbot - A Reason To Leave",
        "Skelpolu - Human Mistakes",
        "Traffic Experiment - Sirens",
        "Triviul - Angelsaint",
        "Young Griffo - Pennies",
    }
)
"""Songs of MusDB's `train/` that are for validation, as in `mus.yaml` of the package musdb."""


@dataclass(frozen=True)
class TrainingSong:
    """A song of which every file can be read.

    Attributes:
        name: of its folder or file.
        song: the files that are used; what is missing here is unknown, or silent.
        sample_rate: of most of its files, in Hz.
        length: of its shortest file, at that rate.
        silent: names of stems that are known to be silent.
    """

    name: str
    song: Song
    sample_rate: int
    length: int
    silent: frozenset[str] = frozenset()

    def known(self, source: str) -> bool:
        """Whether the true stem is known: there is a file, or it is silent."""
        return source in self.song.files or source in self.silent

    def known_sources(self, sources: Sequence[str]) -> Tensor:
        """`known` of each source, `[S]` bool."""
        return torch.tensor([self.known(source) for source in sources], dtype=torch.bool)

    def length_at(self, sample_rate: int) -> int:
        """Its frames at another rate, in Hz."""
        old, new = rate_ratio(self.sample_rate, sample_rate)
        return self.length * new // old

    def stems(
        self,
        sources: Sequence[str],
        sample_rate: int,
        channels: int,
        start: int = 0,
        length: int | None = None,
    ) -> Tensor:
        """A part of the song, read from its files by seeking.

        The last row is the rest, so that all rows together are the mixture: what the mixture's file has
        beyond the sources, if one of them is unknown or there are stems that are no sources; without such a
        file, the sum of those stems.

        Args:
            sources: names of the first rows.
            sample_rate: to resample to, in Hz; `start` and `length` are at this rate.
            channels: to remix to.
            start: the first frame.
            length: how many; beyond the end of the song there are zeros. None: up to its end.

        Returns:
            `[R, C, length]` float32; stems that are silent or unknown are zeros.

        Raises:
            AudioError: a file is damaged or gone.
        """
        there = max(0, self.length_at(sample_rate) - start)
        length = there if length is None else length
        rows = torch.zeros(len(sources) + 1, channels, length)

        def add(row: Tensor, name: str) -> None:
            part = audio.convert_part(self._files[name], start, min(length, there), sample_rate, channels)
            row[:, : part.shape[-1]] += part

        for row, source in zip(rows, sources, strict=False):
            if source in self.song.files:
                add(row, source)
        others = [name for name in self.song.sources if name not in sources]
        if others or not all(map(self.known, sources)):
            if "mixture" in self.song.files:
                add(rows[-1], "mixture")
                rows[-1] -= rows[:-1].sum(0)
            else:
                for name in others:
                    add(rows[-1], name)
        return rows

    def whole(self, sources: Sequence[str], sample_rate: int, channels: int) -> tuple[Tensor, Tensor]:
        """All of the song: its rows `[R, C, L]`, and which sources are known, `[S]` bool."""
        return self.stems(sources, sample_rate, channels), self.known_sources(sources)

    @cached_property
    def _files(self) -> dict[str, audio.AudioSource]:
        """Opened once: a file's header need not be read again for each excerpt."""
        return {name: audio.open(path, stream=stream) for name, (path, stream) in self.song.files.items()}


@dataclass(frozen=True)
class Found:
    """A song before anyone has looked at its files.

    Attributes:
        path: its folder or file.
        song: its files.
        silent: stems that `stems.yaml` calls silent.
        unknown: stems that it calls unknown.
        held_out: it is in `valid/`.
    """

    path: Path
    song: Song
    silent: frozenset[str] = frozenset()
    unknown: frozenset[str] = frozenset()
    held_out: bool = False


def find(folder: Path) -> list[Found]:
    """The songs of a folder, sorted by name, those of `valid/` last.

    Raises:
        TrainingError: there are none, or a `stems.yaml` has mistakes.
    """
    if not folder.is_dir():
        raise TrainingError(
            f"{folder} is no folder; data must name a folder of songs, each a folder of stems"
        )
    train = folder / "train" if (folder / "train").is_dir() else folder
    found = _found_in(train)
    if not found:
        raise TrainingError(_no_songs(folder, train))
    return found + (_found_in(folder / "valid", held_out=True) if (folder / "valid").is_dir() else [])


def _no_songs(folder: Path, train: Path) -> str:
    if (folder / "test").is_dir() and train == folder:
        return f"{folder} has only test/, which is never trained on; put songs to train on into train/ there"
    if any(path.suffix.lower() in SUFFIXES for path in train.iterdir()):
        return f"{train} is a song, not a folder of songs; name the folder that it is in, {train.parent}"
    return (
        f"{train} has no songs: neither folders of stem files (drums.wav, ...) nor .stem.mp4 files; "
        f"put each song's stems into a folder of its own there ({MUSDB_HELP})"
    )


def _found_in(folder: Path, *, held_out: bool = False) -> list[Found]:
    everywhere = _read_marks(folder / STEMS_FILE, of_folder=True)
    songs = songs_in(folder)
    names = [song.name for song in songs]
    for name in everywhere.songs:
        if name not in names:
            raise TrainingError(
                f"{folder / STEMS_FILE} speaks of a song {name!r} that is not there{hint(name, names)}"
            )
    found = []
    for song in songs:
        path = folder / song.name
        marks = everywhere.overridden(everywhere.songs.get(song.name, Marks()))
        if path.is_dir():
            marks = marks.overridden(_read_marks(path / STEMS_FILE, of_folder=False))
        else:
            path = next(iter(song.files.values()))[0]
        found.append(Found(path, song, marks.silent, marks.unknown, held_out))
    return found


@dataclass(frozen=True)
class Marks:
    """What a `stems.yaml` says."""

    silent: frozenset[str] = frozenset()
    unknown: frozenset[str] = frozenset()
    songs: dict[str, "Marks"] = field(default_factory=dict)

    def overridden(self, other: "Marks") -> "Marks":
        """These, except for the stems that `other` speaks of."""
        return Marks(
            (self.silent - other.unknown) | other.silent, (self.unknown - other.silent) | other.unknown
        )


def _read_marks(path: Path, *, of_folder: bool) -> Marks:
    if not path.is_file():
        return Marks()
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise TrainingError(f"{path} cannot be read ({reason}); write it like `silent: [vocals]`") from None
    return _marks(path, content, of_folder=of_folder)


def _marks(path: Path, content: Any, *, of_folder: bool) -> Marks:
    keys = ["silent", "unknown", "songs"] if of_folder else ["silent", "unknown"]
    content = {} if content is None else content
    if not isinstance(content, dict):
        raise TrainingError(f"{path} must be a mapping with the keys {', '.join(keys)}")
    for key in content:
        if key not in keys:
            raise TrainingError(
                f"{path} has a key {key!r}{hint(str(key), keys)}; it may have {', '.join(keys)}"
            )
    for key in ("silent", "unknown"):
        names = content.get(key) or []
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise TrainingError(
                f"{path}: {key} must be a list of stems, like `{key}: [vocals]`, not {names!r}"
            )
    silent, unknown = (frozenset(content.get(key) or []) for key in ("silent", "unknown"))
    if both := silent & unknown:
        raise TrainingError(f"{path} calls {', '.join(sorted(both))} both silent and unknown; choose one")
    songs = content.get("songs") or {}
    if not isinstance(songs, dict):
        raise TrainingError(
            f"{path}: songs must be a mapping from a song's name to `silent: [...]`, not {songs!r}"
        )
    return Marks(
        silent, unknown, {str(name): _marks(path, of, of_folder=False) for name, of in songs.items()}
    )


def ordered_sources(songs: Iterable[Song]) -> list[str]:
    """Names of all stems of all songs: those of MusDB in its order, then others by name."""
    names = {name for song in songs for name in song.sources}
    first = [name for name in STEM_STREAMS if name in names]
    return first + sorted(names - set(first))
