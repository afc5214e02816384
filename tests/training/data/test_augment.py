"""Augmentation: what each change does to a row, what it leaves alone, and how often it happens."""

from typing import Any

import pytest
import torch
from demucs import augment as demucs_augment
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hdemucs.training.data.augment import Augment

reference: Any = demucs_augment  # which has no type hints

OFF: dict[str, Any] = {
    "shift": 0,
    "flip_channels": False,
    "flip_sign": False,
    "gain": (1.0, 1.0),
    "remix_group": 0,
}


def only(**changes: Any) -> Augment:
    """Augmentation with these changes alone."""
    return Augment(**OFF | changes)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(
    examples: int = 8, rows: int = 5, channels: int = 2, length: int = 50, seed: int = 1
) -> tuple[Tensor, Tensor]:
    stems = torch.randn(examples, rows, channels, length, generator=seeded(seed))
    return stems, torch.ones(examples, rows - 1, dtype=torch.bool)


def marked(examples: int, rows: int = 5, channels: int = 2, length: int = 40) -> Tensor:
    """Stems whose samples count up from 1, so that each tells where it comes from."""
    index = torch.arange(examples * rows * channels * length, dtype=torch.float64)
    return index.reshape(examples, rows, channels, length) + 1


def test_mute_silences_rows_and_leaves_the_others():
    stems, known = batch(examples=400)
    plain, _ = Augment(shift=0)(stems, known, seeded(3))
    muted, still_known = Augment(shift=0, mute=0.25)(stems, known, seeded(3))
    silent = (muted == 0).all(-1).all(-1)
    assert torch.equal(muted, torch.where(silent[..., None, None], 0, plain))
    assert torch.equal(still_known, known)
    # 2,000 rows: four standard deviations.
    assert abs(silent.float().mean() - 0.25) < 0.04


def test_mono_averages_channels_and_leaves_the_other_examples():
    stems, known = batch(examples=400)
    plain, _ = Augment(shift=0)(stems, known, seeded(3))
    augmented, _ = Augment(shift=0, mono=0.25)(stems, known, seeded(3))
    alike = (augmented[:, :, :1] == augmented).all(-1).all(-1).all(-1)
    mean = plain.mean(2, keepdim=True).expand_as(plain)
    torch.testing.assert_close(augmented, torch.where(alike[:, None, None, None], mean, plain))
    # Four standard deviations.
    assert abs(alike.float().mean() - 0.25) < 0.09


def test_nothing_changes_with_everything_off():
    stems, known = batch()
    augmented, still_known = only()(stems, known, seeded())
    assert torch.equal(augmented, stems)
    assert torch.equal(still_known, known)


@settings(max_examples=60, deadline=None)
@given(
    examples=st.integers(1, 9),
    rows=st.integers(2, 6),
    channels=st.integers(1, 3),
    length=st.integers(1, 30),
    shift=st.integers(0, 29),
    group=st.integers(0, 5),
    seed=st.integers(0, 2**31),
)
def test_each_row_is_a_row_of_the_input_moved_swapped_and_scaled(
    examples, rows, channels, length, shift, group, seed
):
    shift = min(shift, length - 1)
    stems = marked(examples, rows, channels, length)
    known = torch.arange(examples * (rows - 1)).reshape(examples, rows - 1) % 2 == 0
    augment = Augment(shift=shift, gain=(0.5, 0.5), remix_group=group)
    augmented, known_now = augment(stems, known, seeded(seed))
    assert augmented.shape == (examples, rows, channels, length - shift)
    assert known_now.shape == known.shape
    came_from = torch.empty(examples, rows, dtype=torch.long)
    for example in range(examples):
        for row in range(rows):
            got = augmented[example, row] * 2
            got = got * got[0, 0].sign()
            if channels == 2 and got[0, 0] > got[1, 0]:
                got = got.flip(0)
            start = int(got[0, 0]) - 1
            origin, place = divmod(start, rows * channels * length)
            assert place // (channels * length) == row
            offset = place % length
            assert offset <= shift
            assert torch.equal(got, stems[origin, row, :, offset : offset + length - shift])
            came_from[example, row] = origin
    for row in range(rows):
        assert sorted(came_from[:, row].tolist()) == list(range(examples))
    assert torch.equal(known_now, known[came_from[:, -1]])


@pytest.mark.parametrize(
    ("examples", "group", "sizes"),
    [(8, 4, [4, 4]), (6, 4, [3, 3]), (5, 4, [3, 2]), (1, 4, [1]), (7, 3, [3, 2, 2]), (3, 100, [3])],
)
def test_remix_groups_are_as_equal_as_possible(examples, group, sizes):
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


def test_unknown_sources_move_with_the_rest():
    """Source 1 of example 0 is unknown, so it is in the rest; wherever that goes, source 1 is unknown."""
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


def test_the_same_seed_gives_the_same_changes():
    stems, known = batch()
    augment = Augment(shift=10)
    first, _ = augment(stems, known, seeded(3))
    again, _ = augment(stems, known, seeded(3))
    other, _ = augment(stems, known, seeded(4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_switching_one_change_off_does_not_alter_the_others():
    stems, known = batch()
    with_sign, _ = Augment(shift=10)(stems, known, seeded())
    without, _ = Augment(shift=10, flip_sign=False)(stems, known, seeded())
    assert not torch.equal(with_sign, without)
    assert torch.equal(with_sign.abs(), without.abs())


def test_the_input_is_not_modified():
    stems, known = batch()
    before = stems.clone()
    Augment(shift=10)(stems, known, seeded())
    assert torch.equal(stems, before)


def statistics(augmented: Tensor, length: int) -> dict[str, Tensor]:
    """Factor, swap, offset and origin of each row of an augmented `marked` batch."""
    examples, rows = augmented.shape[:2]
    # Neighbouring samples differ by the factor, whatever else has changed.
    factor = augmented[..., 0, 1] - augmented[..., 0, 0]
    left, right = ((augmented[..., channel, 0] / factor).round().long() - 1 for channel in (0, 1))
    return {
        "factor": factor,
        "swapped": (left > right).float(),
        "offset": torch.minimum(left, right) % length,
        "kept": (left // (rows * 2 * length) == torch.arange(examples)[:, None]).float(),
    }


def test_statistics_are_those_of_demucs():
    stems = marked(64, length=9)
    known = torch.ones(64, 4, dtype=torch.bool)
    torch.manual_seed(0)
    changes = [
        reference.Shift(4),
        reference.FlipChannels(),
        reference.FlipSign(),
        reference.Scale(),
        reference.Remix(group_size=4),
    ]
    generator = seeded()
    results: dict[str, list[dict[str, Tensor]]] = {"ours": [], "theirs": []}
    for _ in range(30):
        # demucs never reaches its largest shift.
        ours, _ = Augment(shift=3)(stems[..., :-1], known, generator)
        results["ours"].append(statistics(ours, 9))
        changed = stems
        for change in changes:
            changed = change.train()(changed)
        results["theirs"].append(statistics(changed, 9))

    def values(who: str, name: str) -> Tensor:
        return torch.cat([statistic[name].flatten() for statistic in results[who]])

    # 9600 rows: 0.02 is four standard deviations of a share of one half.
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
    stems = marked(64, length=9)
    augmented, _ = Augment(shift=3, remix_group=0)(stems, torch.ones(64, 4, dtype=torch.bool), seeded())
    found = statistics(augmented, 9)
    for name in ("factor", "swapped", "offset"):
        drawn = found[name].float()
        correlation = torch.corrcoef(drawn.T) - torch.eye(5)
        # Five standard deviations of the correlation of 64 independent pairs.
        assert correlation.abs().max() < 5 / 8, name
    assert (found["factor"] != found["factor"][:, :1]).any(1).all()


def test_channels_are_flipped_in_stereo_only():
    for channels in (1, 3):
        stems, known = batch(channels=channels)
        augmented, _ = only(flip_channels=True)(stems, known, seeded())
        assert torch.equal(augmented, stems)


def test_stems_shorter_than_the_shift_are_rejected():
    stems, known = batch(length=10)
    with pytest.raises(ValueError, match="stems of 10 samples cannot be shifted by up to 10"):
        Augment(shift=10)(stems, known, seeded())
