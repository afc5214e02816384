"""Songs synthesised while a network trains."""

from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
import yaml

from hdemucs.cli import main
from hdemucs.errors import HDemucsError, SynthesisError, WorkerError
from hdemucs.synthesis import dataset
from hdemucs.synthesis.dataset import Task
from hdemucs.training.config.schema import SynthesisSettings
from hdemucs.training.data.online_synthesis import OnlineSynthesis
from hdemucs.training.interrupt import Interrupt
from hdemucs.training.run import Run
from tests.training.songs import SMALL, be_killed, lack_a_package, make_tones, write_songs


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_songs(tmp_path_factory.mktemp("data"), count=1)


@pytest.fixture
def tones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Songs are tones, which need no sounds installed."""
    monkeypatch.setattr(dataset, "make", make_tones)
    monkeypatch.setattr("hdemucs.synthesis.song.require_sounds", lambda: None)


def synthesis(
    folder: Path,
    *,
    seconds: float = 1.0,
    jobs: int = 1,
    epochs: int = 3,
    seed: int = 0,
    main: bool = True,
) -> OnlineSynthesis:
    settings = SynthesisSettings(songs=2, seconds=seconds, jobs=jobs)
    return OnlineSynthesis(settings, folder, epochs=epochs, seed=seed, main=main)


def train(data: Path, out: Path, *more: str) -> int:
    synthesised = ("synthesis.songs=2", "synthesis.seconds=1", *more)
    return main(["train", "--config", "debug", f"data={data}", "-o", str(out), *SMALL, *synthesised])


def test_no_song_is_in_two_epochs_or_in_runs_of_different_seeds(tmp_path: Path) -> None:
    names = [
        song.name
        for seed in range(3)
        for epoch in range(5)
        for song in synthesis(tmp_path, seed=seed).songs(epoch)
    ]
    assert len(set(names)) == len(names) == 3 * 5 * 2


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_only_songs_of_this_epoch_and_the_next_exist(tmp_path: Path, tones: None, jobs: int) -> None:
    songs = synthesis(tmp_path / "songs", jobs=jobs)
    with Interrupt() as interrupt, songs:
        for epoch in range(3):
            assert songs.prepare(epoch, interrupt)
            for song in songs.songs(epoch):
                stems = song.stems(["drums", "bass", "other", "vocals"], 44100, 2)
                assert stems.shape == (5, 2, 44100) == (5, 2, song.length_at(44100))
                assert (stems[:4].abs().amax((1, 2)) > 0.05).all()
            assert {path.name for path in (tmp_path / "songs").iterdir()} <= {
                f"epoch {epoch + 1}, 1 s",
                f"epoch {epoch + 2}, 1 s",
            }
    assert not (tmp_path / "songs").exists()


def begin_and_stop(folder: Path) -> None:
    with Interrupt() as interrupt, synthesis(folder) as songs:
        songs.prepare(0, interrupt)
        raise KeyboardInterrupt


@pytest.mark.slow
def test_a_stopped_run_keeps_its_finished_songs(tmp_path: Path, tones: None) -> None:
    folder = tmp_path / "songs"
    with pytest.raises(KeyboardInterrupt):
        begin_and_stop(folder)
    first = {path: path.stat().st_mtime_ns for path in (folder / "epoch 1, 1 s").rglob("*.wav")}
    assert len(first) == 2 * 5
    with pytest.raises(KeyboardInterrupt):
        begin_and_stop(folder)
    assert {path: path.stat().st_mtime_ns for path in (folder / "epoch 1, 1 s").rglob("*.wav")} == first


@pytest.mark.slow
def test_songs_of_another_length_are_synthesised_again(tmp_path: Path, tones: None) -> None:
    for song in synthesis(tmp_path / "songs").songs(0):
        make_tones(Task(song.song.path, seed=0, seconds=1.0, held_out=False, format="wav"))
    with Interrupt() as interrupt, synthesis(tmp_path / "songs", epochs=1, seconds=2.0) as songs:
        assert songs.prepare(0, interrupt)
        for song in songs.songs(0):
            assert soundfile.info(song.song.files["drums"][0]).duration == 2.0


@pytest.mark.slow
def test_an_interrupt_ends_the_wait(tmp_path: Path, tones: None) -> None:
    with Interrupt() as interrupt, synthesis(tmp_path / "songs") as songs:
        interrupt.requested = True
        assert not songs.prepare(0, interrupt)


def test_only_the_main_process_synthesises(tmp_path: Path) -> None:
    songs = synthesis(tmp_path / "songs", main=False)
    with Interrupt() as interrupt, songs:
        assert songs.prepare(0, interrupt)
    assert not (tmp_path / "songs").exists()
    assert len(songs.songs(0)) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        (lack_a_package, SynthesisError, r"the package pyworld: pip install '\.\[synthesis\]'"),
        (be_killed, WorkerError, "was killed, probably for lack of memory; lower synthesis.jobs"),
    ],
)
def test_errors_of_workers_have_a_remedy(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: Callable[[Task], None],
    error: type[HDemucsError],
    message: str,
) -> None:
    monkeypatch.setattr(dataset, "make", fault)
    songs = synthesis(tmp_path / "songs")
    with pytest.raises(error, match=message), Interrupt() as interrupt, songs:
        songs.prepare(0, interrupt)


@pytest.mark.slow
def test_a_resumed_run_repeats_the_losses_of_an_uninterrupted_one(
    data: Path, tmp_path: Path, tones: None
) -> None:
    at_once, resumed, without = (Run(tmp_path / name) for name in ("at once", "resumed", "without"))
    assert train(data, at_once.folder) == 0
    assert train(data, resumed.folder, "epochs=1") == 0
    settings = yaml.safe_load(resumed.config.read_text())
    resumed.config.write_text(yaml.safe_dump({**settings, "epochs": 3}))
    assert main(["train", "--resume", str(resumed.folder)]) == 0
    assert train(data, without.folder, "synthesis.songs=0") == 0
    losses = [[line["loss"] for line in run.history("step")] for run in (at_once, resumed, without)]
    assert len(losses[0]) == 3 * 8
    assert losses[0] == losses[1] != losses[2]
    assert not at_once.songs.exists()


@pytest.mark.parametrize("missing", [SynthesisError("no soundfont"), ModuleNotFoundError(name="hibari")])
def test_missing_sounds_are_one_line_and_leave_no_run(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    missing: Exception,
) -> None:
    def require() -> None:
        raise missing

    monkeypatch.setattr("hdemucs.synthesis.song.require_sounds", require)
    assert train(data, tmp_path / "run") != 0
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "no soundfont" in err or "the package hibari: pip install" in err
    assert not (tmp_path / "run").exists()
