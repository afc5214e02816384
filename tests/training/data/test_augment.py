"""Augmentation: what each part does to every row, what it must leave alone, and how often it happens."""

from typing import Any

import pytest
import torch
from demucs import augment as reference
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hdemucs.training.data.augment import Augment

OFF: dict[str, Any] = {
    "shift": 0,
    "flip_channels": False,
    "flip_sign": False,
    "gain": (1.0, 1.0),
    "remix_group": 0,
}


def only(**parts: Any) -> Augment:
    """With all parts off but these."""
    return Augment(**OFF | parts)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(
    examples: int = 8, rows: int = 5, channels: int = 2, samples: int = 50, seed: int = 1
) -> tuple[Tensor, Tensor]:
    stems = torch.randn(examples, rows, channels, samples, generator=seeded(seed))
    return stems, torch.ones(examples, rows - 1, dtype=torch.bool)


def marked(examples: int, rows: int = 5, channels: int = 2, samples: int = 40) -> Tensor:
    """Every sample is its number, which says where it is from."""
    index = torch.arange(examples * rows * channels * samples, dtype=torch.float64)
    return index.reshape(examples, rows, channels, samples) + 1


def test_muted_rows_are_silent_and_the_others_as_they_were():
    stems, known = batch(examples=400)
    plain, _ = Augment(shift=0)(stems, known, seeded(3))
    muted, still_known = Augment(shift=0, mute=0.25)(stems, known, seeded(3))
    silent = (muted == 0).all(-1).all(-1)
    assert torch.equal(muted, torch.where(silent[..., None, None], 0, plain))
    assert torch.equal(still_known, known)
    # 2,000 rows: four standard deviations.
    assert abs(silent.float().mean() - 0.25) < 0.04


def test_mono_examples_are_the_mean_of_their_channels_and_the_others_as_they_were():
    stems, known = batch(examples=400)
    plain, _ = Augment(shift=0)(stems, known, seeded(3))
    augmented, _ = Augment(shift=0, mono=0.25)(stems, known, seeded(3))
    alike = (augmented[:, :, :1] == augmented).all(-1).all(-1).all(-1)
    mean = plain.mean(2, keepdim=True).expand_as(plain)
    torch.testing.assert_close(augmented, torch.where(alike[:, None, None, None], mean, plain))
    # Four standard deviations.
    assert abs(alike.float().mean() - 0.25) < 0.09


def test_nothing_changes_when_all_is_off():
    stems, known = batch()
    augmented, still_known = only()(stems, known, seeded())
    assert torch.equal(augmented, stems)
    assert torch.equal(still_known, known)


@settings(max_examples=60, deadline=None)
@given(
    examples=st.integers(1, 9),
    rows=st.integers(2, 6),
    channels=st.integers(1, 3),
    samples=st.integers(1, 30),
    shift=st.integers(0, 29),
    group=st.integers(0, 5),
    seed=st.integers(0, 2**31),
)
def test_each_row_is_a_row_of_the_input_moved_swapped_and_scaled(
    examples, rows, channels, samples, shift, group, seed
):
    shift = min(shift, samples - 1)
    stems = marked(examples, rows, channels, samples)
    known = torch.arange(examples * (rows - 1)).reshape(examples, rows - 1) % 2 == 0
    augment = Augment(shift=shift, gain=(0.5, 0.5), remix_group=group)
    augmented, known_now = augment(stems, known, seeded(seed))
    assert augmented.shape == (examples, rows, channels, samples - shift)
    assert known_now.shape == known.shape
    came_from = torch.empty(examples, rows, dtype=torch.long)
    for example in range(examples):
        for row in range(rows):
            got = augmented[example, row] * 2
            got = got * got[0, 0].sign()
            if channels == 2 and got[0, 0] > got[1, 0]:
                got = got.flip(0)
            start = int(got[0, 0]) - 1
            origin, place = divmod(start, rows * channels * samples)
            assert place // (channels * samples) == row
            offset = place % samples
            assert offset <= shift
            assert torch.equal(got, stems[origin, row, :, offset : offset + samples - shift])
            came_from[example, row] = origin
    for row in range(rows):
        assert sorted(came_from[:, row].tolist()) == list(range(examples))
    assert torch.equal(known_now, known[came_from[:, -1]])


@pytest.mark.parametrize(
    ("examples", "group", "sizes"),
    [(8, 4, [4, 4]), (6, 4, [3, 3]), (5, 4, [3, 2]), (1, 4, [1]), (7, 3, [3, 2, 2]), (3, 100, [3])],
)
def test_remix_keeps_to_groups_that_are_as_equal_as_possible(examples, group, sizes):
    stems, known = marked(examples), torch.ones(examples, 4, dtype=torch.bool)
    met: list[set[int]] = [set() for _ in range(examples)]
    generator = seeded()
    for _ in range(200):
        augmented, _ = only(remix_group=group)(stems, known, generator)
        origins = ((augmented[:, :, 0, 0] - 1) // stems[0].numel()).long()
        for example in range(examples):
            met[example] |= set(origins[example].tolist())
    groups = sorted({tuple(sorted(origins)) for origins in met})
    assert sorted((len(group) for group in groups), reverse=True) == sizes
    assert sorted(sum(groups, ())) == list(range(examples))


def test_remix_keeps_the_sum_of_a_group():
    stems, known = batch(examples=8)
    augmented, _ = only(remix_group=4)(stems, known, seeded())
    assert not torch.equal(augmented, stems)
    for half in (slice(4), slice(4, 8)):
        torch.testing.assert_close(augmented[half].sum((0, 1)), stems[half].sum((0, 1)))


def test_what_is_unknown_is_in_the_mixture_through_the_rest_only():
    """The rest of song 0 has its vocals (1) at sample 0; wherever it goes, vocals are unknown."""
    stems = torch.zeros(4, 3, 1, 1)
    stems[1:, 1] = 1
    stems[0, 2] = 1
    known = torch.tensor([[True, False], [True, True], [True, True], [True, True]])
    elsewhere = 0
    for seed in range(20):
        augmented, known_now = only(remix_group=4)(stems, known, seeded(seed))
        mixture = augmented.sum(1)
        assert torch.equal(known_now[:, 0], torch.ones(4, dtype=torch.bool))
        has_rest = augmented[:, 2, 0, 0] == 1
        assert torch.equal(known_now[:, 1], ~has_rest)
        assert torch.equal(augmented[~has_rest, 1], mixture[~has_rest])
        elsewhere += int(not has_rest[0])
    assert elsewhere > 5


def test_a_seed_repeats_and_another_does_not():
    stems, known = batch()
    augment = Augment(shift=10)
    first, _ = augment(stems, known, seeded(3))
    again, _ = augment(stems, known, seeded(3))
    other, _ = augment(stems, known, seeded(4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_switching_one_part_off_leaves_the_draws_of_the_others():
    stems, known = batch()
    with_sign, _ = Augment(shift=10)(stems, known, seeded())
    without, _ = Augment(shift=10, flip_sign=False)(stems, known, seeded())
    assert not torch.equal(with_sign, without)
    assert torch.equal(with_sign.abs(), without.abs())


def test_the_input_is_left_alone():
    stems, known = batch()
    before = stems.clone()
    Augment(shift=10)(stems, known, seeded())
    assert torch.equal(stems, before)


def statistics(augmented: Tensor, samples: int) -> dict[str, Tensor]:
    """Per row of an augmented `marked` batch: factor, swapped or not, offset, moved or not."""
    examples, rows = augmented.shape[:2]
    # Neighbouring samples differ by the factor, whatever else happened.
    factor = augmented[..., 0, 1] - augmented[..., 0, 0]
    left, right = ((augmented[..., channel, 0] / factor).round().long() - 1 for channel in (0, 1))
    return {
        "factor": factor,
        "swapped": (left > right).float(),
        "offset": torch.minimum(left, right) % samples,
        "kept": (left // (rows * 2 * samples) == torch.arange(examples)[:, None]).float(),
    }


def part_of_demucs(kind: Any, *args: int, **kwargs: int) -> Any:
    return kind(*args, **kwargs).train()


def test_statistics_are_those_of_demucs():
    stems = marked(64, samples=9)
    known = torch.ones(64, 4, dtype=torch.bool)
    torch.manual_seed(0)
    parts = [
        part_of_demucs(reference.Shift, 4),
        part_of_demucs(reference.FlipChannels),
        part_of_demucs(reference.FlipSign),
        part_of_demucs(reference.Scale),
        part_of_demucs(reference.Remix, group_size=4),
    ]
    generator = seeded()
    results: dict[str, list[dict[str, Tensor]]] = {"ours": [], "theirs": []}
    for _ in range(30):
        # demucs never reaches its largest shift.
        ours, _ = Augment(shift=3)(stems[..., :-1], known, generator)
        results["ours"].append(statistics(ours, 9))
        changed = stems
        for part in parts:
            changed = part(changed)
        results["theirs"].append(statistics(changed, 9))

    def values(who: str, name: str) -> Tensor:
        return torch.cat([statistic[name].flatten() for statistic in results[who]])

    # 9600 rows: four standard deviations of a share of a half are 0.02.
    for who in results:
        factor = values(who, "factor")
        assert factor.abs().min() >= 0.25 - 1e-9
        assert factor.abs().max() <= 1.25 + 1e-9
        assert factor.abs().mean() == pytest.approx(0.75, abs=4 * 0.289 / 98)
        assert factor.abs().std() == pytest.approx(1 / 12**0.5, abs=0.01)
        assert (factor < 0).float().mean() == pytest.approx(0.5, abs=0.02)
        assert values(who, "swapped").mean() == pytest.approx(0.5, abs=0.02)
        assert values(who, "kept").mean() == pytest.approx(0.25, abs=0.02)
        assert torch.bincount(values(who, "offset")) / 9600 == pytest.approx([0.25] * 4, abs=0.02)


def test_rows_are_changed_independently():
    stems = marked(64, samples=9)
    augmented, _ = Augment(shift=3, remix_group=0)(stems, torch.ones(64, 4, dtype=torch.bool), seeded())
    found = statistics(augmented, 9)
    for name in ("factor", "swapped", "offset"):
        drawn = found[name].float()
        correlation = torch.corrcoef(drawn.T) - torch.eye(5)
        # Five standard deviations of the correlation of 64 independent pairs.
        assert correlation.abs().max() < 5 / 8, name
    assert (found["factor"] != found["factor"][:, :1]).any(1).all()


def test_mono_and_surround_keep_their_channels():
    for channels in (1, 3):
        stems, known = batch(channels=channels)
        augmented, _ = only(flip_channels=True)(stems, known, seeded())
        assert torch.equal(augmented, stems)


def test_too_short_for_the_shift():
    stems, known = batch(samples=10)
    with pytest.raises(ValueError, match="10 samples cannot be shifted by up to 10"):
        Augment(shift=10)(stems, known, seeded())
