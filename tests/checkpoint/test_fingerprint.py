"""Fingerprints: equal for equal weights and settings, whatever the file, and for nothing else."""

from pathlib import Path

import torch

from hdemucs.checkpoint import fingerprint, load, save
from hdemucs.model import Bag
from tests.conftest import tiny_network


def test_the_file_and_the_segment_do_not_count(tmp_path: Path) -> None:
    model = tiny_network()
    save(model, tmp_path / "other.safetensors", provenance={"from": "elsewhere"})
    loaded = load(tmp_path / "other.safetensors")
    loaded.segment = 0.5
    assert fingerprint(loaded) == fingerprint(model)


def test_one_weight_counts() -> None:
    model, other = tiny_network(), tiny_network()
    with torch.no_grad():
        next(other.parameters()).view(-1)[0] += 1e-6
    assert fingerprint(model) != fingerprint(other)


def test_a_bag_has_its_members_and_weights() -> None:
    one, two = tiny_network(0), tiny_network(1)
    half = [[1.0] * 4, [1.0] * 4]
    bags = [Bag([one, two], half), Bag([two, one], half), Bag([one, two], [[1.0] * 4, [0.5] * 4])]
    assert len({fingerprint(bag) for bag in [*bags, Bag([one])]} | {fingerprint(one)}) == 5
    assert fingerprint(Bag([tiny_network(0), tiny_network(1)], half)) == fingerprint(bags[0])
