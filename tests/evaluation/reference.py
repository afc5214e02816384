"""The reference metric, museval, imported as it is and called with this library's shapes."""

import functools
import os
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor


def stand_in_for_ffmpeg(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Put empty programs `ffmpeg` and `ffprobe` on the path.

    museval imports stempeg, which looks for them although scoring calls neither.
    """
    folder.mkdir(parents=True, exist_ok=True)
    suffix = ".bat" if sys.platform == "win32" else ""
    for name in ("ffmpeg", "ffprobe"):
        (folder / f"{name}{suffix}").touch(mode=0o755)
    patch.setenv("PATH", str(folder), prepend=os.pathsep)


@functools.cache
def import_museval() -> Any:
    """The package museval."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        stand_in_for_ffmpeg(Path(folder), patch)
        import museval
    return museval


def museval_scores(
    references: Tensor, estimates: Tensor, window: int = 44100, hop: int = 44100, filter_length: int = 512
) -> Tensor:
    """SDR, ISR, SIR and SAR `[4, S, windows]` of signals `[S, C, L]`, called as `museval.evaluate` does."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        *scores, _ = import_museval().metrics.bss_eval(
            references.transpose(1, 2).numpy(),
            estimates.transpose(1, 2).numpy(),
            window=window,
            hop=hop,
            compute_permutation=False,
            filters_len=filter_length,
            framewise_filters=False,
            bsseval_sources_version=False,
        )
    return torch.from_numpy(np.stack(scores))
