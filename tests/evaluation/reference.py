"""museval's scores, in this library's shapes."""

import importlib.metadata
import importlib.util
import warnings
from types import ModuleType

import numpy as np
import torch
from torch import Tensor


def museval_metrics() -> ModuleType:
    """museval's module of metrics, read from the installed distribution without its package, which refuses to
    be imported where there is no ffmpeg binary."""
    files = importlib.metadata.files("museval") or []
    path = next(file for file in files if file.as_posix() == "museval/metrics.py")
    spec = importlib.util.spec_from_file_location("museval_metrics", str(path.locate()))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MUSEVAL = museval_metrics()


def museval_scores(
    references: Tensor,
    estimates: Tensor,
    window: int,
    hop: int,
    filter_length: int = 512,
    version: str = "v4",
) -> Tensor:
    """SDR, ISR, SIR, SAR `[4, S, windows]` of signals `[S, C, L]`, as `museval.evaluate` asks for them."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        *scores, _ = MUSEVAL.bss_eval(
            references.transpose(1, 2).numpy(),
            estimates.transpose(1, 2).numpy(),
            window=window,
            hop=hop,
            compute_permutation=False,
            filters_len=filter_length,
            framewise_filters=version == "v3",
            bsseval_sources_version=False,
        )
    return torch.from_numpy(np.stack(scores))
