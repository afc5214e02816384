"""`stems.yaml`: what is known about stems beyond their files.

The file may be in a song's folder, or in the folder that holds all songs:

    silent: [vocals]          # of every song here (in a song's folder: of this song)
    unknown: [other]          # files that cannot be trusted
    songs:                    # only in the folder of the songs
      Name of a song:
        silent: [drums]

The most specific entry wins: that of the song's own file, then that under `songs`, then that for every song.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from hdemucs.datasets.songs import Song
from hdemucs.errors import DatasetError, one_line
from hdemucs.suggest import hint

STEMS_FILE = "stems.yaml"


@dataclass(frozen=True)
class Annotations:
    """Content of a `stems.yaml`.

    Attributes:
        silent: Stems that are silent.
        unknown: Stems whose files cannot be trusted.
        songs: Annotations of single songs, by name.
    """

    silent: frozenset[str] = frozenset()
    unknown: frozenset[str] = frozenset()
    songs: dict[str, "Annotations"] = field(default_factory=dict)

    def overridden_by(self, other: "Annotations") -> "Annotations":
        """Combine these annotations with others, which win for every stem that they mention."""
        return Annotations(
            (self.silent - other.unknown) | other.silent, (self.unknown - other.silent) | other.unknown
        )


def annotate(folder: Path, songs: Sequence[Song]) -> list[Song]:
    """Add what `stems.yaml` says to the songs of a folder.

    Raises:
        DatasetError: A `stems.yaml` has mistakes.
    """
    names = [song.name for song in songs]
    shared = _read(folder / STEMS_FILE, of_folder=True)
    for name in shared.songs:
        if name not in names:
            raise DatasetError(f"{folder / STEMS_FILE}: there is no song {name!r}{hint(name, names)}")
    annotated = []
    for song in songs:
        annotations = shared.overridden_by(shared.songs.get(song.name, Annotations()))
        if song.path.is_dir():
            annotations = annotations.overridden_by(_read(song.path / STEMS_FILE, of_folder=False))
        annotated.append(replace(song, silent=annotations.silent, unknown=annotations.unknown))
    return annotated


def _read(path: Path, *, of_folder: bool) -> Annotations:
    if not path.is_file():
        return Annotations()
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DatasetError(
            f"{path} cannot be read ({one_line(error)}); write it like `silent: [vocals]`"
        ) from None
    return _parse(path, content, of_folder=of_folder)


def _parse(path: Path, content: Any, *, of_folder: bool) -> Annotations:
    keys = ["silent", "unknown", "songs"] if of_folder else ["silent", "unknown"]
    content = {} if content is None else content
    if not isinstance(content, dict):
        raise DatasetError(f"{path}: must be a mapping with the keys {', '.join(keys)}")
    for key in content:
        if key not in keys:
            raise DatasetError(
                f"{path}: unknown key {key!r}{hint(str(key), keys)}; possible keys are {', '.join(keys)}"
            )
    for key in ("silent", "unknown"):
        names = content.get(key) or []
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise DatasetError(
                f"{path}: {key} must be a list of stems, like `{key}: [vocals]`, not {names!r}"
            )
    silent, unknown = (frozenset(content.get(key) or []) for key in ("silent", "unknown"))
    if both := silent & unknown:
        raise DatasetError(f"{path}: {', '.join(sorted(both))} cannot be both silent and unknown; choose one")
    songs = content.get("songs") or {}
    if not isinstance(songs, dict):
        raise DatasetError(
            f"{path}: songs must be a mapping from a song's name to `silent: [...]`, not {songs!r}"
        )
    return Annotations(
        silent, unknown, {str(name): _parse(path, entry, of_folder=False) for name, entry in songs.items()}
    )
