"""Engines: who computes BSS Eval v4, this library or the reference implementation, museval.

The SDR of the MDX challenge is always this library's, since museval does not have it.

Letters in shapes: S sources, C channels, L samples.
"""

import importlib.metadata
import json
import warnings
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from hdemucs.errors import OptionError, install_extra, one_line
from hdemucs.evaluation.metrics import bss_eval
from hdemucs.workers import worker_pool

METRICS = ("SDR", "SIR", "ISR", "SAR")
WINDOW_SECONDS = 1.0
"""Window and hop of BSS Eval in SiSEC 2018, and therefore in all published scores."""


class Engine(Protocol):
    """What computes BSS Eval; it can be pickled, to be called in another process.

    Attributes:
        name: Name, with a version if it is not this library; scores of two engines never mix in a run.
        museval_version: Version of museval that the scores agree with.
    """

    @property
    def name(self) -> str: ...

    @property
    def museval_version(self) -> str: ...

    def targets(
        self, sources: Sequence[str], references: Tensor, estimates: Tensor, sample_rate: int
    ) -> list[dict[str, Any]]:
        """Score a song in windows of a second.

        Args:
            sources: Names of the sources.
            references: True sources `[S, C, L]`.
            estimates: Estimated sources, same shape and order.
            sample_rate: Sample rate in Hz.

        Returns:
            Scores of each source in museval's schema, in which windows are called frames.

        Raises:
            ValueError: The signals cannot be scored.
        """

    def workers(self, jobs: int) -> AbstractContextManager[Executor]:
        """Pool that scores as many songs at once as there are `jobs`, while others are separated."""


class OwnEngine:
    """This library's `bss_eval`, in threads: torch's operations do not hold up other threads."""

    name = "hdemucs"
    museval_version = "0.4.1"

    def targets(
        self, sources: Sequence[str], references: Tensor, estimates: Tensor, sample_rate: int
    ) -> list[dict[str, Any]]:
        window = round(WINDOW_SECONDS * sample_rate)
        scores = bss_eval(references, estimates, window=window, hop=window)
        values = {metric: getattr(scores, metric.lower()).tolist() for metric in METRICS}
        return [
            {
                "name": source,
                "frames": [
                    {
                        "time": number * WINDOW_SECONDS,
                        "duration": WINDOW_SECONDS,
                        "metrics": {metric: round(values[metric][index][number], 5) for metric in METRICS},
                    }
                    for number in range(len(values["SDR"][index]))
                ],
            }
            for index, source in enumerate(sources)
        ]

    def workers(self, jobs: int) -> AbstractContextManager[Executor]:
        # One thread for each song: more would compete with the separation for the same cores.
        return ThreadPoolExecutor(jobs, initializer=torch.set_num_threads, initargs=(1,))


@dataclass(frozen=True)
class MusevalEngine:
    """museval, called on the same signals, in processes: Ctrl-C does not wait minutes for the end of a song.

    Attributes:
        museval_version: Version of the installed package.
    """

    museval_version: str

    @property
    def name(self) -> str:
        return f"museval {self.museval_version}"

    def targets(
        self, sources: Sequence[str], references: Tensor, estimates: Tensor, sample_rate: int
    ) -> list[dict[str, Any]]:
        import museval

        # In double precision, as museval's own readers hand over audio.
        signals = [x.transpose(1, 2).double().numpy() for x in (references, estimates)]
        window = round(WINDOW_SECONDS * sample_rate)
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            scores = museval.evaluate(*signals, win=window, hop=window, mode="v4")
        by_metric = dict(zip(("SDR", "ISR", "SIR", "SAR"), scores, strict=True))
        store = museval.TrackStore("", win=WINDOW_SECONDS, hop=WINDOW_SECONDS)
        for index, source in enumerate(sources):
            store.add_target(source, {metric: values[index].tolist() for metric, values in by_metric.items()})
        targets: list[dict[str, Any]] = json.loads(store.json)["targets"]
        return targets

    def workers(self, jobs: int) -> AbstractContextManager[Executor]:
        remedy = "use fewer jobs, or the engine hdemucs, which needs a fifth of the memory"
        return worker_pool(jobs, remedy=remedy, torch_threads=1, finish_tasks=False)


def find_engine(name: str) -> Engine:
    """Find an engine by name.

    Raises:
        OptionError: There is no such engine, or a package or program that it needs is not installed.
    """
    if name == "hdemucs":
        return OwnEngine()
    if name != "museval":
        raise OptionError(f"there is no engine {name!r}; choose hdemucs or museval")
    try:
        importlib.import_module("museval")
    except ModuleNotFoundError as error:
        raise OptionError(
            f"the engine museval needs the package {error.name}: {install_extra('museval')}"
        ) from error
    except RuntimeError as error:
        # Its dependency stempeg looks for both when it is imported, though scoring calls neither.
        if "ffmpeg" not in str(error):
            raise OptionError(f"museval cannot be imported: {one_line(error)}") from error
        raise OptionError(
            "the engine museval needs the programs ffmpeg and ffprobe, without which it cannot be imported; "
            "install FFmpeg, for example by `apt install ffmpeg`"
        ) from error
    return MusevalEngine(importlib.metadata.version("museval"))
