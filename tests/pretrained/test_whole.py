"""Everything real, from a name to a network: the server, the cache, the reader and the bag."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hdemucs.checkpoint import save
from hdemucs.model import Bag, HDemucs
from hdemucs.pretrained import Card, ModelFile, load_model
from hdemucs.separator import Separator

from .conftest import MakeCard
from .server import FileServer

WEIGHTS = ((1.0, 0.0), (1.0, 2.0))
MIX = torch.randn(2, 5000, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def card(
    server: FileServer, make_card: MakeCard, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> Card:
    """A registered bag of two tiny networks, published on the server."""
    files = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        path = tmp_path / f"{seed}.safetensors"
        save(HDemucs(sources=["drums", "vocals"], channels=4), path)
        body = path.read_bytes()
        files.append(ModelFile(server.add(f"/{path.name}", body), hashlib.sha256(body).hexdigest()))
    card = replace(make_card(), files=tuple(files), weights=WEIGHTS, segment=5.0)
    monkeypatch.setattr("hdemucs.pretrained.registry.registry", lambda: {card.name: card})
    return card


def test_name_becomes_a_bag(card: Card, cache: Path):
    bag = load_model(card.name)
    assert isinstance(bag, Bag)
    assert bag.name == "tiny"
    assert not bag.training
    assert (bag.segment, bag.sample_rate, bag.sources) == (5.0, 44100, ["drums", "vocals"])
    assert bag.weights == [list(row) for row in WEIGHTS]

    mix = torch.randn(1, 2, 44100)
    with torch.inference_mode():
        first, second = (load_model(cache / file.name)(mix) for file in card.files)
        drums, vocals = bag(mix).unbind(1)
    torch.testing.assert_close(drums, (first[:, 0] + second[:, 0]) / 2)
    torch.testing.assert_close(vocals, second[:, 1])


def test_single_member_is_not_a_bag(card: Card, monkeypatch: pytest.MonkeyPatch):
    single = replace(card, files=card.files[:1], weights=None)
    monkeypatch.setattr("hdemucs.pretrained.registry.registry", lambda: {single.name: single})
    model = load_model("tiny")
    assert isinstance(model, HDemucs)
    assert model.name == "tiny"
    assert (model.segment, model.training) == (5.0, False)


def test_a_stem_downloads_only_the_members_that_it_needs(card: Card, server: FileServer):
    separator = Separator("tiny", stems="vocals")
    assert [request.path for request in server.gets()] == ["/1.safetensors"]
    assert (separator.stems, separator.model.sources) == (["vocals"], ["vocals"])
    alone = separator.separate(MIX, 44100)

    both = Separator("tiny", two_stems="vocals").separate(MIX, 44100)
    assert [request.path for request in server.gets()] == ["/1.safetensors", "/0.safetensors"]
    torch.testing.assert_close(alone["vocals"], both["vocals"])
    assert list(alone) == ["vocals"]
