"""Which files are separated, and where their stems go."""

import os
import re
import string
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hdemucs.audio import codecs
from hdemucs.errors import AudioError, HDemucsError, OptionError, OutputError, one_line

SUFFIXES = codecs.SUFFIXES
"""Suffixes of the files that are taken from a folder; a file given by name may have any suffix."""

DEFAULT_TEMPLATE = "{track}/{stem}.{ext}"

MARK = ".hdemucs"
"""Name of the file that marks a folder of stems, which a search that starts above it passes over."""


@dataclass(frozen=True)
class Track:
    """A file to separate.

    Attributes:
        path: Path of the file.
        name: Name of the file without suffix; for a file found in a folder, its path relative to that folder.
        error: Reason why it cannot be separated, if that is known before it is opened.
    """

    path: Path
    name: str
    error: HDemucsError | None = None


def check_not_url(name: str) -> None:
    """Refuse the address of a web page as the name of a file.

    Raises:
        AudioError: It is one.
    """
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", name):
        raise AudioError(f"{name} is a URL, not a file; download the song first, then separate the file")


def find_tracks(inputs: Sequence[Path], out: Path) -> list[Track]:
    """Find the files that `inputs` name and the audio files in the folders that they name, each once.

    Hidden files in folders are ignored, and so are folders of stems below them. A missing file and a folder
    that cannot be read are kept, so that the others are separated before they are reported.

    Args:
        inputs: Files and folders.
        out: Folder of the stems; if an input folder contains it, the stems in it are not taken for tracks.

    Raises:
        AudioError: A folder contains no audio files.
    """
    tracks: list[Track] = []
    for path in inputs:
        # Unlike Path.is_dir, this does not raise on a name that is too long.
        tracks += _search(path, out) if os.path.isdir(path) else [Track(path, path.stem)]  # noqa: PTH112
    return list({(track.path.absolute(), track.name): track for track in tracks}.values())


def _search(folder: Path, out: Path) -> list[Track]:
    """Audio files in a folder, and the folders below it that cannot be read."""
    unreadable: list[OSError] = []
    files: list[Path] = []
    stems_below = False
    # Links to folders are not followed, so there is no loop to be caught in.
    for place, folders, names in os.walk(folder, onerror=unreadable.append):
        below = [Path(place, name) for name in folders if not name.startswith(".")]
        searched = [path for path in below if not _holds_stems(path, out)]
        stems_below |= len(searched) < len(below)
        folders[:] = [path.name for path in searched]
        files += [Path(place, name) for name in names if _is_audio(Path(place, name))]
    if not files and not unreadable:
        besides = " besides stems of earlier runs" if stems_below else ""
        raise AudioError(
            f"{folder} contains no audio files{besides}; known suffixes are {' '.join(sorted(SUFFIXES))}"
        )
    failed = [_unreadable(error, folder) for error in unreadable]
    found = [Track(file, file.relative_to(folder).with_suffix("").as_posix()) for file in files]
    return sorted([*failed, *found], key=lambda track: track.path)


def _holds_stems(folder: Path, out: Path) -> bool:
    return os.path.realpath(folder) == os.path.realpath(out) or (folder / MARK).is_file()


def _is_audio(file: Path) -> bool:
    return not file.name.startswith(".") and file.suffix.lower() in SUFFIXES and file.is_file()


def _unreadable(error: OSError, folder: Path) -> Track:
    path = Path(error.filename or folder)
    reason = error.strerror or one_line(error)
    return Track(path, path.name, AudioError(f"{path} cannot be searched: {reason}; make it readable"))


def mark(folder: Path, tracks: Sequence[Track]) -> None:
    """Mark a folder as one of stems, which `find_tracks` passes over, unless one of `tracks` is in it."""
    if not any(_inside(track.path, folder) for track in tracks):
        with suppress(OSError):
            (folder / MARK).write_text("Stems written by hdemucs, which does not separate them again.\n")


def template_format(template: str) -> str | None:
    """Format that the suffix of a template asks for; None if the suffix is not that of a written format."""
    suffix = Path(template).suffix.lower()
    return next((name for name, codec in codecs.WRITABLE.items() if suffix in codec.suffixes), None)


def plan(
    tracks: Sequence[Track], folder: Path, template: str, stems: Sequence[str], ext: str
) -> list[dict[str, Path]]:
    """Choose the files of each track's stems.

    Args:
        tracks: Tracks, from `find_tracks`.
        folder: Folder that contains all stems.
        template: Path of a stem below `folder`, with {track}, {trackext}, {stem} and {ext}.
        stems: Names of the stems.
        ext: Format of the files, which is also what {ext} stands for.

    Returns:
        File of each stem, one mapping per track. Two tracks may have the same: see `clashes`.

    Raises:
        OptionError: The template is invalid, leads out of the folder, gives two stems of a track the same
            file, or gives files the suffix of another format.
    """
    _check_template(template)
    plans = [{stem: _fill(template, folder, track, stem, ext) for stem in stems} for track in tracks]
    for paths in plans:
        # Two spellings of one path are one file.
        if len({os.path.realpath(path) for path in paths.values()}) < len(paths):
            raise OptionError(f"template {template!r} gives all stems the same name; it needs {{stem}}")
        for path in paths.values():
            suffix = path.suffix.lower()
            if suffix in SUFFIXES and suffix not in codecs.WRITABLE[ext].suffixes:
                raise OptionError(
                    f"template {template!r} would give a file in the format {ext} the name {path.name}; "
                    f"end the template in .{{ext}}, or choose the format that its suffix stands for"
                )
    return plans


def clashes(tracks: Sequence[Track], plans: Sequence[Mapping[str, Path]]) -> list[OutputError | None]:
    """Find tracks that a plan gives a file that another track has too.

    Args:
        tracks: Tracks of the plan.
        plans: File of each stem, from `plan`.

    Returns:
        What is wrong with each track, None for those that have their files for themselves.
    """
    owners: dict[str, list[Track]] = {}
    for track, paths in zip(tracks, plans, strict=True):
        for path in paths.values():
            owners.setdefault(os.path.realpath(path), []).append(track)

    def clash(track: Track, path: Path) -> OutputError | None:
        others = [owner for owner in owners[os.path.realpath(path)] if owner is not track]
        return _clash(track, others[0], path) if others else None

    return [
        next(filter(None, (clash(track, path) for path in paths.values())), None)
        for track, paths in zip(tracks, plans, strict=True)
    ]


def _clash(track: Track, other: Track, path: Path) -> OutputError:
    return OutputError(
        f"{track.path} and {other.path} would both be written to {path}; separate them into different "
        "folders or, if their suffixes differ, use the template '{track}.{trackext}/{stem}.{ext}'"
    )


def _check_template(template: str) -> None:
    """Refuse widths that no file name has: filling in `{stem:>99999999999}` would take all memory."""
    fields: list[str] = []
    with suppress(ValueError):  # which filling in reports
        fields += [spec or "" for _, _, spec, _ in string.Formatter().parse(template)]
    for spec in fields:
        if re.search(r"\d{4}|[{}]", spec):
            raise _not_fillable(template, f"no file name is {spec!r} wide")


def _not_fillable(template: str, reason: object) -> OptionError:
    return OptionError(
        f"template {template!r} cannot be filled in ({reason}); it may contain {{track}}, {{trackext}}, "
        "{stem} and {ext}"
    )


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
        raise _not_fillable(template, error) from error
    if not _inside(path, folder):
        raise OptionError(f"template {template!r} leads out of the folder {folder}: {path}")
    return path


def _inside(path: Path, folder: Path) -> bool:
    # Unlike Path.resolve, this does not raise on links that lead in a circle.
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))
