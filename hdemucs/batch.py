"""Separation of many tracks: each is written, skipped or fails, and a listener is told.

    tracks = find_tracks([Path("album")], Path("stems"))
    outcomes = separate_tracks(Separator(), tracks, Path("stems"), existing="skip")

Nothing is printed.
"""

import os.path
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal, NoReturn

from hdemucs import audio
from hdemucs.apply import Progress
from hdemucs.errors import Cancelled, HDemucsError, StemsExistError
from hdemucs.separator import Format, Separator
from hdemucs.tracks import DEFAULT_TEMPLATE, Track, plan

Existing = Literal["error", "skip", "overwrite"]
"""What to do with a track whose stems exist already."""


@dataclass(frozen=True)
class TrackOutcome:
    """What became of a track.

    Attributes:
        track: The track.
        status: `written`, `skipped` because all of its stems exist, or `failed`.
        stems: File of each stem; empty for a failed track.
        seconds: Duration of the stems in seconds; None unless they were written.
        gain: Factor by which all stems were multiplied to stay within full scale; None unless they were
            written.
        error: Why the track failed; None unless it did.
    """

    track: Track
    status: Literal["written", "skipped", "failed"]
    stems: Mapping[str, Path] = field(default_factory=dict)
    seconds: float | None = None
    gain: float | None = None
    error: HDemucsError | None = None

    def as_json(self) -> dict[str, Any]:
        """The outcome in types that JSON has, without the attributes that do not apply."""
        values = {
            "track": str(self.track.path),
            "status": self.status,
            "stems": {stem: str(path) for stem, path in self.stems.items()} or None,
            "seconds": None if self.seconds is None else round(self.seconds, 3),
            "gain": self.gain,
            "error": None if self.error is None else str(self.error),
        }
        return {key: value for key, value in values.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class BatchEvent:
    """How far a batch has come.

    Attributes:
        track: Current track.
        index: Position of the track in the batch, from 0.
        count: Number of tracks in the batch.
        done: Duration of the audio dealt with so far in seconds; it never decreases.
        total: Duration of all audio in the batch in seconds, according to the headers of the files.
    """

    track: Track
    index: int
    count: int
    done: float
    total: float

    def cancel(self) -> NoReturn:
        """Stop the batch: raises `Cancelled`, which `separate_tracks` passes on to its caller."""
        raise Cancelled(f"cancelled at track {self.index + 1} of {self.count}: {self.track.path}")


@dataclass(frozen=True, kw_only=True)
class TrackStarted(BatchEvent):
    """A track is about to be separated or skipped."""


@dataclass(frozen=True, kw_only=True)
class TrackProgress(BatchEvent):
    """Another chunk of the track has been separated."""


@dataclass(frozen=True, kw_only=True)
class TrackFinished(BatchEvent):
    """A track was written, skipped, or failed.

    Attributes:
        outcome: What became of the track.
    """

    outcome: TrackOutcome


def separate_tracks(
    separator: Separator,
    tracks: Sequence[Track],
    out: Path,
    *,
    template: str = DEFAULT_TEMPLATE,
    format: Format | None = None,
    existing: Existing = "error",
    on_event: Callable[[BatchEvent], None] | None = None,
) -> list[TrackOutcome]:
    """Separate tracks into files, one after another; a track that fails does not stop the others.

    Args:
        separator: Separator to use.
        tracks: Files to separate, from `hdemucs.tracks.find_tracks`.
        out: Folder of the stems.
        template: Path of a stem below `out`, with {track}, {trackext}, {stem} and {ext}.
        format: Format of the stems; 16-bit WAV if None.
        existing: `error` fails a track if any of its stems exists; `skip` passes over a track if all of its
            stems exist, and writes all stems of the others; `overwrite` writes every track.
        on_event: Function called when a track starts, after each chunk, and when a track is finished. It may
            stop the batch with `event.cancel()`; the current track then leaves no files.

    Returns:
        One outcome per track, in order.

    Raises:
        OptionError: The template or the format cannot be used, or two tracks would get the same files. This
            is found before the first track is read.
        Cancelled: `on_event` stopped the batch. It was told the outcomes so far in `TrackFinished` events.
    """
    format = format or Format()
    plans = plan(tracks, out, template, separator.stems, format.format)
    # A format that cannot hold the model's audio is rejected now, not track by track.
    format.writer({}, separator.sample_rate, separator.model.audio_channels, 0, {})
    tell = on_event or _ignore
    lengths = [_header_seconds(track) for track in tracks]
    *starts, total = accumulate(lengths, initial=0.0)

    outcomes: list[TrackOutcome] = []
    for index, (track, paths, start, length) in enumerate(zip(tracks, plans, starts, lengths, strict=True)):
        place: dict[str, Any] = {"track": track, "index": index, "count": len(tracks), "total": total}

        def advance(
            progress: Progress, place: Mapping[str, Any] = place, start: float = start, length: float = length
        ) -> None:
            fraction = progress.done / progress.total if progress.total else 0.0
            tell(TrackProgress(**place, done=start + length * fraction))

        tell(TrackStarted(**place, done=start))
        outcome = _separate_track(separator, track, paths, format, existing, advance)
        outcomes.append(outcome)
        tell(TrackFinished(**place, done=start + length, outcome=outcome))
    return outcomes


def _separate_track(
    separator: Separator,
    track: Track,
    paths: dict[str, Path],
    format: Format,
    existing: Existing,
    progress: Callable[[Progress], None],
) -> TrackOutcome:
    # Unlike Path.exists, this does not raise on a name that is too long.
    found = [path for path in paths.values() if os.path.exists(path)]  # noqa: PTH110
    if existing == "skip" and len(found) == len(paths):
        return TrackOutcome(track, "skipped", paths)
    try:
        if found and existing == "error":
            raise StemsExistError(found[0])
        written = separator.separate_file(track.path, paths, format, progress=progress)
    except Cancelled:
        raise
    except HDemucsError as error:
        return TrackOutcome(track, "failed", error=error)
    return TrackOutcome(track, "written", written.stems, written.seconds, written.gain)


def _header_seconds(track: Track) -> float:
    """Duration of a track in seconds, from its header; 0 if it cannot be opened, which is reported later."""
    try:
        source = audio.open(track.path)
    except HDemucsError:
        return 0.0
    return (source.length or 0) / source.sample_rate


def _ignore(event: BatchEvent) -> None:
    """Do nothing with an event."""
