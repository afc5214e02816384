"""Songs that are made while a network trains."""

from pathlib import Path

import pytest
import soundfile
import yaml

from hdemucs.cli import main
from hdemucs.errors import TrainingError
from hdemucs.synthesis import dataset
from hdemucs.training.config.schema import Config
from hdemucs.training.data.online_synthesis import MadeSongs
from hdemucs.training.interrupt import Interrupt
from hdemucs.training.run import Run
from tests.training.songs import (
    SMALL,
    be_killed,
    lack_a_package,
    make_made_song,
    take_long,
    write_songs,
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_songs(tmp_path_factory.mktemp("data"), count=1)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "make", make_made_song)


def config(songs: int = 2, epochs: int = 3, jobs: int = 1, seed: int = 0) -> Config:
    settings = Config(epochs=epochs, seed=seed)
    settings.synthesis.songs, settings.synthesis.seconds, settings.synthesis.jobs = songs, 1.0, jobs
    return settings


def train(data: Path, out: Path, *more: str) -> int:
    made = ("synthesis.songs=2", "synthesis.seconds=1", *more)
    return main(["train", "--config", "debug", f"data={data}", "-o", str(out), *SMALL, *made])


def test_no_song_is_in_two_epochs_or_in_two_runs_of_different_seeds(tmp_path: Path) -> None:
    names = [
        song.name
        for seed in range(3)
        for epoch in range(5)
        for song in MadeSongs(config(seed=seed), tmp_path, True).of(epoch)
    ]
    assert len(set(names)) == len(names) == 3 * 5 * 2


@pytest.mark.parametrize("jobs", [1, 2])
def test_songs_of_this_epoch_and_the_next_are_there_and_no_others(
    tmp_path: Path, made: None, jobs: int
) -> None:
    songs = MadeSongs(config(jobs=jobs), tmp_path / "songs", True)
    with Interrupt() as interrupt, songs:
        for epoch in range(3):
            assert songs.ready(epoch, interrupt)
            for song in songs.of(epoch):
                stems = song.stems(["drums", "bass", "other", "vocals"], 44100, 2)
                assert stems.shape == (5, 2, 44100) == (5, 2, song.length_at(44100))
                assert (stems[:4].abs().amax((1, 2)) > 0.05).all()
            assert {path.name for path in (tmp_path / "songs").iterdir()} <= {
                f"epoch {epoch + 1}, 1 s",
                f"epoch {epoch + 2}, 1 s",
            }
    assert not (tmp_path / "songs").exists()


def begin_and_stop(folder: Path) -> None:
    with Interrupt() as interrupt, MadeSongs(config(), folder, True) as songs:
        songs.ready(0, interrupt)
        raise KeyboardInterrupt


def test_a_stopped_run_keeps_the_songs_that_are_whole(tmp_path: Path, made: None) -> None:
    folder = tmp_path / "songs"
    with pytest.raises(KeyboardInterrupt):
        begin_and_stop(folder)
    first = {path: path.stat().st_mtime_ns for path in (folder / "epoch 1, 1 s").rglob("*.wav")}
    assert len(first) == 2 * 5
    with pytest.raises(KeyboardInterrupt):
        begin_and_stop(folder)
    assert {path: path.stat().st_mtime_ns for path in (folder / "epoch 1, 1 s").rglob("*.wav")} == first


def test_songs_of_another_length_are_made_anew(tmp_path: Path, made: None) -> None:
    with pytest.raises(KeyboardInterrupt):
        begin_and_stop(tmp_path / "songs")
    longer = config(epochs=1)
    longer.synthesis.seconds = 2.0
    with Interrupt() as interrupt, MadeSongs(longer, tmp_path / "songs", True) as songs:
        assert songs.ready(0, interrupt)
        for song in songs.of(0):
            assert soundfile.info(song.song.files["drums"][0]).duration == 2.0


def test_an_interrupt_ends_the_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "make", take_long)
    songs = MadeSongs(config(), tmp_path / "songs", True)
    with Interrupt() as interrupt, songs:
        interrupt.asked = True
        assert not songs.ready(0, interrupt)


def test_a_process_that_is_no_maker_makes_nothing(tmp_path: Path) -> None:
    songs = MadeSongs(config(), tmp_path / "songs", maker=False)
    with Interrupt() as interrupt, songs:
        assert songs.ready(0, interrupt)
    assert not (tmp_path / "songs").exists()
    assert len(songs.of(0)) == 2


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lack_a_package, r"pyworld is not here\); pip install 'hdemucs\[synthesis\]'"),
        (be_killed, "was killed, perhaps for want of memory; lower synthesis.jobs"),
    ],
)
def test_what_stops_the_making_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault, message
) -> None:
    monkeypatch.setattr(dataset, "make", fault)
    songs = MadeSongs(config(), tmp_path / "songs", True)
    with pytest.raises(TrainingError, match=message), Interrupt() as interrupt, songs:
        songs.ready(0, interrupt)


def test_a_run_with_made_songs_that_is_gone_on_with_repeats_the_whole_one(
    data: Path, tmp_path: Path, made: None
) -> None:
    whole, parts, without = (Run(tmp_path / name) for name in ("whole", "parts", "without"))
    assert train(data, whole.folder) == 0
    assert train(data, parts.folder, "epochs=1") == 0
    settings = yaml.safe_load(parts.config.read_text())
    parts.config.write_text(yaml.safe_dump({**settings, "epochs": 3}))
    assert main(["train", "--resume", str(parts.folder)]) == 0
    assert train(data, without.folder, "synthesis.songs=0") == 0
    losses = [[line["loss"] for line in run.history("step")] for run in (whole, parts, without)]
    assert len(losses[0]) == 3 * 8
    assert losses[0] == losses[1] != losses[2]
    assert not whole.made.exists()
