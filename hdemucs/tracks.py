"""Which files a command means, and where the stems of each go."""

import os.path
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hdemucs.audio import codecs
from hdemucs.errors import AudioError, OptionError

SUFFIXES = codecs.SUFFIXES
"""Files that a walk through a folder takes; a file that is named is taken whatever its suffix."""

DEFAULT_TEMPLATE = "{track}/{stem}.{ext}"


@dataclass(frozen=True)
class Track:
    """A file to separate.

    Attributes:
        path: the file.
        name: without suffix; below a folder that was walked, with the folders in between.
    """

    path: Path
    name: str


def find_tracks(inputs: Sequence[Path], out: Path) -> list[Track]:
    """The audio files that `inputs` name, each once; folders are walked, hidden files left out.

    A missing file is kept, so that the others are separated before it is reported.

    Args:
        inputs: files and folders.
        out: folder of the stems; a walk through a folder around it leaves it out, as stems are no songs.

    Raises:
        AudioError: a folder without audio files.
    """
    tracks: list[Track] = []
    for path in inputs:
        # Unlike Path's, this does not raise on a name that is too long.
        if not os.path.isdir(path):  # noqa: PTH112
            tracks.append(Track(path, path.stem))
            continue
        inside = [file for file in sorted(path.rglob("*")) if _is_audio(file.relative_to(path), file)]
        if path.resolve() in out.resolve().parents:
            inside = [file for file in inside if out.resolve() not in file.resolve().parents]
        if not inside:
            raise AudioError(
                f"{path} has no audio files in it; known suffixes are {' '.join(sorted(SUFFIXES))}"
            )
        tracks += [Track(file, file.relative_to(path).with_suffix("").as_posix()) for file in inside]
    return list({(track.path.absolute(), track.name): track for track in tracks}.values())


def _is_audio(relative: Path, file: Path) -> bool:
    hidden = any(part.startswith(".") for part in relative.parts)
    return not hidden and file.suffix.lower() in SUFFIXES and file.is_file()


def plan(
    tracks: Sequence[Track], folder: Path, template: str, stems: Sequence[str], ext: str
) -> list[dict[str, Path]]:
    """Files of each track's stems.

    Args:
        tracks: from `find_tracks`.
        folder: below which all files are.
        template: of the path in it, with {track}, {trackext}, {stem} and {ext}.
        stems: their names.
        ext: suffix of the format, without dot.

    Raises:
        OptionError: a template with other names or that leads out of the folder, or two files in one place.
    """
    plans = [{stem: _fill(template, folder, track, stem, ext) for stem in stems} for track in tracks]
    owners: dict[Path, Track] = {}
    for track, paths in zip(tracks, plans, strict=True):
        # Two spellings of one place are one place.
        places = [path.resolve() for path in paths.values()]
        if len(set(places)) < len(places):
            raise OptionError(f"--filename {template!r} gives all stems one name; it needs {{stem}}")
        for place, path in zip(places, paths.values(), strict=True):
            other = owners.setdefault(place, track)
            if other is not track:
                raise OptionError(
                    f"{other.path} and {track.path} would both be written to {path}; run them with an --out "
                    "each, or, if their suffixes differ, with --filename '{track}.{trackext}/{stem}.{ext}'"
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
            f"--filename {template!r} cannot be filled in ({error}); it may have {{track}}, {{trackext}}, "
            "{stem} and {ext}"
        ) from error
    if not path.resolve().is_relative_to(folder.resolve()):
        raise OptionError(f"--filename {template!r} leads out of {folder}: {path}")
    return path
