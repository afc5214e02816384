"""Many tracks at once: outcomes, events, and what happens to stems that exist."""

import json
import pickle
from pathlib import Path

import pytest
import soundfile
import torch

from hdemucs.batch import (
    BatchEvent,
    TrackFinished,
    TrackOutcome,
    TrackProgress,
    TrackStarted,
    separate_tracks,
)
from hdemucs.errors import AudioError, Cancelled, OptionError, StemsExistError
from hdemucs.existing import Existing
from hdemucs.separator import Separator
from hdemucs.stems import Format
from hdemucs.tracks import Track, find_tracks
from tests.audio.signals import noise
from tests.conftest import TINY_RATE, tiny_network


@pytest.fixture(scope="module")
def separator() -> Separator:
    return Separator(tiny_network(), stems=["drums", "bass"])


@pytest.fixture
def album(tmp_path: Path) -> list[Track]:
    """Tracks of 1, 2.5 and 0.5 s, with one that does not exist after the first."""
    folder = tmp_path / "album"
    folder.mkdir()
    for name, seconds in (("a", 1.0), ("b", 2.5), ("c", 0.5)):
        write(folder / f"{name}.wav", seconds)
    tracks = find_tracks([folder], tmp_path / "out")
    return [tracks[0], Track(folder / "missing.wav", "missing"), *tracks[1:]]


def write(path: Path, seconds: float) -> None:
    soundfile.write(path, noise(round(seconds * TINY_RATE)).T.numpy(), TINY_RATE, subtype="FLOAT")


def stem_paths(out: Path, track: str, ext: str = "wav") -> dict[str, Path]:
    return {stem: out / track / f"{stem}.{ext}" for stem in ("drums", "bass")}


def no_event(event: BatchEvent) -> None:
    pytest.fail(f"a track was started: {event}")


def statuses(outcomes: list[TrackOutcome]) -> list[str]:
    return [outcome.status for outcome in outcomes]


def test_a_failure_does_not_stop_the_others(separator: Separator, album: list[Track], tmp_path: Path) -> None:
    out = tmp_path / "out"
    outcomes = separate_tracks(separator, album, out, format=Format("flac"))
    assert [outcome.track for outcome in outcomes] == album
    assert statuses(outcomes) == ["written", "failed", "written", "written"]
    written, failed = outcomes[:2]
    assert written.stems == stem_paths(out, "a", "flac")
    assert all(path.is_file() for path in written.stems.values())
    assert (written.seconds, written.gain, written.error) == (1.0, 1.0, None)
    assert isinstance(failed.error, AudioError)
    assert (failed.stems, failed.seconds, failed.gain) == ({}, None, None)


def test_outcomes_as_json(separator: Separator, album: list[Track], tmp_path: Path) -> None:
    written, failed = separate_tracks(separator, album[:2], tmp_path / "out")
    stems = {stem: str(path) for stem, path in stem_paths(tmp_path / "out", "a").items()}
    assert json.loads(json.dumps(written.as_json())) == {
        "track": str(album[0].path),
        "status": "written",
        "stems": stems,
        "seconds": 1.0,
        "gain": 1.0,
    }
    assert failed.as_json() == {"track": str(album[1].path), "status": "failed", "error": str(failed.error)}


@pytest.mark.parametrize(
    ("existing", "expected", "kept"),
    [
        ("error", ["failed", "failed", "written"], ["all", "some"]),
        ("skip", ["skipped", "written", "written"], ["all", "some"]),
        ("overwrite", ["written", "written", "written"], []),
    ],
)
def test_existing_stems(
    separator: Separator, tmp_path: Path, existing: Existing, expected: list[str], kept: list[str]
) -> None:
    out = tmp_path / "out"
    for name in ("all", "some", "none"):
        write(tmp_path / f"{name}.wav", 0.2)
        (out / name).mkdir(parents=True)
    for path in [*stem_paths(out, "all").values(), stem_paths(out, "some")["bass"]]:
        path.write_text("mine")
    tracks = [Track(tmp_path / f"{name}.wav", name) for name in ("all", "some", "none")]
    outcomes = separate_tracks(separator, tracks, out, existing=existing)
    assert statuses(outcomes) == expected
    assert sorted(path.name for path in (out / "some").iterdir() if path.is_dir()) == []
    mine = {path.parent.name for path in out.rglob("*.wav") if path.read_bytes() == b"mine"}
    assert mine == set(kept)
    if existing == "error":
        error = pickle.loads(pickle.dumps(outcomes[1].error))
        assert isinstance(error, StemsExistError)
        assert error.path == stem_paths(out, "some")["bass"]
        assert str(error) == f"{error.path} exists; choose existing='skip' or existing='overwrite'"
    if existing == "skip":
        assert outcomes[0] == TrackOutcome(tracks[0], "skipped", stem_paths(out, "all"))


def test_events_lead_a_progress_bar_from_start_to_end(
    separator: Separator, album: list[Track], tmp_path: Path
) -> None:
    events: list[BatchEvent] = []
    outcomes = separate_tracks(separator, album, tmp_path / "out", on_event=events.append)
    assert {(event.count, event.total) for event in events} == {(4, 4.0)}
    done = [event.done for event in events]
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0.0, 4.0)
    for index, (track, outcome) in enumerate(zip(album, outcomes, strict=True)):
        first, *chunks, last = [event for event in events if event.index == index]
        assert {event.track for event in (first, *chunks, last)} == {track}
        assert isinstance(first, TrackStarted)
        assert all(isinstance(event, TrackProgress) for event in chunks)
        assert bool(chunks) == (outcome.status == "written")
        assert isinstance(last, TrackFinished)
        assert last.outcome is outcome


def test_a_missing_stem_comes_out_as_if_none_were_skipped(separator: Separator, tmp_path: Path) -> None:
    """The gain of a loud song is that of all of its stems, so that the levels among them are kept."""
    path = tmp_path / "loud.wav"
    soundfile.write(path, 50 * noise(4000).T.numpy(), TINY_RATE, subtype="FLOAT")
    tracks = [Track(path, "loud")]
    separate_tracks(separator, tracks, tmp_path / "out")
    for missing, kept in (("bass", "drums"), ("drums", "bass")):
        files = stem_paths(tmp_path / "out", "loud")
        before = files[missing].read_bytes()
        files[missing].unlink()
        files[kept].write_text("mine")
        (outcome,) = separate_tracks(separator, tracks, tmp_path / "out", existing="skip")
        assert (outcome.status, outcome.stems) == ("written", files)
        assert files[missing].read_bytes() == before
        assert files[kept].read_text() == "mine"
        separate_tracks(separator, tracks, tmp_path / "out", existing="overwrite")


@pytest.mark.parametrize("kind", [TrackStarted, TrackProgress, TrackFinished])
def test_an_event_can_cancel_the_batch(
    separator: Separator, album: list[Track], tmp_path: Path, kind: type[BatchEvent]
) -> None:
    events: list[BatchEvent] = []

    def cancel_at_third(event: BatchEvent) -> None:
        events.append(event)
        if event.index == 2 and isinstance(event, kind):
            event.cancel()

    with pytest.raises(Cancelled, match=r"track 3 of 4: .*b\.wav"):
        separate_tracks(separator, album, tmp_path / "out", on_event=cancel_at_third)
    assert type(events[-1]) is kind
    files = {path.parent.name for path in (tmp_path / "out").rglob("*.wav")}
    assert files == ({"a", "b"} if kind is TrackFinished else {"a"})


def test_two_tracks_of_one_name_fail_and_the_others_are_separated(
    separator: Separator, album: list[Track], tmp_path: Path
) -> None:
    folder = album[0].path.parent
    (folder / "a.m4a").write_bytes(b"no audio")
    tracks = find_tracks([folder], tmp_path / "out")
    outcomes = separate_tracks(separator, tracks, tmp_path / "out")
    assert statuses(outcomes) == ["failed", "failed", "written", "written"]
    for outcome in outcomes[:2]:
        assert "would both be written" in str(outcome.error)
    assert not (tmp_path / "out/a").exists()


def test_stems_are_not_separated_again(separator: Separator, album: list[Track], tmp_path: Path) -> None:
    separate_tracks(separator, album, tmp_path / "album/stems")
    assert len(find_tracks([tmp_path / "album"], tmp_path / "elsewhere")) == 3
    # Stems beside their songs are the price of finding the songs.
    separate_tracks(separator, album, tmp_path / "album", template="{track} {stem}.wav")
    assert len(find_tracks([tmp_path], tmp_path / "elsewhere")) == 9


def test_the_suffix_of_the_template_decides_the_format(
    separator: Separator, album: list[Track], tmp_path: Path
) -> None:
    (outcome,) = separate_tracks(separator, album[:1], tmp_path, template="{stem}.flac")
    assert soundfile.info(outcome.stems["drums"]).format == "FLAC"
    with pytest.raises(OptionError, match=r"format mp3 the name drums\.flac"):
        separate_tracks(separator, album[:1], tmp_path, template="{stem}.flac", format=Format("mp3"))


@pytest.mark.parametrize("kind", [TrackProgress, TrackFinished])
def test_no_empty_folders_are_left_behind(
    separator: Separator, album: list[Track], tmp_path: Path, kind: type[BatchEvent]
) -> None:
    def interrupt(event: BatchEvent) -> None:
        if isinstance(event, kind):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        separate_tracks(separator, album[1:], tmp_path / "new/out", on_event=interrupt)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "options",
    [{"template": "{title}/{stem}"}, {"template": "../{stem}"}, {"format": Format("mp3", bitrate=1)}],
)
def test_options_are_checked_before_any_track(
    separator: Separator, album: list[Track], tmp_path: Path, options: dict[str, object]
) -> None:
    with pytest.raises(OptionError):
        separate_tracks(separator, album, tmp_path / "out", on_event=no_event, **options)  # type: ignore[arg-type]


def test_no_tracks_at_all(separator: Separator, tmp_path: Path) -> None:
    assert separate_tracks(separator, [], tmp_path) == []


# --- several at once


def test_jobs_separate_tracks_at_the_same_time(
    separator: Separator, album: list[Track], tmp_path: Path
) -> None:
    """The same outcomes and files as one after another, and events that never overlap or go back."""
    separate_tracks(separator, album, tmp_path / "one")
    events: list[BatchEvent] = []
    parallel = Separator(separator.model, stems=["drums", "bass"], jobs=3)
    outcomes = separate_tracks(parallel, album, tmp_path / "three", on_event=events.append)
    assert statuses(outcomes) == ["written", "failed", "written", "written"]
    assert [outcome.track for outcome in outcomes] == album
    assert {event.index for event in events[:3]} != {0}
    done = [event.done for event in events]
    assert done == sorted(done)
    assert done[-1] == pytest.approx(4.0)
    for track in ("a", "b", "c"):
        for path in stem_paths(tmp_path / "one", track).values():
            assert (tmp_path / "three" / path.relative_to(tmp_path / "one")).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("error", [Cancelled, KeyboardInterrupt, ZeroDivisionError])
def test_stopping_stops_all_jobs(album: list[Track], tmp_path: Path, error: type[BaseException]) -> None:
    def stop(event: BatchEvent) -> None:
        if event.index == 2 and isinstance(event, TrackProgress):
            raise error("by the caller")

    parallel = Separator(tiny_network(), stems=["drums", "bass"], jobs=2)
    with pytest.raises(error, match="by the caller"):
        separate_tracks(parallel, [*album[:3], *album[2:]], tmp_path / "out", on_event=stop)
    assert not list((tmp_path / "out").rglob("b/*"))


@pytest.mark.parametrize(
    ("tracks", "jobs", "expected"), [(1, 4, [4]), (2, 4, [2, 2]), (9, 4, [1, 1, 1, 1]), (3, 1, [1])]
)
def test_jobs_are_shared_between_tracks(tracks: int, jobs: int, expected: list[int]) -> None:
    separator = Separator(tiny_network(), jobs=jobs)
    each = separator.share(tracks)
    assert [one.options.jobs for one in each] == expected
    assert all(one.model is separator.model for one in each)


@pytest.mark.parametrize(
    ("device", "jobs", "expected"),
    [
        ("cuda", 9, ["cuda:1", "cuda:0", "cuda:2"]),
        ("cuda", 2, ["cuda:1", "cuda:0"]),
        ("cuda:1", 9, ["cuda:1"]),
        ("mps", 9, ["mps"]),
    ],
)
def test_each_gpu_gets_tracks_and_a_model_of_its_own(
    device: str, jobs: int, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    separator = Separator(tiny_network(), jobs=jobs)
    separator.device = torch.device(device)
    copies = iter([tiny_network(), tiny_network()])
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr("hdemucs.separator.copy_to", lambda model, device: next(copies))
    each = separator.share(10)
    assert [str(one.device) for one in each] == expected
    assert len({id(one.model) for one in each}) == len(each)
