"""The speed table of the readme is that of a report of the benchmark, with the commit that it was made on."""

import importlib.util
import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_readme_shows_the_committed_report() -> None:
    spec = importlib.util.spec_from_file_location("benchmark", ROOT / "scripts" / "benchmark.py")
    assert spec is not None
    assert spec.loader is not None
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    report = json.loads((ROOT / "docs" / "benchmarks" / "cpu.json").read_text())
    assert benchmark.table(report) in (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.fullmatch("[0-9a-f]{10}", report["commit"]), "measured with changes that are in no commit"
