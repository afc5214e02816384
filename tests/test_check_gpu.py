"""`scripts/check_gpu.py` passes on a CPU, and says what is wrong with a device."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "check_gpu.py"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


@pytest.mark.slow
def test_the_cpu_passes(
    script: dict[str, Any], tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.json"
    arguments = ["--devices", "cpu", "--seconds", "1", "--model", str(tiny), "--json", str(report)]
    assert script["main"](arguments) == 0
    assert "| cpu | float32 |" in capsys.readouterr().out
    for result in json.loads(report.read_text())["results"]:
        assert result["fault"] is None
        assert result["speed"] > 0
        assert "segments are now 5 s long" in result["memory"]


def test_a_device_that_does_not_work_is_a_fault(script: dict[str, Any]) -> None:
    from tests.conftest import tiny_network

    result = script["check_or_report"]("cuda:99", "float32", tiny_network(), tiny_network(), 1.0)
    assert "not available" in result.fault
    assert "| cuda:99 | float32 | nan dB |" in script["table"]([result])
