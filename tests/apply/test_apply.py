"""Applying models: equal to `demucs`, consistent with themselves, exact for a model returning its input."""

import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest
import torch
from demucs.apply import BagOfModels
from demucs.apply import apply_model as apply_reference
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from hdemucs.apply import Options, Progress, apply, apply_model
from hdemucs.apply.chunks import cut, overlap_add
from hdemucs.errors import Cancelled, OptionError
from hdemucs.model import Bag, Network
from tests.reference import TRANSFORMER, reference_pair

RATE = 44100
TOLERANCE = 1e-5


class Identity(nn.Module):
    """Two sources, both equal to the mixture; needs more input than its segment, as Demucs does."""

    sources = ("one", "two")
    sample_rate = 100
    audio_channels = 2
    segment = 1.0
    longest_segment = None

    def __init__(self, context: int = 0) -> None:
        super().__init__()
        self.context = context
        self.weight = nn.Parameter(torch.ones(()))
        self.batches: list[tuple[int, ...]] = []
        self.lock = threading.Lock()

    def valid_length(self, length: int) -> int:
        return length + self.context

    def forward(self, mix: Tensor) -> Tensor:
        with self.lock:
            self.batches.append(tuple(mix.shape))
        return self.weight * torch.stack([mix, mix], 1)


@settings(deadline=None, max_examples=150)
@given(
    length=st.integers(1, 1000),
    block=st.integers(1, 400),
    overlap=st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 0.9]),
    segment=st.sampled_from([0.01, 0.5, 1.0, 3.3]),
    batch_size=st.integers(1, 4),
    shifts=st.integers(0, 3),
    context=st.integers(0, 30),
)
def test_identity_returns_the_mixture(
    length: int, block: int, overlap: float, segment: float, batch_size: int, shifts: int, context: int
) -> None:
    mix = torch.randn(2, length)
    options = Options(segment=segment, overlap=overlap, batch_size=batch_size, shifts=shifts)
    blocks = list(apply(Identity(context), mix.split(block, -1), options))  # type: ignore[arg-type]
    out = torch.cat(blocks, -1)
    assert out.shape == (2, 2, length)
    assert torch.allclose(out, mix.expand(2, -1, -1), atol=1e-6)


@pytest.mark.parametrize("jobs", [2, 3])
def test_jobs_change_nothing(jobs: int) -> None:
    mix = torch.randn(2, 1234)
    model = Identity(7)
    alone = apply_model(model, mix, Options())  # type: ignore[arg-type]
    threads = torch.get_num_threads()
    parallel = apply_model(model, mix, Options(jobs=jobs))  # type: ignore[arg-type]
    assert torch.equal(alone, parallel)
    assert torch.get_num_threads() == threads


def test_chunks_are_padded_with_the_track_itself_and_zeros_beyond_it() -> None:
    mix = torch.arange(1.0, 8.0).view(1, -1)
    chunks = [chunk.padded.flatten().tolist() for chunk in cut([mix], 3, 2, lambda length: length + 3)]
    assert chunks == [
        [0, 1, 2, 3, 4, 5],
        [2, 3, 4, 5, 6, 7],
        [4, 5, 6, 7, 0, 0],
        [6, 7, 0, 0],
    ]


def test_overlap_add_is_a_linear_transition() -> None:
    ones, zeros = torch.ones(8), torch.zeros(8)
    out = torch.cat(list(overlap_add([ones, zeros], 8, 6)))
    assert out.tolist() == pytest.approx([1, 1, 1, 1, 1, 1, 2 / 3, 1 / 3, 0, 0, 0, 0, 0, 0])


def test_batches_hold_several_segments() -> None:
    model = Identity()
    apply_model(model, torch.randn(2, 450), Options(batch_size=3, overlap=0))  # type: ignore[arg-type]
    assert model.batches == [(3, 2, 100), (1, 2, 100), (1, 2, 50)]


def test_memory_does_not_grow_with_the_track() -> None:
    """Reading is never more than a few segments ahead of writing."""
    read = written = furthest = 0

    def source() -> Iterator[Tensor]:
        nonlocal read
        for _ in range(3000):
            read += 10
            yield torch.zeros(2, 10)

    bag = Bag([Identity(), Identity(9)], [[1, 1], [1, 0]])  # type: ignore[list-item]
    for block in apply(bag, source(), Options(shifts=2, batch_size=2)):
        written += block.shape[-1]
        furthest = max(furthest, read - written)
    assert written == read == 30_000
    assert furthest < 5 * 100 + 2 * 50


LENGTHS = [1000, RATE, RATE + 1, 3 * RATE + 1234]


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("architecture", ["HDemucs", "Demucs"])
def test_equals_demucs(architecture: str, length: int) -> None:
    reference, ours = reference_pair(architecture, channels=4, dconv_attn=6)
    mix = torch.randn(2, length)
    for overlap in (0.25, 0.6):
        expected = apply_reference(cast(Any, reference), mix[None], shifts=0, segment=1.0, overlap=overlap)[0]
        actual = apply_model(ours, mix, Options(segment=1.0, overlap=overlap, precision="float32"))
        assert (actual - expected).abs().max() < TOLERANCE * expected.abs().max()


@pytest.mark.parametrize("length", LENGTHS)
def test_a_transformer_is_applied_as_by_demucs(length: int) -> None:
    """Last chunks, and tracks shorter than the segment, are padded to it on both sides."""
    settings = {**TRANSFORMER, "channels": 8, "depth": 3, "nfft": 1024, "segment": 0.5}
    reference, ours = reference_pair("HTDemucs", **settings)
    mix = torch.randn(2, length)
    for overlap in (0.25, 0.6):
        expected = apply_reference(cast(Any, reference), mix[None], shifts=0, overlap=overlap)[0]
        actual = apply_model(ours, mix, Options(overlap=overlap, precision="float32"))
        assert (actual - expected).abs().max() < TOLERANCE * expected.abs().max()


def test_a_segment_beyond_that_of_the_training_is_refused() -> None:
    _, ours = reference_pair("HTDemucs", channels=16, segment=0.5, **TRANSFORMER)
    mix = torch.randn(2, 30_000)
    for model in (ours, Bag([ours])):
        with pytest.raises(OptionError, match=r"segment must be at most 0\.5 s for this model, .* 0\.6 s"):
            apply_model(model, mix, Options(segment=0.6))
    assert apply_model(ours, mix, Options(segment=0.2)).shape == (4, 2, 30_000)


@pytest.mark.parametrize("length", LENGTHS)
def test_a_bag_with_weights_for_each_source_equals_demucs(length: int) -> None:
    """Members of different architecture and segment, as in the bag `mdx`."""
    pairs = [
        reference_pair("Demucs", channels=4, dconv_attn=6, segment=1.0),
        reference_pair("HDemucs", channels=4, dconv_attn=6, segment=0.7),
    ]
    weights = [[1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 2.0, 1.0]]
    mix = torch.randn(2, length)
    expected = apply_reference(
        BagOfModels(cast(Any, [one for one, _ in pairs]), weights), mix[None], shifts=0
    )[0]
    actual = apply_model(Bag([one for _, one in pairs], weights), mix)
    assert (actual - expected).abs().max() < TOLERANCE * expected.abs().max()


def small_network() -> Network:
    return reference_pair("HDemucs", channels=4, dconv_attn=6)[1]


def test_shifts_repeat_and_average() -> None:
    model = small_network()
    mix = torch.randn(2, RATE)
    options = Options(segment=1.0, shifts=3)
    first = apply_model(model, mix, options)
    assert torch.equal(first, apply_model(model, mix, options))
    by_hand = torch.stack(
        [
            apply_model(model, nn.functional.pad(mix, (lead, 0)), Options(segment=1.0))[..., lead:]
            for lead in (0, RATE // 6, RATE // 3)
        ]
    ).mean(0)
    assert torch.allclose(first, by_hand, atol=1e-5 * float(first.abs().max()))


def test_only_models_of_the_chosen_sources_are_run() -> None:
    first, second = Identity(), Identity()
    bag = Bag([first, second], [[1, 0], [0, 1]])  # type: ignore[list-item]
    out = apply_model(bag, torch.randn(2, 50), sources=["two"])
    assert out.shape == (1, 2, 50)
    assert (len(first.batches), len(second.batches)) == (0, 1)
    with pytest.raises(OptionError, match="no source three; choose from one, two"):
        apply_model(bag, torch.randn(2, 50), sources=["three"])


def test_progress_ends_at_the_total() -> None:
    events: list[Progress] = []
    options = Options(shifts=2, progress=events.append)
    apply_model(Identity(), torch.randn(2, 777), options)  # type: ignore[arg-type]
    done = [event.done for event in events]
    assert done == sorted(done)
    assert done[-1] == pytest.approx(7.77)
    assert {event.total for event in events} == {7.77}


def test_callback_cancels() -> None:
    model = Identity()

    def stop(event: Progress) -> None:
        if event.done > 2:
            event.cancel()

    with pytest.raises(Cancelled, match="cancelled after 2"):
        apply_model(model, torch.randn(2, 9999), Options(progress=stop, jobs=2))  # type: ignore[arg-type]
    assert len(model.batches) < 10


def test_an_empty_stream_stays_empty() -> None:
    assert list(apply(Identity(), [])) == []  # type: ignore[arg-type]


def test_training_mode_is_restored() -> None:
    model = small_network().train()
    apply_model(model, torch.randn(2, 1000))
    assert model.training


@pytest.mark.parametrize(
    "wrong",
    [
        {"segment": 0},
        {"segment": float("nan")},
        {"overlap": 1},
        {"overlap": -0.1},
        {"shifts": -1},
        {"shifts": 10**9},
        {"batch_size": 0},
        {"jobs": -1},
    ],
)
def test_options_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(OptionError, match=next(iter(wrong))):
        Options(**wrong)  # type: ignore[arg-type]
