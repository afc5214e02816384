"""Separation of many tracks: each is written, skipped or fails, and a listener is told.

    tracks = find_tracks([Path("album")], Path("stems"))
    outcomes = separate_tracks(Separator(), tracks, Path("stems"), existing="skip")

Nothing is printed.
"""

import math
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Literal, NoReturn

from hdemucs import audio
from hdemucs.apply import Progress
from hdemucs.errors import Cancelled, HDemucsError
from hdemucs.existing import Existing, existing_stems, writable_places
from hdemucs.separator import Separator
from hdemucs.stems import Format
from hdemucs.tracks import DEFAULT_TEMPLATE, Track, clashes, mark, plan, template_format
from hdemucs.workers import thread_pool


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
        warnings: What went wrong with a track that was separated nevertheless, one line each: it ends before
            it should, or memory ran out.
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
    format: Format | str | None = None,
    existing: Existing = "error",
    strict: bool = False,
    on_event: Callable[[BatchEvent], None] | None = None,
) -> list[TrackOutcome]:
    """Separate tracks into files; a track that fails does not stop the others.

    As many tracks are separated at the same time as the separator's `jobs`, on a CPU or on as many GPUs.

    Args:
        separator: Separator to use.
        tracks: Files to separate, from `hdemucs.tracks.find_tracks`.
        out: Folder of the stems.
        template: Path of a stem below `out`, with {track}, {trackext}, {stem} and {ext}.
        format: Format of the stems, or its name; None for that of the template's suffix, or 16-bit WAV.
        existing: `error` fails a track of which any stem exists; `skip` passes over a track of which all
            stems exist, and writes those that are missing of the others; `overwrite` writes every track.
        strict: Whether a file that ends before it should fails; else it is separated as far as it goes.
        on_event: Called when a track starts, after each chunk, and when a track is finished; with several
            jobs, from several threads, but never by two at once. It may stop the batch with `event.cancel()`;
            the tracks at work then leave no files.

    Returns:
        One outcome per track, in order.

    Raises:
        OptionError: The template or the format cannot be used. Found before the first track is read.
        Cancelled: `on_event` stopped the batch. Outcomes so far were told in its `TrackFinished` events.
    """
    format = Format.of(format or template_format(template))
    plans = plan(tracks, out, template, separator.stems, format.format)
    # A format that cannot hold the model's audio is rejected now, not track by track.
    format.writer({}, separator.sample_rate, separator.model.audio_channels, 0, {})
    tell = on_event or _ignore
    tracks = [
        track if error is None else replace(track, error=error)
        for track, error in zip(tracks, clashes(tracks, plans), strict=True)
    ]
    lengths = [_header_seconds(track) for track in tracks]
    done, total = [0.0] * len(tracks), sum(lengths)
    lock = threading.Lock()
    stopped_by: list[BaseException] = []

    def say(kind: Callable[..., BatchEvent], index: int, fraction: float, **details: Any) -> None:
        with lock:
            if stopped_by:
                raise Cancelled("cancelled while another track was being separated")
            done[index] = max(done[index], fraction * lengths[index])
            place = {"track": tracks[index], "index": index, "count": len(tracks), "total": total}
            try:
                tell(kind(**place, done=math.fsum(done), **details))
            except BaseException as error:
                stopped_by.append(error)
                raise

    def separate(index: int) -> TrackOutcome:
        def advance(progress: Progress) -> None:
            say(TrackProgress, index, progress.done / progress.total if progress.total else 0.0)

        say(TrackStarted, index, 0.0)
        worker = idle.get()
        try:
            outcome = _separate_track(worker, tracks[index], plans[index], format, existing, strict, advance)
        finally:
            idle.put(worker)
        if outcome.status == "written":
            mark(out, tracks)
        say(TrackFinished, index, 1.0, outcome=outcome)
        return outcome

    workers = separator.share(len(tracks))
    idle: SimpleQueue[Separator] = SimpleQueue()
    for worker in workers:
        idle.put(worker)
    if len(workers) == 1:
        return [separate(index) for index in range(len(tracks))]
    with thread_pool(len(workers)) as pool:
        try:
            return list(pool.map(separate, range(len(tracks))))
        except BaseException as error:
            # Tracks at work stop at their next event, and those that are waiting at their first.
            stopped_by.append(error)
            raise stopped_by[0] from None


def _separate_track(
    separator: Separator,
    track: Track,
    paths: dict[str, Path],
    format: Format,
    existing: Existing,
    strict: bool,
    progress: Callable[[Progress], None],
) -> TrackOutcome:
    if track.error is not None:
        return TrackOutcome(track, "failed", error=track.error)
    if existing == "skip" and len(existing_stems(paths)) == len(paths):
        return TrackOutcome(track, "skipped", paths)
    try:
        with _no_empty_folders(paths.values()), writable_places(paths, existing) as places:
            written = separator.separate_file(track.path, places, format, progress=progress, strict=strict)
    except Cancelled:
        raise
    except HDemucsError as error:
        return TrackOutcome(track, "failed", error=error)
    return TrackOutcome(track, "written", paths, written.seconds, written.gain, None, written.warnings)


@contextmanager
def _no_empty_folders(paths: Iterable[Path]) -> Iterator[None]:
    """Remove folders that did not exist before, if the block fails or is interrupted and they are empty."""
    parents = {parent for path in paths for parent in path.parents}
    created = [folder for folder in parents if not os.path.exists(folder)]  # noqa: PTH110
    try:
        yield
    except BaseException:
        for folder in sorted(created, reverse=True):
            with suppress(OSError):
                folder.rmdir()
        raise


def _header_seconds(track: Track) -> float:
    """Seconds of a track according to its header; 0 if it cannot be opened, which is reported in its turn."""
    if track.error is not None:
        return 0.0
    try:
        source = audio.open(track.path)
    except HDemucsError:
        return 0.0
    return (source.length or 0) / source.sample_rate


def _ignore(event: BatchEvent) -> None:
    """Do nothing with an event."""
