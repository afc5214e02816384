"""Methods: found by name, and estimates that are what they claim to be."""

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from hdemucs.datasets.songs import Song, find_songs
from hdemucs.errors import AudioError, OptionError
from hdemucs.evaluation.benchmark.methods import FolderMethod, MixtureMethod, RatioMaskMethod, find_method
from hdemucs.evaluation.metrics import sdr
from tests.evaluation.songs import RATE, SOURCES, write_song


@pytest.fixture
def song(tmp_path: Path) -> Song:
    write_song(tmp_path / "songs" / "Song [0]", 1.2, 0)
    return find_songs(tmp_path / "songs")[0]


def test_the_mixture_scores_the_ratio_of_a_source_to_all_others(song: Song) -> None:
    method = MixtureMethod()
    assert method.sources(song) == SOURCES
    estimates, rate = method.separate(song)
    assert rate == RATE
    references = song.references(SOURCES)
    others = references.flip(0)
    expected = 10 * torch.log10(references.double().square().sum((1, 2)) / others.square().sum((1, 2)))
    torch.testing.assert_close(sdr(references, estimates), expected, rtol=0, atol=0.01)


def test_the_ideal_mask_scores_far_above_the_mixture(song: Song) -> None:
    references = song.references(SOURCES)
    oracle, mixture = (sdr(references, one().separate(song)[0]) for one in (RatioMaskMethod, MixtureMethod))
    assert (oracle > mixture + 10).all()


def test_true_stems_as_estimates_are_perfect(song: Song, tmp_path: Path) -> None:
    estimates, rate = FolderMethod(tmp_path / "songs").separate(song)
    assert rate == RATE
    assert torch.equal(estimates, song.references(SOURCES))


def test_estimates_may_lack_sources_and_samples(song: Song, tmp_path: Path) -> None:
    """Only vocals, at half the level, as FLAC, a little shorter than the reference."""
    folder = tmp_path / "estimates" / "test" / song.name
    folder.mkdir(parents=True)
    soundfile.write(
        folder / "vocals.flac", 0.5 * song.read("vocals").T.numpy()[:-100], RATE, subtype="PCM_24"
    )
    method = FolderMethod(tmp_path / "estimates")
    assert method.sources(song) == ["vocals"]
    (estimate,), _ = method.separate(song)
    reference = song.references(["vocals"])[..., :-100]
    assert sdr(reference, estimate[None]).item() == pytest.approx(20 * math.log10(2), abs=0.01)


def test_estimates_of_different_lengths_are_refused(song: Song, tmp_path: Path) -> None:
    folder = tmp_path / "estimates" / song.name
    folder.mkdir(parents=True)
    for name, seconds in (("drums", 1), ("vocals", 2)):
        soundfile.write(folder / f"{name}.wav", np.ones((seconds * RATE, 2)), RATE)
    with pytest.raises(AudioError, match="different lengths"):
        FolderMethod(tmp_path / "estimates").separate(song)


def test_songs_without_estimates_are_refused(song: Song, tmp_path: Path) -> None:
    (tmp_path / "estimates").mkdir()
    with pytest.raises(AudioError, match="no estimates of drums, vocals"):
        FolderMethod(tmp_path / "estimates").separate(song)


def test_estimates_need_a_folder(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="nowhere is not a folder"):
        FolderMethod(tmp_path / "nowhere")


def test_methods_are_found_by_name() -> None:
    assert isinstance(find_method("mixture"), MixtureMethod)
    assert isinstance(find_method("oracle:irm"), RatioMaskMethod)
    with pytest.raises(
        OptionError, match=r"no method 'oracle:magic'; besides models there are mixture, oracle"
    ):
        find_method("oracle:magic")
