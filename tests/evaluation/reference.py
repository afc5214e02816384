"""museval's scores, in this library's shapes."""

import warnings

import numpy as np
import torch
from torch import Tensor

from tests.installed import installed_module

# Its package refuses to be imported where there is no ffmpeg binary.
MUSEVAL = installed_module("museval", "museval/metrics.py")


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
