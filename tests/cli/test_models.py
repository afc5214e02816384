"""`hdemucs models`."""

import re

import pytest

from hdemucs.pretrained import DEFAULT_MODEL, cards
from tests.cli.command import Run, assert_fails


def test_all_models_are_listed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [card.name for card in cards()]
    assert len(names) >= 9
    table = run("models")
    assert table.status == 0
    assert [row.split()[0] for row in table.out.splitlines()[1:]] == names
    listed = run("models", "--json")
    assert [row["name"] for row in listed.json] == names
    assert all(set(row) >= {"sources", "sample_rate", "licence", "downloaded"} for row in listed.json)
    assert names[0] == DEFAULT_MODEL
    assert "ships" in table.out.splitlines()[1].split()
    assert " 19 MB " in table.out.splitlines()[1]
    assert "ships" not in table.out.splitlines()[2].split()
    assert listed.err == ""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    narrow = re.sub(r"\x1b\[[0-9;]*m", "", run("models").out)
    assert all(name in narrow for name in names)
    assert max(map(len, narrow.splitlines())) <= 80


def test_downloading_an_unknown_model(run: Run) -> None:
    assert_fails(run("models", "download", "hdemucs_mni"), 1, "hdemucs_mmi")
