"""Each fast form equals the plain one; plain ones run wherever something looks at the graph."""

import pytest
import torch
from torch import Tensor, nn

from hdemucs.model import HDemucs, fast


@pytest.mark.parametrize("axis", [2, 3])
@pytest.mark.parametrize(("kernel", "stride"), [(8, 4), (4, 4), (4, 2), (32, 16)])
@pytest.mark.parametrize("padding", [0, 1])
def test_conv_transpose(axis: int, kernel: int, stride: int, padding: int) -> None:
    torch.manual_seed(0)

    def along(size: int, other: int) -> tuple[int, int]:
        return (size, other) if axis == 2 else (other, size)

    conv = nn.ConvTranspose2d(6, 5, along(kernel, 1), along(stride, 1))
    for memory_format in (torch.contiguous_format, torch.channels_last):
        x = torch.randn(2, 6, 3, 7).contiguous(memory_format=memory_format)
        with torch.no_grad():
            quick = fast.conv_transpose(conv, x, along(padding, 0))
        plain = fast.conv_transpose(conv, x, along(padding, 0))
        assert plain.requires_grad
        assert torch.allclose(quick, plain, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 7, 300])
def test_map_rows(rows: int) -> None:
    calls = []

    def softened(x: Tensor) -> Tensor:
        calls.append(x.shape[2])
        return x.softmax(1)

    x = torch.randn(1, 32, rows, 200)
    with torch.no_grad():
        assert torch.allclose(fast.map_rows(softened, x), x.softmax(1))
    assert sum(calls) == rows
    assert (len(calls) > 1) == (rows == 300)


@pytest.mark.filterwarnings("ignore")
def test_a_traced_network_runs_the_plain_forms() -> None:
    model = HDemucs(["a"], **HDemucs.tiny).eval()
    seen = []
    model.freq_encoder[0].register_forward_pre_hook(lambda *_: seen.append(fast.enabled()))
    mix = torch.randn(1, 2, 3000)
    with torch.no_grad():
        model(mix)
        torch.jit.trace(model, mix, check_trace=False)
    assert seen == [True, False]
