"""The benchmark on small made-up songs: bounds, resuming, failures, reports."""

import importlib
import importlib.metadata
import json
import math
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from hdemucs.datasets import STEM_STREAMS, Song, find_songs
from hdemucs.errors import AudioError, EvaluationError, OptionError
from hdemucs.evaluation.benchmark.methods import (
    FolderMethod,
    Method,
    MixtureMethod,
    ModelMethod,
    RatioMaskMethod,
)
from hdemucs.evaluation.benchmark.report import compare, paired_test, published, read_report, write_report
from hdemucs.evaluation.benchmark.run import Outcome, evaluate, track_file
from hdemucs.model import HDemucs
from hdemucs.separator import Separator
from tests.audio.signals import encode_libav

RATE = 8000
SOURCES = ["drums", "vocals"]


def stems(seconds: float, seed: int) -> dict[str, np.ndarray]:
    """Two stems that differ in frequency and time, as those of songs do, `[L, 2]`."""
    generator = np.random.default_rng(seed)
    length = int(seconds * RATE)
    time = np.arange(length) / RATE
    noise = generator.normal(0, 0.3, (length, 2))
    tone = 2 * np.pi * (900 + 50 * seed) * time
    signals = {
        "drums": noise * np.exp(-20 * (time % 0.5))[:, None],
        "vocals": 0.3 * np.sin(tone + 5 * np.sin(2 * np.pi * 5 * time))[:, None] * [1, 0.7],
    }
    return {name: signal + 1e-3 * generator.normal(size=(length, 2)) for name, signal in signals.items()}


def write_song(folder: Path, seconds: float, seed: int, *, mixture: bool = True) -> None:
    folder.mkdir(parents=True)
    signals = stems(seconds, seed)
    for name, signal in signals.items():
        soundfile.write(folder / f"{name}.wav", signal, RATE, subtype="FLOAT")
    if mixture:
        soundfile.write(folder / "mixture.wav", sum(signals.values()), RATE, subtype="FLOAT")


@pytest.fixture
def musdb(tmp_path: Path) -> Path:
    """Three songs of different lengths in MusDB-HQ's layout."""
    for index, seconds in enumerate((2.5, 4.0, 3.2)):
        write_song(tmp_path / "musdb" / "test" / f"Song [{index}]", seconds, index)
    (tmp_path / "musdb" / "train" / "Other").mkdir(parents=True)
    return tmp_path / "musdb"


def statuses(outcomes: list[Outcome]) -> list[str]:
    return [outcome.status for outcome in outcomes]


@pytest.fixture
def museval_aggregate(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """museval's module that reads score files; its package, not run here, wants an ffmpeg binary."""
    files = importlib.metadata.files("museval") or []
    path = next(file for file in files if file.name == "aggregate.py")
    package = ModuleType("museval")
    package.__path__ = [str(Path(str(path.locate())).parent)]
    monkeypatch.setitem(sys.modules, "museval", package)
    return importlib.import_module("museval.aggregate")


def test_layouts(musdb: Path, tmp_path: Path) -> None:
    assert [song.name for song in find_songs(musdb)] == ["Song [0]", "Song [1]", "Song [2]"]
    assert [song.name for song in find_songs(musdb / "test")] == ["Song [0]", "Song [1]", "Song [2]"]
    song = find_songs(musdb)[1]
    assert song.sources == SOURCES
    assert song.sample_rate == RATE
    assert song.references(["vocals", "drums"]).shape == (2, 2, 4 * RATE)
    with pytest.raises(AudioError, match="no songs"):
        find_songs(musdb / "train")
    with pytest.raises(AudioError, match="zenodo"):
        find_songs(tmp_path / "nowhere")


def test_mixture_is_the_sum_where_there_is_no_file(tmp_path: Path) -> None:
    write_song(tmp_path / "with", 1, 0)
    write_song(tmp_path / "without", 1, 0, mixture=False)
    one, two = find_songs(tmp_path)
    assert torch.allclose(one.read("mixture"), two.read("mixture"), atol=1e-6)


def test_musdb18_stem_files(tmp_path: Path) -> None:
    """Five streams: the mixture and four stems, lossy."""
    signals = stems(2, 0)
    streams = {"mixture": sum(signals.values()), **signals}
    path = tmp_path / "test" / "A Song.stem.mp4"
    path.parent.mkdir()
    signals_in_order = [
        torch.from_numpy(np.asarray(streams[name]).T).float() if name in streams else torch.zeros(2, 2 * RATE)
        for name in STEM_STREAMS
    ]
    encode_libav(path, signals_in_order, RATE, "aac", "mp4")
    (song,) = find_songs(tmp_path)
    assert (song.name, song.sources) == ("A Song", ["bass", "drums", "other", "vocals"])
    for name in streams:
        read, written = song.read(name), signals_in_order[STEM_STREAMS.index(name)]
        length = min(read.shape[-1], written.shape[-1])
        correlation = torch.corrcoef(torch.stack([read[0, :length], written[0, :length]]))[0, 1]
        assert correlation > 0.9, name


def test_bounds_are_where_they_must_be(musdb: Path, tmp_path: Path) -> None:
    """The mixture at the SDR of a source in it, the ideal mask far above, the truth beyond all."""
    songs = find_songs(musdb)
    scores = {}
    truth = FolderMethod(musdb)
    for method in (MixtureMethod(), RatioMaskMethod(), truth):
        out = tmp_path / method.name.replace(":", "_")
        assert statuses(evaluate(method, songs, out, jobs=2)) == ["scored"] * 3
        scores[method.name] = write_report(out).summary()["mean"]
    reference = torch.stack([song.references(SOURCES).square().sum((1, 2)) for song in songs])
    total = torch.stack([song.read("mixture").square().sum() for song in songs])
    expected = 10 * torch.log10(reference / (total[:, None] - reference))
    # The stems are nearly orthogonal, so all others are the error.
    assert scores["mixture"]["SDR (MDX)"] == pytest.approx(float(expected.mean()), abs=0.5)
    assert scores["oracle:irm"]["SDR"] > scores["mixture"]["SDR"] + 10
    assert scores[truth.name]["SDR (MDX)"] > 60


def test_goes_on_where_it_was_stopped(musdb: Path, tmp_path: Path) -> None:
    songs = find_songs(musdb)

    calls: list[str] = []

    class Stopped(MixtureMethod):
        def separate(self, song: Song) -> tuple[Tensor, int]:
            if len(calls) == 2:
                raise KeyboardInterrupt
            calls.append(song.name)
            return super().separate(song)

    with pytest.raises(KeyboardInterrupt):
        evaluate(Stopped(), songs, tmp_path / "out")
    first = track_file(tmp_path / "out", songs[0].name)
    before = first.read_bytes()
    assert not track_file(tmp_path / "out", songs[2].name).exists()
    outcomes = evaluate(MixtureMethod(), songs, tmp_path / "out")
    assert statuses(outcomes) == ["kept", "kept", "scored"]
    assert first.read_bytes() == before
    whole = evaluate(MixtureMethod(), songs, tmp_path / "whole")
    assert statuses(whole) == ["scored"] * 3
    assert write_report(tmp_path / "out").summary() == write_report(tmp_path / "whole").summary()


def test_runs_are_not_mixed_up(musdb: Path, tmp_path: Path) -> None:
    evaluate(MixtureMethod(), find_songs(musdb), tmp_path / "out")
    with pytest.raises(OptionError, match="holds scores of mixture"):
        evaluate(RatioMaskMethod(), find_songs(musdb), tmp_path / "out")


@pytest.mark.parametrize("broken", ["mixture", "vocals"])
def test_a_broken_song_is_reported_and_the_others_count(broken: str, musdb: Path, tmp_path: Path) -> None:
    (musdb / "test" / "Song [1]" / f"{broken}.wav").write_bytes(b"RIFF")
    songs = find_songs(musdb)
    outcomes = evaluate(MixtureMethod(), songs, tmp_path / "out")
    assert statuses(outcomes) == ["scored", "failed", "scored"]
    assert f"{broken}.wav" in str(outcomes[1].error)
    assert read_report(tmp_path / "out").songs == ["Song [0]", "Song [2]"]


def small_model() -> Method:
    torch.manual_seed(0)
    model = HDemucs(
        SOURCES, channels=4, depth=5, n_fft=1024, attention_starts=99, sample_rate=RATE, segment=1
    )
    return ModelMethod(Separator(model.eval(), overlap=0.1))


def test_a_model_is_scored(musdb: Path, tmp_path: Path) -> None:
    songs = find_songs(musdb)
    method = small_model()
    assert statuses(evaluate(method, songs, tmp_path / "out", jobs=2)) == ["scored"] * 3
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (run["method"], run["settings"]) == ("HDemucs", {"segment": 1.0, "overlap": 0.1, "shifts": 1})
    report = read_report(tmp_path / "out")
    estimates, rate = method.separate(songs[1])
    assert rate == RATE
    references = songs[1].references(method.sources(songs[1]))
    by_hand = 10 * torch.log10(
        references.square().sum((1, 2)) / (references - estimates).square().sum((1, 2))
    )
    order = [method.sources(songs[1]).index(source) for source in report.sources]
    assert torch.allclose(report.whole[1], by_hand[order], atol=1e-3)


def test_estimates_from_elsewhere(musdb: Path, tmp_path: Path) -> None:
    """Some sources only, as FLAC, a little shorter than the reference."""
    for song in find_songs(musdb):
        folder = tmp_path / "made" / song.name
        folder.mkdir(parents=True)
        samples = 0.5 * song.read("vocals").T.numpy()[:-100]
        soundfile.write(folder / "vocals.flac", samples, RATE, subtype="PCM_24")
    method = FolderMethod(tmp_path / "made")
    assert statuses(evaluate(method, find_songs(musdb), tmp_path / "out")) == ["scored"] * 3
    report = read_report(tmp_path / "out")
    assert report.sources == ["vocals"]
    assert report.whole.flatten().tolist() == pytest.approx([20 * math.log10(2)] * 3, abs=0.1)


def test_estimates_of_another_length_are_refused(musdb: Path, tmp_path: Path) -> None:
    for song in find_songs(musdb):
        (tmp_path / "made" / song.name).mkdir(parents=True)
        soundfile.write(tmp_path / "made" / song.name / "vocals.wav", np.ones((RATE, 2)), RATE)
    outcomes = evaluate(FolderMethod(tmp_path / "made"), find_songs(musdb), tmp_path / "out")
    assert statuses(outcomes) == ["failed"] * 3
    assert "different lengths" in str(outcomes[0].error)


def test_museval_reads_the_scores(musdb: Path, tmp_path: Path, museval_aggregate: ModuleType) -> None:
    evaluate(MixtureMethod(), find_songs(musdb), tmp_path / "out")
    report = read_report(tmp_path / "out")
    for index, song in enumerate(report.songs):
        scores = json.loads(track_file(tmp_path / "out", song).read_text())
        frame = museval_aggregate.json2df(scores, song)
        for number, source in enumerate(report.sources):
            sdr = frame[(frame.target == source) & (frame.metric == "SDR")].score
            assert np.nanmedian(sdr) == pytest.approx(float(report.tracks("SDR")[index, number]), abs=1e-4)


def test_table_and_comparison(musdb: Path, tmp_path: Path) -> None:
    songs = find_songs(musdb)
    evaluate(MixtureMethod(), songs, tmp_path / "a")
    evaluate(RatioMaskMethod(), songs[1:], tmp_path / "b")
    write_report(tmp_path / "a")
    table = (tmp_path / "a" / "table.md").read_text()
    assert "| vocals |" in table
    for row in published():
        assert row["method"] in table
    text = compare(tmp_path / "a", tmp_path / "b")
    assert "on 2 songs: A is mixture, B is oracle:irm" in text
    with pytest.raises(EvaluationError, match="has no scores"):
        compare(tmp_path / "a", tmp_path / "nowhere")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"targets": [{"name": "a", "frames": [{}]}]}'])
def test_files_that_are_no_scores(content: str, tmp_path: Path) -> None:
    (tmp_path / "song.json").write_text(content)
    with pytest.raises(EvaluationError, match=r"song.json is no file of scores"):
        read_report(tmp_path)


def test_paired_test() -> None:
    """Of five equal differences, 2 of 32 choices of signs are as large; of a large clear set, none."""
    assert paired_test(torch.ones(5)) == pytest.approx(2 / 32, abs=0.005)
    assert paired_test(torch.tensor([1.0, -1.0])) == pytest.approx(1.0)
    assert paired_test(torch.linspace(0.5, 1, 40)) < 1e-4


def test_plots_are_drawn(musdb: Path, tmp_path: Path) -> None:
    from hdemucs.evaluation.benchmark.plots import write_plots

    evaluate(MixtureMethod(), find_songs(musdb), tmp_path / "out")
    paths = write_plots(read_report(tmp_path / "out"), tmp_path / "out")
    assert [path.name for path in paths] == ["sdr_by_source.png", "sdr_by_song.png", "sdr_over_time.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 5000 for path in paths)


def test_settings(musdb: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="jobs"):
        evaluate(MixtureMethod(), find_songs(musdb), tmp_path / "out", jobs=0)
    with pytest.raises(OptionError, match="no folder of estimates"):
        FolderMethod(tmp_path / "nowhere")
    from hdemucs.evaluation.benchmark.methods import find_method

    with pytest.raises(OptionError, match="no oracle:magic"):
        find_method("oracle:magic")
    assert isinstance(find_method("mixture"), MixtureMethod)
