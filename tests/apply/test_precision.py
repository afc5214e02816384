"""The precision to compute in: what `auto` stands for, and how far the stems may be from those in float32."""

import pytest
import torch

import hdemucs
from hdemucs.apply import Options
from hdemucs.errors import OptionError
from hdemucs.pretrained import load_model
from tests.conftest import tiny_network

CPU = torch.device("cpu")


@pytest.mark.parametrize(("native", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_is_what_the_processor_has_instructions_for(
    native: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hdemucs.apply.precision.cpu_has_bfloat16", lambda: native)
    assert Options().inner_dtype(CPU) == dtype
    assert Options(precision="float32").inner_dtype(CPU) == torch.float32


def test_float16_is_not_for_the_cpu() -> None:
    with pytest.raises(OptionError, match="bfloat16 or float32"):
        hdemucs.Separator(tiny_network(), device="cpu", precision="float16")


@pytest.mark.parametrize("wrong", ["half", "", None, 16])
def test_unknown_precisions_are_refused(wrong: object) -> None:
    with pytest.raises(OptionError, match="precision"):
        Options(precision=wrong)  # type: ignore[arg-type]


def test_stems_in_bfloat16_are_alike() -> None:
    """40 dB below the stems is nothing: the best models are 10 dB from the true stems."""
    generator = torch.Generator().manual_seed(0)
    mix = torch.randn(2, 4 * 44100, generator=generator).cumsum(-1) / 100
    model = load_model("hdemucs_small")
    exact, fast = (
        hdemucs.separate(mix, 44100, model=model, precision=precision)
        for precision in ("float32", "bfloat16")
    )
    again = hdemucs.separate(mix, 44100, model=model, precision="bfloat16")
    for name, stem in exact.items():
        assert (fast[name] - stem).square().sum() < 1e-4 * stem.square().sum(), name
        assert fast[name].dtype == torch.float32
        assert torch.equal(fast[name], again[name])
