"""Stems that another model separates further, in the stream of the first."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import hdemucs
from hdemucs import audio
from hdemucs.apply import Options, Progress, apply_model
from hdemucs.cli.demo import CLIPS
from hdemucs.datasets.songs import songs_in
from hdemucs.errors import Cancelled, OptionError, UnknownModelError
from hdemucs.level import Level
from hdemucs.model import Bag, HDemucs, Network
from hdemucs.pretrained import DEFAULT_MODEL, load_model
from hdemucs.separator import Separator
from tests.audio.signals import gather
from tests.conftest import TINY_RATE, tiny_network
from tests.reference import randomise

PARTS = ["kick", "snare"]
ALL = [*PARTS, "bass", "other", "vocals"]


def parts_network(sources: list[str] = PARTS, rate: int = TINY_RATE, channels: int = 2) -> Network:
    """A network that takes a stem apart."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = HDemucs(
            sources,
            audio_channels=channels,
            channels=4,
            depth=4,
            n_fft=1024,
            lstm_starts=99,
            attention_starts=99,
            sample_rate=rate,
            segment=0.7,
        )
    randomise(model, 7)
    model.name = "parts"
    return model.eval()


@pytest.fixture(scope="module")
def separator() -> Separator:
    return Separator(tiny_network(), then={"drums": parts_network()})


def stack(stems: hdemucs.Stems) -> Tensor:
    return torch.stack(list(stems.values()))


def refused(then: object, stems: object = None, two_stems: str | None = None) -> str:
    with pytest.raises(OptionError) as caught:
        Separator(tiny_network(), then=then, stems=stems, two_stems=two_stems)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def by_hand(song: Path, *models: Network, **options: Any) -> Tensor:
    """Sources of the last model, `[S, C, L]`; each one before separates the first source for the next."""
    samples = gather(audio.open(song))
    level = Level.of(iter([samples]))
    stem, rate = (samples - level.mean) / level.scale, TINY_RATE
    for model in models:
        source = audio.from_samples(stem, rate)
        rate = model.sample_rate
        stem = gather(audio.convert(source, rate, model.audio_channels))
        sources = apply_model(model, stem, Options(**options))
        stem = sources[0]
    return sources * level.scale + level.mean


@pytest.mark.parametrize(
    "options", [{}, {"jobs": 3}, {"shifts": 2}, {"segment": 0.4, "batch_size": 2}], ids=str
)
def test_parts_replace_their_stem(song: Path, options: dict[str, Any]) -> None:
    separator = Separator(tiny_network(), then={"drums": parts_network()}, **options)
    stems = separator.separate(song)
    assert (list(stems), separator.stems) == (ALL, ALL)
    assert separator.name == "model+parts"
    alone = hdemucs.separate(song, model=tiny_network(), **options)
    for name in ALL[2:]:
        torch.testing.assert_close(stems[name], alone[name], rtol=0, atol=1e-7)
    parts = by_hand(song, tiny_network(), parts_network(), **options)
    torch.testing.assert_close(torch.stack([stems["kick"], stems["snare"]]), parts, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("rate", "channels"), [(11025, 2), (5512, 1)])
def test_parts_have_the_rate_and_channels_and_length_of_the_first_model(
    song: Path, rate: int, channels: int
) -> None:
    other = parts_network(PARTS, rate, channels)
    stems = hdemucs.separate(song, model=tiny_network(), then={"drums": other})
    parts = by_hand(song, tiny_network(), other)
    for name, part in zip(PARTS, parts, strict=True):
        back = gather(audio.convert(audio.from_samples(part, rate), TINY_RATE, 2))
        assert stems[name].shape == stems["vocals"].shape
        assert 0 <= stems[name].shape[-1] - back.shape[-1] <= 2
        torch.testing.assert_close(stems[name][:, : back.shape[-1]], back, rtol=0, atol=1e-5)


def test_the_level_of_the_stem_matters_little_and_parts_add_up_as_well() -> None:
    """A chain agrees with the separation of a stem that was saved, by a trained model, on music."""
    (song,) = songs_in(CLIPS)
    mixture = song.references(song.sources, 44100, 2).sum(0)[:, : 3 * 44100]
    first, second = load_model(DEFAULT_MODEL), load_model(DEFAULT_MODEL)
    assert isinstance(second, Network)
    second.config = replace(second.config, sources=("a", "b", "c", "d"))
    stems = hdemucs.separate(mixture, 44100, model=first, stems=["a", "b", "c", "d"], then={"drums": second})
    drums = hdemucs.separate(mixture, 44100, model=first)["drums"]
    parts = hdemucs.separate(drums, 44100, model=second)

    def decibels(difference: Tensor) -> float:
        return float(10 * torch.log10(drums.square().mean() / difference.square().mean()))

    assert min(decibels(stems[name] - parts[name]) for name in parts) > 65
    residual = decibels(drums - stack(parts).sum(0))
    assert decibels(drums - stack(stems).sum(0)) == pytest.approx(residual, abs=0.1)


def test_stems_are_chosen_from_the_results(song: Path, separator: Separator) -> None:
    every = separator.separate(song)

    def choose(**choice: object) -> Separator:
        return Separator(tiny_network(), then={"drums": parts_network()}, **choice)  # type: ignore[arg-type]

    chosen = choose(stems=["vocals", "snare"])
    assert chosen.stems == ["snare", "vocals"]
    for name, stem in chosen.separate(song).items():
        torch.testing.assert_close(stem, every[name], rtol=0, atol=1e-6)
    two = choose(two_stems="kick").separate(song)
    assert list(two) == ["kick", "no_kick"]
    rest = sum(every[name] for name in ALL if name != "kick")
    torch.testing.assert_close(two["no_kick"], rest, rtol=0, atol=1e-5)


def test_only_the_models_that_the_stems_need_run(song: Path) -> None:
    members, parts = [tiny_network(1), tiny_network(2)], parts_network()

    def fail(mix: Tensor) -> Tensor:
        raise AssertionError("this model is not needed")

    members[1].forward = fail  # type: ignore[method-assign]
    bag = Bag(members, [[1, 0, 1, 1], [0, 1, 0, 0]])
    assert list(Separator(bag, stems=["kick"], then={"drums": parts}).separate(song)) == ["kick"]
    parts.forward = fail  # type: ignore[method-assign]
    assert list(Separator(bag, stems=["vocals"], then={"drums": parts}).separate(song)) == ["vocals"]


def test_a_part_is_separated_further_in_turn(song: Path) -> None:
    last = parts_network(["beater", "shell"])
    chain = Separator(tiny_network(), then={"drums": parts_network(), "kick": last, "vocals": tiny_lead()})
    assert chain.stems == ["beater", "shell", "snare", "bass", "other", "lead", "vocals"]
    stems = chain.separate(song)
    expected = by_hand(song, tiny_network(), parts_network(), last)
    torch.testing.assert_close(torch.stack([stems["beater"], stems["shell"]]), expected, rtol=0, atol=1e-6)


def tiny_lead() -> Network:
    """A network one of whose parts has the name of the stem that it separates."""
    return parts_network(["lead", "vocals"])


def test_a_stream_gives_the_same_stems(separator: Separator, song: Path) -> None:
    samples = gather(audio.open(song))
    live = list(separator.stream(iter(samples.split(700, -1)), TINY_RATE))
    assert list(live[0]) == ALL
    whole = separator.separate(song)
    for name in ALL:
        stem = torch.cat([block[name] for block in live], -1)
        torch.testing.assert_close(stem, whole[name], rtol=0, atol=1e-3)


def test_memory_does_not_grow_with_the_track(separator: Separator) -> None:
    """Stems come out of a stream that never ends, never far behind."""
    taken = 0

    def endless() -> Iterator[Tensor]:
        nonlocal taken
        while True:
            taken += 800
            yield torch.zeros(2, 800)

    given = 0
    for block in separator.stream(endless(), TINY_RATE):
        given += block["kick"].shape[-1]
        assert taken - given < 3 * TINY_RATE
        if given > 10 * TINY_RATE:
            break


def test_progress_covers_all_models(separator: Separator, song: Path) -> None:
    told: list[Progress] = []
    separator.separate(song, progress=told.append)
    assert [event.done for event in told] == sorted(event.done for event in told)
    assert told[-1].done == pytest.approx(2.6)
    assert {event.total for event in told} == {2.6}
    assert max(event.done for event in told[: len(told) // 3]) < 1.5
    with pytest.raises(Cancelled):
        separator.separate(song, progress=lambda event: event.cancel())


def test_what_cannot_be_a_chain_is_refused_in_one_line() -> None:
    parts = parts_network()
    assert "choose from drums, bass, other, vocals" in refused({"gong": parts})
    assert "choose from kick, snare, bass, other" in refused({"drums": parts}, two_stems="drums")
    assert "choose from kick, snare" in refused({"drums": parts}, stems=["drums", "bass"])
    assert "choose from kick, snare, bass, other, vocals" in refused({"drums": parts}, stems=["gong"])
    assert "bass would be there twice" in refused({"drums": parts_network(["kick", "bass"])})
    assert "kick, snare would be there twice" in refused({"drums": parts, "other": parts})
    for wrong in ("drumsep:drums", ["drumsep"], {1: parts}):
        assert "then must map names of stems" in refused(wrong)
    assert "parts cannot separate drums: 2 channels cannot be turned into 5" in refused(
        {"drums": parts_network(PARTS, channels=5)}
    )
    with pytest.raises(UnknownModelError):
        Separator(tiny_network(), then={"drums": "drumsepp"})
