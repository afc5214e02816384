"""Separating from Python: results, their correctness, and errors."""

import itertools
import subprocess
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import demucs.api
import numpy as np
import pytest
import soundfile
import torch
import yaml
from demucs.hdemucs import HDemucs as HDemucsReference
from torch import Tensor

import hdemucs
from hdemucs import audio
from hdemucs.apply import OptionValues
from hdemucs.errors import (
    AudioError,
    Cancelled,
    HDemucsError,
    OptionError,
    OutputError,
    StemsExistError,
    UnknownModelError,
)
from hdemucs.model import Bag, HDemucs
from hdemucs.separator import Separator
from hdemucs.stems import Format, Stems
from tests.audio.signals import encode_libav, gather, noise, tones
from tests.conftest import TINY_RATE, tiny_network
from tests.reference import SOURCES, randomise


@pytest.fixture(scope="module")
def separator(tiny: Path) -> Separator:
    return Separator(tiny)


@pytest.fixture(scope="module")
def bag() -> Bag:
    """Two members: the first makes drums and bass, the second the others and some of the bass."""
    return Bag([tiny_network(1), tiny_network(2)], [[1, 1, 0, 0], [0, 0.5, 1, 1]])


def stack(stems: Stems) -> Tensor:
    return torch.stack(list(stems.values()))


def read(paths: dict[str, Path]) -> Tensor:
    return torch.stack([gather(audio.open(path)) for path in paths.values()])


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def refused(kind: type[HDemucsError], call: Callable, *args: Any, **options: Any) -> str:
    with pytest.raises(kind) as caught:
        call(*args, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- results


def test_stems_come_by_name_with_their_rate(song: Path, tiny: Path) -> None:
    stems = hdemucs.separate(song, model=tiny)
    assert list(stems) == SOURCES
    assert stems.sample_rate == TINY_RATE
    for stem in stems.values():
        assert stem.shape == (2, round(2.6 * TINY_RATE))
        assert stem.dtype == torch.float32
        assert stem.isfinite().all()
        assert stem.std() > 1e-3
    assert "vocals" in repr(stems)
    assert "2.6 s" in repr(stems)


def test_stems_are_ordinary_tensors(separator: Separator, song: Path) -> None:
    vocals = separator.separate(song)["vocals"]
    vocals.requires_grad_()
    vocals.square().sum().backward()
    assert vocals.grad is not None


def test_model_may_be_path_string_or_network(separator: Separator, tiny: Path, song: Path) -> None:
    expected = stack(separator.separate(song))
    for model in (str(tiny), tiny, separator.model):
        torch.testing.assert_close(stack(hdemucs.separate(song, model=model)), expected, rtol=0, atol=0)


def test_path_array_and_tensor_are_the_same_song(separator: Separator, song: Path) -> None:
    samples, rate = soundfile.read(song, dtype="float32")
    expected = stack(separator.separate(str(song)))
    for source in (samples.T, torch.from_numpy(samples.T), samples.T.astype(np.float64)):
        torch.testing.assert_close(stack(separator.separate(source, rate)), expected, rtol=0, atol=0)
    torch.testing.assert_close(stack(separator.separate(audio.open(song))), expected, rtol=0, atol=0)


def test_the_callers_samples_are_not_changed(separator: Separator) -> None:
    samples = noise(3000)
    before = samples.clone()
    separator.separate(samples, TINY_RATE)
    assert torch.equal(samples, before)


@pytest.mark.parametrize("options", [{}, {"shifts": 2}, {"batch_size": 3}, {"jobs": 2}])
def test_results_repeat_exactly(tiny: Path, song: Path, options: dict[str, Any]) -> None:
    first, second = (stack(hdemucs.separate(song, model=tiny, **options)) for _ in range(2))
    assert torch.equal(first, second)


def test_tracks_do_not_depend_on_earlier_ones(separator: Separator, song: Path) -> None:
    first = stack(separator.separate(song))
    separator.separate(noise(5000, seed=3), TINY_RATE)
    assert torch.equal(stack(separator.separate(song)), first)


@pytest.mark.parametrize("options", [{"batch_size": 3}, {"jobs": 2}])
def test_batches_and_jobs_change_rounding_only(
    tiny: Path, separator: Separator, song: Path, options: dict[str, Any]
) -> None:
    expected = stack(separator.separate(song))
    got = stack(hdemucs.separate(song, model=tiny, **options))
    assert (got - expected).abs().max() < 1e-5 * expected.abs().max()


# --- the same as demucs


def write_package(path: Path, seed: int) -> None:
    settings: dict[str, Any] = {
        "sources": SOURCES,
        "channels": 4,
        "depth": 5,
        "nfft": 1024,
        "dconv_lstm": 4,
        "dconv_attn": 99,
    }
    torch.manual_seed(seed)
    model = HDemucsReference(**settings)
    randomise(model, seed)
    package = {"klass": HDemucsReference, "args": (), "kwargs": settings, "state": model.state_dict()}
    torch.save(package, path)


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models in the format of demucs: two packages and two bags."""
    folder = tmp_path_factory.mktemp("repo")
    write_package(folder / "a1b2c3d4.th", 1)
    write_package(folder / "e5f6a7b8.th", 2)
    members = ["a1b2c3d4", "e5f6a7b8"]
    weights = [[1.0, 1.0, 0.0, 0.5], [0.0, 1.0, 1.0, 0.25]]
    (folder / "even.yaml").write_text(yaml.safe_dump({"models": members}))
    (folder / "mixed.yaml").write_text(yaml.safe_dump({"models": members, "weights": weights}))
    return folder


@pytest.mark.parametrize("name", ["a1b2c3d4.th", "even.yaml", "mixed.yaml"])
@pytest.mark.parametrize(
    ("seconds", "overlap", "level"), [(0.002, 0.25, 1), (0.3, 0.25, 1e-7), (2.7, 0.25, 1), (2.2, 0.6, 1)]
)
def test_equal_to_demucs(repo: Path, name: str, seconds: float, overlap: float, level: float) -> None:
    stem = name.partition(".")[0]
    reference = demucs.api.Separator(
        model=stem, repo=repo, shifts=0, split=True, segment=1, overlap=overlap, device="cpu"
    )
    # Neither zero mean nor unit deviation, so that normalisation matters.
    mix = level * (0.1 + 3 * noise(round(44100 * seconds)) + tones(44100, seconds))
    _, expected = reference.separate_tensor(mix)
    stems = hdemucs.separate(mix, 44100, model=repo / name, segment=1, overlap=overlap)
    assert list(stems) == list(expected)
    for source, wanted in expected.items():
        assert (stems[source] - wanted).abs().max() <= 1e-5 * wanted.abs().max()


# --- any rate, any channels, any type


@pytest.mark.parametrize("rate", [8000, 11025, 44100, 48000, 192_000])
@pytest.mark.parametrize("channels", [1, 2, 8])
def test_any_rate_and_channels(separator: Separator, rate: int, channels: int) -> None:
    stems = separator.separate(tones(rate, 1.3, channels, lowest=100), rate)
    assert stems.sample_rate == TINY_RATE
    for stem in stems.values():
        assert stem.shape[0] == 2
        assert abs(stem.shape[1] - 1.3 * TINY_RATE) <= 1
        assert stem.isfinite().all()


def test_other_rates_are_resampled_not_replayed(separator: Separator) -> None:
    """The same music at another rate gives the same stems."""
    expected = stack(separator.separate(tones(TINY_RATE, 1.5), TINY_RATE))
    got = stack(separator.separate(tones(44100, 1.5), 44100))
    inside = slice(1000, -1000)
    error = (got - expected)[..., inside].square().mean().sqrt()
    assert error < 0.05 * expected[..., inside].square().mean().sqrt()


def test_mono_goes_to_both_channels(separator: Separator) -> None:
    mono = noise(9000, channels=1)
    expected = stack(separator.separate(mono.repeat(2, 1), TINY_RATE))
    for source in (mono, mono[0], mono[0].numpy()):
        assert torch.equal(stack(separator.separate(source, TINY_RATE)), expected)


@pytest.mark.parametrize(("dtype", "full_scale"), [(np.int16, 2**15), (np.int32, 2**31)])
def test_integers_are_divided_by_their_full_scale(separator: Separator, dtype: Any, full_scale: int) -> None:
    samples = (noise(9000).double().numpy() * full_scale).astype(dtype)
    expected = stack(separator.separate((samples / full_scale).astype(np.float32), TINY_RATE))
    torch.testing.assert_close(stack(separator.separate(samples, TINY_RATE)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("length", [1, 2, 100])
def test_the_shortest_tracks(separator: Separator, length: int) -> None:
    out = stack(separator.separate(noise(length), TINY_RATE))
    assert out.shape == (4, 2, length)
    assert out.isfinite().all()


def test_silence_stays_silent(separator: Separator) -> None:
    out = stack(separator.separate(torch.zeros(2, 12000), TINY_RATE))
    assert out.shape == (4, 2, 12000)
    assert out.abs().max() < 1e-6


BAD_SAMPLES: dict[str, tuple[Any, int, str]] = {
    "no samples": (np.zeros((2, 0), np.float32), TINY_RATE, "no samples"),
    "no samples, no channels": (np.zeros((0, 2), np.float32), TINY_RATE, "shape"),
    "NaN": (np.array([[0, 0.1, np.nan]] * 2), TINY_RATE, "NaN"),
    "infinity": (np.array([[0, -np.inf, 0.1]] * 2), TINY_RATE, "infinite"),
    "a batch": (np.zeros((1, 2, 100)), TINY_RATE, "shape"),
    "a number": (np.float32(1), TINY_RATE, "shape"),
    "channels last": (np.zeros((44100, 2)), TINY_RATE, "transpose"),
    "complex": (np.zeros((2, 100), np.complex64), TINY_RATE, "complex64"),
    "64 bits": (np.zeros((2, 100), np.int64), TINY_RATE, "int64"),
    "far too loud": (np.array([[0, 0, 3e38]] * 2, np.float32), TINY_RATE, "3e+38 at 0.000 s"),
    "no rate at all": (np.zeros((2, 100)), 0, "sample rate"),
    "negative rate": (np.zeros((2, 100)), -44100, "sample rate"),
}


@pytest.mark.parametrize("case", BAD_SAMPLES)
def test_invalid_audio_is_refused(separator: Separator, case: str) -> None:
    samples, rate, reason = BAD_SAMPLES[case]
    assert reason in refused(AudioError, separator.separate, samples, rate)


@pytest.mark.parametrize("rate", [None, "44100", "fast", float("nan"), float("inf")])
def test_samples_need_a_sample_rate(separator: Separator, rate: Any) -> None:
    assert "sample_rate" in refused(OptionError, separator.separate, np.zeros((2, 100)), rate)


def test_options_are_typed() -> None:
    """A type checker sees a mistyped option, since there is a type of all of them."""
    assert typing.get_type_hints(OptionValues) == typing.get_type_hints(hdemucs.Options)
    assert Separator(tiny_network(), jobs=0).options == hdemucs.Options(jobs=0)
    with pytest.raises(OptionError):
        Separator(tiny_network(), shift=2)  # type: ignore[call-arg]


def test_missing_file_is_named(separator: Separator, tmp_path: Path) -> None:
    path = tmp_path / "nowhere.mp3"
    assert str(path) in refused(AudioError, separator.separate, path)


def test_a_url_is_refused_as_one(separator: Separator) -> None:
    message = refused(AudioError, separator.separate, "https://example.org/song.mp3")
    assert message.startswith("https://example.org/song.mp3 is a URL")


# --- which stems


def test_stems_come_in_the_models_order(tiny: Path, separator: Separator, song: Path) -> None:
    everything = separator.separate(song)
    some = hdemucs.separate(song, model=tiny, stems=["vocals", "bass", "vocals"])
    assert list(some) == ["bass", "vocals"]
    for name, stem in some.items():
        assert torch.equal(stem, everything[name])


def test_one_stem_may_be_named_as_a_string(tiny: Path) -> None:
    assert Separator(tiny, stems="vocals").stems == ["vocals"]


@pytest.mark.parametrize("stem", SOURCES)
def test_two_stems_add_up_to_all(tiny: Path, separator: Separator, song: Path, stem: str) -> None:
    everything = separator.separate(song)
    two = hdemucs.separate(song, model=tiny, two_stems=stem)
    assert list(two) == [stem, f"no_{stem}"]
    assert torch.equal(two[stem], everything[stem])
    torch.testing.assert_close(two[stem] + two[f"no_{stem}"], stack(everything).sum(0), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"stems": ["guitar"]}, "guitar"),
        ({"stems": []}, "drums"),
        ({"two_stems": "piano"}, "piano"),
        ({"two_stems": "vocals", "stems": ["drums"]}, "two_stems"),
    ],
)
def test_unknown_stems_are_refused(tiny: Path, options: dict[str, Any], word: str) -> None:
    assert word in refused(OptionError, Separator, tiny, **options)


def count_calls(bag: Bag, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count how often each member of the bag is run from now on."""
    calls = [0] * len(bag.models)
    for index, member in enumerate(bag.models):

        def counted(mix: Tensor, index: int = index, forward: Callable = member.forward) -> Tensor:
            calls[index] += 1
            return forward(mix)

        monkeypatch.setattr(member, "forward", counted)
    return calls


@pytest.mark.parametrize(
    ("options", "used"),
    [
        ({"stems": ["drums"]}, [True, False]),
        ({"stems": ["vocals", "other"]}, [False, True]),
        ({"stems": ["bass"]}, [True, True]),
        ({"two_stems": "drums"}, [True, True]),
        ({}, [True, True]),
    ],
)
def test_members_without_weight_are_not_run(
    bag: Bag, song: Path, options: dict[str, Any], used: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = hdemucs.separate(song, model=bag)
    calls = count_calls(bag, monkeypatch)
    stems = hdemucs.separate(song, model=bag, **options)
    assert [count > 0 for count in calls] == used
    for name in set(stems) & set(expected):
        torch.testing.assert_close(stems[name], expected[name], rtol=0, atol=1e-6)


# --- files


@pytest.mark.parametrize("options", [{}, {"two_stems": "vocals"}, {"stems": ["bass"]}])
def test_files_equal_the_stems_in_memory(
    tiny: Path, song: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    separator = Separator(tiny, **options)
    paths = {name: tmp_path / f"{name}.wav" for name in separator.stems}
    written = separator.separate_file(song, paths, Format(bits="32f"))
    assert written.stems == paths
    assert written.seconds == pytest.approx(2.6)
    assert torch.equal(read(paths), stack(separator.separate(song)))
    assert files_below(tmp_path) == sorted(f"{name}.wav" for name in separator.stems)


@pytest.mark.parametrize(
    "format",
    [
        Format(),
        Format(bits="24"),
        Format("flac"),
        Format("flac", bits="24"),
        Format("mp3", bitrate=64),
        Format("ogg"),
    ],
)
def test_saved_stems_and_streamed_stems_are_the_same_files(
    separator: Separator, song: Path, tmp_path: Path, format: Format
) -> None:
    saved = separator.separate(song).save(tmp_path / "new" / "saved", format)
    paths = {name: tmp_path / f"{name}.audio" for name in SOURCES}
    separator.separate_file(song, paths, format)
    assert [path.name for path in saved.values()] == [f"{name}.{format.format}" for name in SOURCES]
    if format.format == "ogg":  # each Ogg stream has a random serial number
        assert torch.equal(read(saved), read(paths))
    else:
        assert [p.read_bytes() for p in saved.values()] == [p.read_bytes() for p in paths.values()]


def test_files_are_written_as_the_track_proceeds(tiny: Path, tmp_path: Path) -> None:
    separator = Separator(tiny, stems=["vocals"])
    sizes = []

    def look(event: hdemucs.Progress) -> None:
        sizes.append(sum(path.stat().st_size for path in tmp_path.iterdir()))
        assert not (tmp_path / "vocals.wav").exists()

    source = audio.from_samples(noise(20 * TINY_RATE), TINY_RATE)
    separator.separate_file(source, {"vocals": tmp_path / "vocals.wav"}, Format(bits="32f"), progress=look)
    whole = (tmp_path / "vocals.wav").stat().st_size
    assert 0.3 * whole < sizes[len(sizes) // 2] < 0.6 * whole


def test_loud_stems_are_turned_down_together(tiny: Path, song: Path, tmp_path: Path) -> None:
    separator = Separator(tiny)
    samples, rate = soundfile.read(song, dtype="float32")
    loud = audio.from_samples(8 * samples.T, rate)
    stems = separator.separate(loud)
    paths = {name: tmp_path / f"{name}.wav" for name in SOURCES}
    written = separator.separate_file(loud, paths, Format(bits="24"))
    assert stack(stems).abs().max() > 1
    assert written.gain < 1
    torch.testing.assert_close(read(paths), stack(stems) * written.gain, rtol=0, atol=2**-23)


def test_tags_are_carried(separator: Separator, tmp_path: Path) -> None:
    source = tmp_path / "tagged.flac"
    encode_libav(source, [tones(TINY_RATE, 1)], TINY_RATE, "flac", "flac", {"title": "Song", "artist": "Me"})
    stems = separator.separate(source)
    assert stems.tags == {"title": "Song", "artist": "Me"}
    saved = stems.save(tmp_path / "stems", Format("flac"))
    assert audio.open(saved["bass"]).tags == stems.tags


def test_every_stem_needs_a_path(separator: Separator, song: Path, tmp_path: Path) -> None:
    paths = {"drums": tmp_path / "drums.wav", "bass": tmp_path / "bass.wav"}
    assert "other, vocals" in refused(OptionError, separator.separate_file, song, paths)
    assert files_below(tmp_path) == []


def test_unwritable_folders_are_refused(separator: Separator, song: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    folder = tmp_path / "file" / "stems"
    stems = separator.separate(song)
    assert str(folder) in refused(OutputError, stems.save, folder)
    paths = {name: folder / f"{name}.wav" for name in SOURCES}
    assert str(folder) in refused(OutputError, separator.separate_file, song, paths)
    assert files_below(tmp_path) == ["file"]


@pytest.mark.parametrize(
    "options",
    [
        {"format": "m4a"},
        {"format": None},
        {"bits": "12"},
        {"format": "mp3", "bits": "24"},
        {"bitrate": 128},
        {"clip": "no"},
    ],
)
def test_contradictory_formats_are_refused(options: dict[str, Any]) -> None:
    refused(OptionError, Format, **options)


def test_formats_are_accepted_where_the_meaning_is_plain(separator: Separator, tmp_path: Path) -> None:
    assert Format("FLAC") == Format("flac")
    assert Format(bits=24) == Format(bits="24")  # type: ignore[arg-type]
    assert "did you mean flac" in refused(OptionError, Format, "flak")
    stems = separator.separate(noise(1000), TINY_RATE)
    saved = stems.save(tmp_path, "flac")
    assert {soundfile.info(path).format for path in saved.values()} == {"FLAC"}
    separator.separate_file(audio.from_samples(noise(1000), TINY_RATE), saved, "ogg")
    assert {soundfile.info(path).format for path in saved.values()} == {"OGG"}


def test_saving_follows_the_rule_for_stems_that_exist(separator: Separator, tmp_path: Path) -> None:
    stems = separator.separate(noise(1000), TINY_RATE)
    (tmp_path / "bass.wav").write_text("mine")
    assert "bass.wav exists" in refused(StemsExistError, stems.save, tmp_path)
    assert files_below(tmp_path) == ["bass.wav"]
    stems.save(tmp_path, existing="skip")
    assert files_below(tmp_path) == sorted(f"{name}.wav" for name in SOURCES)
    assert (tmp_path / "bass.wav").read_text() == "mine"
    stems.save(tmp_path, existing="overwrite")
    assert soundfile.info(tmp_path / "bass.wav").frames == 1000
    assert "choose error, skip, overwrite" in refused(OptionError, stems.save, tmp_path, existing="replace")


# --- progress


@pytest.mark.parametrize("options", [{}, {"shifts": 3}, {"stems": ["drums"]}, {"overlap": 0.0}])
def test_progress_rises_to_one(bag: Bag, song: Path, options: dict[str, Any]) -> None:
    events: list[hdemucs.Progress] = []
    hdemucs.separate(song, model=bag, progress=events.append, **options)
    assert all(isinstance(event, hdemucs.Progress) for event in events)
    fractions = [event.done / (event.total or 0) for event in events]
    assert len(fractions) >= 3
    assert all(a < b for a, b in itertools.pairwise(fractions))
    assert fractions[0] > 0
    assert fractions[-1] == pytest.approx(1, abs=1e-9)


def test_cancelling_leaves_no_file(separator: Separator, song: Path, tmp_path: Path) -> None:
    def cancel(event: hdemucs.Progress) -> None:
        parts = [name for name in files_below(tmp_path) if name.endswith(".part")]
        assert len(parts) == len(SOURCES), "the test is to cancel in the middle"
        if event.done > 1:
            event.cancel()

    paths = {name: tmp_path / "stems" / f"{name}.wav" for name in SOURCES}
    refused(Cancelled, separator.separate_file, song, paths, progress=cancel)
    assert files_below(tmp_path) == []
    separator.separate_file(song, paths)
    assert len(files_below(tmp_path)) == len(SOURCES)


def test_cancelling_in_memory(separator: Separator, song: Path) -> None:
    refused(Cancelled, separator.separate, song, progress=lambda event: event.cancel())


# --- models and options


def test_unknown_models_are_refused(tmp_path: Path) -> None:
    assert "hdemucs_mmi" in refused(UnknownModelError, Separator, "hdemucs_mni")
    assert "none.th" in refused(UnknownModelError, Separator, tmp_path / "none.th")


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"overlap": 2}, "overlap"),
        ({"overlap": float("nan")}, "overlap"),
        ({"overlap": -0.1}, "overlap"),
        ({"segment": 0}, "segment"),
        ({"segment": float("nan")}, "segment"),
        ({"shifts": -1}, "shifts"),
        ({"jobs": -1}, "jobs"),
        ({"segment": "7"}, "'7'"),
        ({"overlap": "much"}, "'much'"),
        ({"shifts": 1.5}, "shifts"),
        ({"shifts": float("nan")}, "nan"),
        ({"jobs": True}, "jobs"),
        ({"progress": True}, "progress"),
        ({"device": 1.5}, "1.5"),
        ({"shift": 2}, "did you mean shifts"),
        ({"stem": ["bass"]}, "did you mean stems"),
        ({"stems": 5}, "drums"),
        ({"two_stems": ["bass"]}, "drums"),
        ({"batch_size": 0}, "batch_size"),
        ({"device": "toaster"}, "toaster"),
    ],
)
def test_impossible_options_are_refused(tiny: Path, options: dict[str, Any], word: str) -> None:
    assert word in refused(OptionError, Separator, tiny, **options)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nGPU 0 has ..."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried ..."),
    ],
)
def test_too_little_memory_is_explained(
    song: Path, tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forward(self: HDemucs, mix: Tensor) -> Tensor:
        raise error

    monkeypatch.setattr(HDemucs, "forward", forward)
    separator = Separator(tiny_network())
    assert "segment" in refused(HDemucsError, separator.separate, song)
    paths = {name: tmp_path / f"{name}.wav" for name in SOURCES}
    assert str(song) in refused(HDemucsError, separator.separate_file, song, paths)
    assert files_below(tmp_path) == []


@pytest.mark.parametrize("name", ["song.wav", "song.flac"])
def test_a_file_that_ends_early_gives_what_is_there_with_a_warning(
    separator: Separator, tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    soundfile.write(path, noise(6 * TINY_RATE).T.numpy(), TINY_RATE)
    assert separator.separate(path).warnings == ()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    stems = separator.separate(path)
    written = separator.separate_file(path, {stem: tmp_path / f"{stem}.out" for stem in SOURCES})
    (warning,) = stems.warnings
    assert written.warnings == stems.warnings
    assert warning.startswith(f"{path} ends early, at {written.seconds:.1f} s of 6.0 s; ")
    assert stems["bass"].shape[1] == pytest.approx(3 * TINY_RATE, abs=4096)
    assert refused(AudioError, separator.separate, path, strict=True) == warning
    assert refused(AudioError, hdemucs.separate, path, model=separator.model, strict=True) == warning


@pytest.mark.parametrize("step", ["convert", "empty"])
def test_too_little_memory_is_explained_in_every_step(
    separator: Separator, song: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried ...")

    monkeypatch.setattr(audio if step == "convert" else torch, step, fail)
    assert str(song) in refused(HDemucsError, separator.separate, song)


# --- the package


def test_importing_is_silent_and_without_torch() -> None:
    code = """
import sys, hdemucs, hdemucs.audio.codecs
assert hdemucs.audio.codecs.WRITABLE
assert hdemucs.__version__ and hdemucs.errors.HDemucsError is hdemucs.HDemucsError
assert "separate" in dir(hdemucs)
heavy = {"torch", "numpy", "soundfile", "av", "rich", "huggingface_hub"} & set(sys.modules)
sys.exit(" ".join(heavy) or 0)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_public_names_are_there() -> None:
    names = "separate Separator Stems Format Options Progress load_model HDemucsError errors"
    assert set(hdemucs.__all__) == set(names.split())
    for name in hdemucs.__all__:
        assert getattr(hdemucs, name) is not None
        assert name in dir(hdemucs)
    with pytest.raises(AttributeError, match="sepparate"):
        _ = hdemucs.sepparate
