"""Files of Hybrid Transformer Demucs by `demucs`: the settings of the published ones, and others."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from hdemucs import checkpoint
from hdemucs.model import HTDemucs
from tests.checkpoint.test_load import MIX, assert_refused, difference, package
from tests.reference import SOURCES, TRANSFORMER

PUBLISHED: dict[str, Any] = {
    **{"channels_time": None, "growth": 2, "nfft": 4096, "wiener_iters": 0, "end_iters": 0},
    **{"wiener_residual": False, "cac": True, "depth": 4, "rewrite": True, "multi_freqs": []},
    **{"multi_freqs_depth": 3, "freq_emb": 0.2, "emb_scale": 10, "emb_smooth": True, "kernel_size": 8},
    **{"stride": 4, "time_stride": 2, "context": 1, "context_enc": 0, "norm_starts": 4, "norm_groups": 4},
    **{"dconv_mode": 3, "dconv_depth": 2, "dconv_comp": 8, "dconv_init": 1e-3, "t_hidden_scale": 4.0},
    **{"t_dropout": 0.02, "t_layer_scale": True, "t_gelu": True, "t_emb": "sin", "t_max_positions": 10000},
    **{"t_max_period": 10000.0, "t_weight_pos_embed": 1.0, "t_cape_mean_normalize": True},
    **{"t_cape_augment": True, "t_cape_glob_loc_scale": [5000.0, 1.0, 1.4], "t_sin_random_shift": 0},
    **{"t_norm_in": True, "t_norm_in_group": False, "t_group_norm": False, "t_norm_first": True},
    **{"t_norm_out": True, "t_weight_decay": 0.0, "t_lr": None, "t_sparse_self_attn": False},
    **{"t_sparse_cross_attn": False, "t_mask_type": "diag", "t_mask_random_seed": 42},
    **{"t_sparse_attn_window": 400, "t_global_window": 100, "t_sparsity": 0.95, "t_auto_sparsity": False},
    **{"t_cross_first": False, "rescale": 0.1, **TRANSFORMER},
}
"""All settings of the published `htdemucs`, except for the sizes in `TRANSFORMER`."""


def test_all_settings_of_the_published_files_are_understood(tmp_path: Path) -> None:
    reference, saved = package("HTDemucs", {**PUBLISHED, "channels": 16})
    torch.save(saved, tmp_path / "model.th")
    assert difference(reference, checkpoint.load(tmp_path / "model.th")) < 1e-5


def test_settings_that_a_file_omits_are_those_of_demucs(tmp_path: Path) -> None:
    """Its constructor has other defaults than the published models, and so do files that rely on them."""
    _, saved = package("HTDemucs", {**TRANSFORMER, "bottom_channels": 0, "channels": 16, "segment": 10})
    for name in ("bottom_channels", "segment"):
        del saved["kwargs"][name]
    torch.save(saved, tmp_path / "model.th")
    model = checkpoint.load(tmp_path / "model.th")
    assert isinstance(model, HTDemucs)
    assert (model.config.bottom_channels, model.config.segment) == (0, 10)
    del saved["kwargs"]["dconv_mode"]
    torch.save(saved, tmp_path / "model.th")
    assert_refused(tmp_path / "model.th", "dconv_mode=1 is not supported, only 3")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"t_heads": 0}, "heads must be from 1 to 1024, not 0"),
        ({"t_heads": 5}, "multiple of 4 and of heads 5, not 32"),
        ({"t_layers": 0}, "layers must be from 1"),
        ({"t_layers": 4}, "lacks the weights transformer.freq.layers.3"),
        ({"t_layers": 2}, "the network does not have: transformer.freq.layers.2"),
        ({"bottom_channels": 64}, r"project_in.weight has the shape \[32, 128\], expected \[64, 128\]"),
        ({"bottom_channels": 0}, "the network does not have: transformer.freq.project_in"),
        ({"t_emb": "cape"}, "t_emb='cape' is not supported, only sin"),
        ({"t_sparse_self_attn": True}, "t_sparse_self_attn=True is not supported, only False"),
        ({"t_sin_random_shift": 3}, "t_sin_random_shift=3 is not supported"),
        ({"use_train_segment": False}, "use_train_segment=False is not supported"),
        ({"cac": False}, "cac=False is not supported"),
        ({"multi_freqs": [0.5]}, r"multi_freqs=\[0.5\] is not supported"),
        ({"segment": Fraction(0)}, "segment must be from 0.001"),
        ({"depth": 5}, "depth 5 is too large"),
        ({"dconv_lstm": 4}, "dconv_lstm=4 is not supported"),
    ],
)
def test_transformers_that_no_published_file_has(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    _, saved = package("HTDemucs", {**TRANSFORMER, "channels": 16})
    saved["kwargs"] |= changes
    torch.save(saved, tmp_path / "model.th")
    assert_refused(tmp_path / "model.th", message)


def test_bag_of_transformers_with_one_for_each_source(tmp_path: Path) -> None:
    """As `htdemucs_ft`: a unit matrix of weights."""
    references = []
    for seed, name in enumerate(SOURCES):
        settings = {**TRANSFORMER, "nfft": 1024, "depth": 3, "channels": 8}
        reference, saved = package("HTDemucs", settings, seed)
        torch.save(saved, tmp_path / f"{name}.th")
        references.append(reference)
    weights = torch.eye(4).tolist()
    (tmp_path / "bag.yaml").write_text(yaml.safe_dump({"models": SOURCES, "weights": weights}))
    bag = checkpoint.load(tmp_path / "bag.yaml")
    assert bag.longest_segment == pytest.approx(0.78)
    with torch.no_grad():
        expected = torch.stack([one(MIX)[:, index] for index, one in enumerate(references)], 1)
        assert (bag(MIX) - expected).abs().max() < 1e-5 * expected.abs().max()
