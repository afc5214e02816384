"""The model that ships: offline, on the clip that ships, and on unusual input."""

import re
import socket
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from torch import Tensor

import hdemucs
from hdemucs.audio.resampling import resample
from hdemucs.cli.demo import CLIPS
from hdemucs.datasets.songs import songs_in
from hdemucs.evaluation.metrics.sdr import sdr
from hdemucs.pretrained import DEFAULT_MODEL, get_card
from hdemucs.separator import Separator
from hdemucs.synthesis.sounds import SOUNDS
from hdemucs.synthesis.voice.voices import PROVENANCE
from tests.reference import SOURCES

RATE = 44100
(WEIGHTS,) = (file.shipped for file in get_card(DEFAULT_MODEL).files)
assert WEIGHTS is not None
CARD = WEIGHTS.with_suffix(".md")


@pytest.fixture(scope="module")
def separator() -> Separator:
    """Separator with the default model, created without a network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "socket", _no_network)
        return Separator()


def _no_network(*_: Any, **__: Any) -> None:
    raise AssertionError("the default model needs the network")


@pytest.fixture(scope="module")
def clip() -> Tensor:
    """True stems of the first ten seconds of the demo, `[4, 2, L]`."""
    (song,) = songs_in(CLIPS)
    return song.references(SOURCES)[..., : 10 * RATE]


def separated(separator: Separator, mixture: Tensor, rate: int = RATE) -> Tensor:
    """Stems of a mixture `[2, L]`, `[4, 2, L]`."""
    stems = separator.separate(mixture, rate)
    return torch.stack([stems[source] for source in SOURCES])


@pytest.fixture(scope="module")
def estimates(separator: Separator, clip: Tensor) -> Tensor:
    return separated(separator, clip.sum(0))


def test_every_stem_is_better_than_the_mixture(clip: Tensor, estimates: Tensor) -> None:
    gain = sdr(clip, estimates) - sdr(clip, clip.sum(0).expand_as(clip))
    assert gain.min() > 4
    assert sdr(clip, estimates).mean() > 3


@pytest.mark.parametrize("level", [-40, -20, 0])
def test_the_level_of_the_input_does_not_matter(
    separator: Separator, clip: Tensor, estimates: Tensor, level: float
) -> None:
    factor = 10 ** (level / 20) / clip.sum(0).abs().max()
    again = separated(separator, clip.sum(0) * factor) / factor
    assert sdr(estimates, again).min() > 60


def test_mono_is_separated(separator: Separator, clip: Tensor) -> None:
    mono = clip.mean(1, keepdim=True)
    true = mono.expand_as(clip)
    gain = sdr(true, separated(separator, mono.sum(0))) - sdr(true, true.sum(0).expand_as(true))
    assert gain.min() > 2


def test_silence_stays_silent(separator: Separator) -> None:
    assert separated(separator, torch.zeros(2, 3 * RATE)).abs().max() < 1e-6


@pytest.mark.parametrize("alone", SOURCES)
def test_a_single_source_goes_to_its_stem(separator: Separator, clip: Tensor, alone: str) -> None:
    energy = separated(separator, clip[SOURCES.index(alone)]).square().sum((1, 2))
    assert SOURCES[int(energy.argmax())] == alone
    assert energy.max() / energy.sum() > 0.5


def test_telephone_quality_is_separated(separator: Separator, clip: Tensor) -> None:
    narrow = torch.stack([torch.cat(list(resample([stem], RATE, 8000)), -1) for stem in clip])
    wide = torch.stack([torch.cat(list(resample([stem], 8000, RATE)), -1) for stem in narrow])
    out = separated(separator, narrow.sum(0), 8000)
    length = min(out.shape[-1], wide.shape[-1])
    out, wide = out[..., :length], wide[..., :length]
    gain = sdr(wide, out) - sdr(wide, wide.sum(0).expand_as(wide))
    assert gain.mean() > 3
    assert gain.min() > 0


def test_separate_needs_no_model(tmp_path: Path, clip: Tensor, estimates: Tensor) -> None:
    path = tmp_path / "song.wav"
    soundfile.write(path, clip.sum(0).T.numpy(), RATE, subtype="FLOAT")
    stems = hdemucs.separate(path)
    assert list(stems) == SOURCES
    torch.testing.assert_close(torch.stack(list(stems.values())), estimates)


NEWER = {"sinsy"}  # voices that came after the model was trained


def test_the_model_card_names_every_sound_with_its_licence() -> None:
    _, trained, held_out = re.split("Trained on:|Held out:", CARD.read_text(encoding="utf-8"))
    for sound in SOUNDS:
        assert f"| {sound.name} |" in (held_out if sound.held_out else trained)
        assert sound.licence in (held_out if sound.held_out else trained)
    for name, voices in PROVENANCE.items():
        row = f"| {name} | voices: {voices.speech} | {voices.package} | {voices.licence} |"
        assert (row in (held_out if voices.held_out else trained)) is (name not in NEWER)
