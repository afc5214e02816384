import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from hdemucs.errors import OptionError, OutputError, SynthesisError
from hdemucs.synthesis import dataset, song
from hdemucs.synthesis.dataset import Task, write_song, write_songs
from hdemucs.synthesis.score.notes import RATE
from hdemucs.synthesis.song import STEMS, Multitrack
from tests.synthesis.studio import furnish


@pytest.fixture
def studio(tmp_path, monkeypatch):
    return furnish(tmp_path, monkeypatch)


def loud_song(seed: int = 0) -> Multitrack:
    rng = np.random.default_rng(seed)
    stems = {name: rng.uniform(-0.24, 0.24, (2, 5000)).astype(np.float32) for name in STEMS}
    return Multitrack("loud", stems, {"style": "none", "other": ["a", "b"]})


def make_loud_song(task: Task) -> None:
    """Stands in for `dataset.make` in worker processes, which know nothing of the fixture `studio`."""
    write_song(loud_song(task.seed), task.folder, task.format)


def samples_of(path: Path) -> np.ndarray:
    """Samples of a 16-bit file as integers, `[channels, length]`."""
    info = soundfile.info(path)
    assert (info.samplerate, info.subtype) == (RATE, "PCM_16")
    return soundfile.read(path, dtype="int16")[0].T.astype(int)


def names_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.glob("*/*"))


@pytest.mark.parametrize("format", ["wav", "flac"])
def test_files_hold_the_rounded_stems_and_their_exact_sum(tmp_path, format):
    song = loud_song()
    song.stems["drums"][:, :3] = [1, -1, 0.1]
    for name in ("bass", "other", "vocals"):
        song.stems[name][:, :3] = 0
    write_song(song, tmp_path / "train" / "loud", format)
    read = {
        name: samples_of(tmp_path / "train" / "loud" / f"{name}.{format}") for name in (*STEMS, "mixture")
    }
    for name in STEMS:
        np.testing.assert_array_equal(read[name], np.rint(song.stems[name] * 32767))
    np.testing.assert_array_equal(read["mixture"], sum(read[name] for name in STEMS))
    assert read["drums"][0, :3].tolist() == [32767, -32767, 3277]
    assert yaml.safe_load((tmp_path / "train" / "loud" / "song.yaml").read_text()) == song.description


@pytest.mark.parametrize("occupied", ["train", "train/loud/drums.wav"])
def test_a_song_that_cannot_be_written_leaves_nothing(tmp_path, occupied):
    (tmp_path / occupied).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / occupied).write_text("in the way")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OutputError, match="cannot be written"):
        write_song(loud_song(), tmp_path / "train" / "loud")
    assert sorted(tmp_path.rglob("*")) == before


def test_the_same_seeds_give_the_same_files(studio, tmp_path):
    for folder in ("first", "second"):
        assert write_songs(tmp_path / folder, songs=1, held_out=1, seed=3, seconds=1.0, format="flac") == 2
    files = [path.relative_to(tmp_path / "first") for path in (tmp_path / "first").rglob("*.*")]
    assert len(files) == 2 * 6
    for file in files:
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()


def test_a_stopped_run_continues(tmp_path, monkeypatch):
    made: list[tuple[int, bool]] = []

    def make(seed, seconds, *, held_out, sparse):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append((seed, held_out))
        return loud_song()

    monkeypatch.setattr(dataset, "make_song", make)
    monkeypatch.setattr(dataset, "require_sounds", lambda held_out: None)
    with pytest.raises(KeyboardInterrupt):
        write_songs(tmp_path, songs=2, held_out=2, seed=5)
    made.clear()
    seen = []
    assert write_songs(tmp_path, songs=2, held_out=2, seed=5, progress=lambda *now: seen.append(now)) == 2
    assert made == [(5, True), (6, True)]
    assert seen == [(3, 4), (4, 4)]
    assert names_in(tmp_path) == [
        "test/held out 000005",
        "test/held out 000006",
        "train/song 000005",
        "train/song 000006",
    ]


def test_sparse_songs_join_the_other_held_out_ones(studio, tmp_path):
    for sparse in (False, True):
        assert write_songs(tmp_path / "songs", songs=0, held_out=1, sparse=sparse, seconds=1.0) == 1
    assert names_in(tmp_path / "songs") == ["test/held out 000000", "test/sparse 000000"]


def test_sparse_without_held_out_songs_is_rejected(tmp_path):
    with pytest.raises(OptionError, match="sparse applies to held-out songs: set held_out"):
        write_songs(tmp_path, songs=1, sparse=True)


@pytest.mark.parametrize("jobs", [1, 2])
def test_missing_sounds_are_one_error_before_anything_starts(studio, tmp_path, monkeypatch, jobs):
    monkeypatch.setattr(song, "find_sounds", list)
    with pytest.raises(SynthesisError, match="no soundfont is installed; on Debian: apt-get install"):
        write_songs(tmp_path / "out", songs=2, jobs=jobs)
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(song, "find_sounds", lambda: studio)
    monkeypatch.setattr(song, "find_voices", list)
    with pytest.raises(SynthesisError, match="no held-out voice is installed"):
        write_songs(tmp_path / "out", songs=0, held_out=1, jobs=jobs)


@pytest.mark.slow
def test_songs_do_not_depend_on_the_number_of_jobs(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "make", make_loud_song)
    monkeypatch.setattr(dataset, "require_sounds", lambda held_out: None)
    for jobs in (1, 2):
        assert write_songs(tmp_path / str(jobs), songs=3, jobs=jobs) == 3
    assert names_in(tmp_path / "1") == names_in(tmp_path / "2")
    for path in (tmp_path / "1").rglob("*.wav"):
        assert path.read_bytes() == (tmp_path / "2" / path.relative_to(tmp_path / "1")).read_bytes()


@pytest.mark.parametrize("options", [{"songs": -1}, {"songs": 1, "jobs": 0}, {"songs": 1, "seconds": -2.0}])
def test_numbers_out_of_range_are_rejected(tmp_path, options):
    with pytest.raises(OptionError, match="must be positive"):
        write_songs(tmp_path, **options)


def test_an_unknown_format_is_rejected(tmp_path):
    with pytest.raises(OptionError, match="cannot be written as 'mp3'; choose wav or flac"):
        write_songs(tmp_path, songs=1, format="mp3")


@pytest.mark.slow
def test_importing_loads_no_more_than_it_needs():
    check = """if True:
        import sys, hdemucs.synthesis
        assert not {"torch", "scipy"} & {*sys.modules}
        import hdemucs.synthesis.dataset
        assert not {"fluidsynth", "pyworld", "onnxruntime"} & {*sys.modules}
    """
    subprocess.run([sys.executable, "-c", check], check=True, cwd=Path(__file__).parents[2])
