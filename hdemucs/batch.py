"""Many tracks to stems: each track is written, skipped or failed, and listeners are told. Nothing is printed.

tracks = find_tracks([Path("album")], Path("stems"))
outcomes = separate_tracks(Separator(), tracks, Path("stems"), existing="skip")
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
"""What to do with a track whose stems exist."""


@dataclass(frozen=True)
class TrackOutcome:
    """What became of a track.

    Attributes:
        track: The track.
        status: `written`, `skipped` because all of its stems exist, or `failed`.
        stems: File of each stem; empty for a failed track.
        seconds: Length of the stems; None unless they were written.
        gain: Gain by which all stems were turned down to stay within full scale; None unless they were
            written.
        error: Why the track failed; None unless it did.
        warnings: What is wrong with a track that was written nevertheless: it ends before it should.
    """

    track: Track
    status: Literal["written", "skipped", "failed"]
    stems: Mapping[str, Path] = field(default_factory=dict)
    seconds: float | None = None
    gain: float | None = None
    error: HDemucsError | None = None
    warnings: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The outcome in types that JSON has, without the attributes that do not apply."""
        values = {
            "track": str(self.track.path),
            "status": self.status,
            "stems": {stem: str(path) for stem, path in self.stems.items()} or None,
            "seconds": None if self.seconds is None else round(self.seconds, 3),
            "gain": self.gain,
            "error": None if self.error is None else str(self.error),
            "warnings": list(self.warnings) or None,
        }
        return {key: value for key, value in values.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class BatchEvent:
    """How far a batch has come.

    Attributes:
        track: The track at work.
        index: Its position in the batch, from 0.
        count: Number of tracks in the batch.
        done: Seconds of audio that the batch has dealt with so far; it never decreases.
        total: Seconds of audio in the batch, as the headers of the files say.
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
        outcome: What became of it.
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
    strict: bool = False,
    on_event: Callable[[BatchEvent], None] | None = None,
) -> list[TrackOutcome]:
    """Separate tracks into files, one after another; a track that fails does not stop the others.

    Args:
        separator: The model, ready to use.
        tracks: Files to separate, from `hdemucs.tracks.find_tracks`.
        out: Folder of the stems.
        template: Path of a stem below `out`, with {track}, {trackext}, {stem} and {ext}.
        format: Format of the stems; 16-bit WAV if None.
        existing: `error` fails a track of which any stem exists; `skip` passes over a track of which all
            stems exist, and writes all stems of the others; `overwrite` writes every track.
        strict: Whether a file that ends before it should fails; else it is separated as far as it goes.
        on_event: Called when a track starts, after each chunk, and when a track is finished. It may stop the
            batch with `event.cancel()`; the track at work then leaves no files.

    Returns:
        One outcome per track, in order.

    Raises:
        OptionError: The template or the format cannot be used, or two tracks would get the same files. Found
            before the first track is read.
        Cancelled: `on_event` stopped the batch. Outcomes so far were told in its `TrackFinished` events.
    """
    format = format or Format()
    plans = plan(tracks, out, template, separator.stems, format.format)
    # Formats that cannot hold the model's audio are refused now, not track by track.
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
        outcome = _separate_track(separator, track, paths, format, existing, strict, advance)
        outcomes.append(outcome)
        tell(TrackFinished(**place, done=start + length, outcome=outcome))
    return outcomes


def _separate_track(
    separator: Separator,
    track: Track,
    paths: dict[str, Path],
    format: Format,
    existing: Existing,
    strict: bool,
    progress: Callable[[Progress], None],
) -> TrackOutcome:
    # Unlike Path.exists, this does not raise on a name that is too long.
    found = [path for path in paths.values() if os.path.exists(path)]  # noqa: PTH110
    if existing == "skip" and len(found) == len(paths):
        return TrackOutcome(track, "skipped", paths)
    try:
        if found and existing == "error":
            raise StemsExistError(found[0])
        written = separator.separate_file(track.path, paths, format, progress=progress, strict=strict)
    except Cancelled:
        raise
    except HDemucsError as error:
        return TrackOutcome(track, "failed", error=error)
    return TrackOutcome(
        track, "written", written.stems, written.seconds, written.gain, None, written.warnings
    )


def _header_seconds(track: Track) -> float:
    """Seconds of a track according to its header; 0 if it cannot be opened, which is reported in its turn."""
    try:
        source = audio.open(track.path)
    except HDemucsError:
        return 0.0
    return (source.length or 0) / source.sample_rate


def _ignore(event: BatchEvent) -> None:
    """Listen to nothing."""
