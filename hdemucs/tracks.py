"""Which files are separated, and where their stems go."""

import os.path
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hdemucs.audio import codecs
from hdemucs.errors import AudioError, OptionError

SUFFIXES = codecs.SUFFIXES
"""Suffixes of the files that are taken from a folder; a file given by name may have any suffix."""

DEFAULT_TEMPLATE = "{track}/{stem}.{ext}"


@dataclass(frozen=True)
class Track:
    """A file to separate.

    Attributes:
        path: Path of the file.
        name: Name of the file without suffix; for a file found in a folder, its path relative to that folder.
    """

    path: Path
    name: str


def find_tracks(inputs: Sequence[Path], out: Path) -> list[Track]:
    """Find the files that `inputs` name and the audio files in the folders that they name, each once.

    Folders are searched recursively, without their hidden files. A missing file is kept, so that the others
    are separated before it is reported.

    Args:
        inputs: Files and folders.
        out: Folder of the stems; if an input folder contains it, the stems in it are not taken for tracks.

    Raises:
        AudioError: A folder contains no audio files.
    """
    tracks: list[Track] = []
    for path in inputs:
        # Unlike Path.is_dir, this does not raise on a name that is too long.
        if not os.path.isdir(path):  # noqa: PTH112
            tracks.append(Track(path, path.stem))
            continue
        inside = [file for file in sorted(path.rglob("*")) if _is_audio(file.relative_to(path), file)]
        if path.resolve() in out.resolve().parents:
            inside = [file for file in inside if out.resolve() not in file.resolve().parents]
        if not inside:
            raise AudioError(
                f"{path} contains no audio files; known suffixes are {' '.join(sorted(SUFFIXES))}"
            )
        tracks += [Track(file, file.relative_to(path).with_suffix("").as_posix()) for file in inside]
    return list({(track.path.absolute(), track.name): track for track in tracks}.values())


def _is_audio(relative: Path, file: Path) -> bool:
    hidden = any(part.startswith(".") for part in relative.parts)
    return not hidden and file.suffix.lower() in SUFFIXES and file.is_file()


def plan(
    tracks: Sequence[Track], folder: Path, template: str, stems: Sequence[str], ext: str
) -> list[dict[str, Path]]:
    """Choose the files of each track's stems.

    Args:
        tracks: Tracks, from `find_tracks`.
        folder: Folder that contains all stems.
        template: Path of a stem below `folder`, with {track}, {trackext}, {stem} and {ext}.
        stems: Names of the stems.
        ext: Suffix of the files, without the dot.

    Returns:
        File of each stem, one mapping per track.

    Raises:
        OptionError: The template is invalid or leads out of the folder, or two stems would get the same file.
    """
    plans = [{stem: _fill(template, folder, track, stem, ext) for stem in stems} for track in tracks]
    owners: dict[Path, Track] = {}
    for track, paths in zip(tracks, plans, strict=True):
        # Two spellings of one path are the same file.
        resolved = [path.resolve() for path in paths.values()]
        if len(set(resolved)) < len(resolved):
            raise OptionError(f"template {template!r} gives all stems the same name; it needs {{stem}}")
        for target, path in zip(resolved, paths.values(), strict=True):
            other = owners.setdefault(target, track)
            if other is not track:
                raise OptionError(
                    f"{other.path} and {track.path} would both be written to {path}; separate them into "
                    "different folders or, if their suffixes differ, use the template "
                    "'{track}.{trackext}/{stem}.{ext}'"
                )
    return plans


def _fill(template: str, folder: Path, track: Track, stem: str, ext: str) -> Path:
    values: Mapping[str, str] = {
        "track": track.name,
        "trackext": track.path.suffix.removeprefix("."),
        "stem": stem,
        "ext": ext,
    }
    try:
        path = folder / template.format_map(values)
    except (LookupError, ValueError, TypeError, AttributeError) as error:
        raise OptionError(
            f"template {template!r} cannot be filled in ({error}); it may contain {{track}}, {{trackext}}, "
            "{stem} and {ext}"
        ) from error
    if not path.resolve().is_relative_to(folder.resolve()):
        raise OptionError(f"template {template!r} leads out of the folder {folder}: {path}")
    return path
