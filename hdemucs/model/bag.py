"""A bag of models: their weighted mean, with one weight per model and source (arXiv 2111.03600)."""

from collections.abc import Iterable, Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from hdemucs.model.base import Network


class Bag(nn.Module):
    """Networks that separate the same sources, averaged.

    Args:
        models: At least one network; all have the same sources, sample rate and number of audio channels.
        weights: Weights `[models, sources]`, none negative and at least one positive for each source; None
            weights all models equally.
        segment: Segment to set on every model, in seconds, as far as it takes one so long; None leaves each
            its own.
        sources: Sources to separate, of those of the models; None for all of them.

    Attributes:
        name: Name by which the bag was loaded; None if it was not loaded by name.

    Raises:
        ValueError: There are no models, they differ in sources, sample rate or channels, or do not have the
            sources, or the weights are negative, of another shape, or leave a source without a model.
    """

    name: str | None = None

    def __init__(
        self,
        models: Sequence[Network],
        weights: Sequence[Sequence[float]] | None = None,
        segment: float | None = None,
        sources: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        if not models:
            raise ValueError("a bag needs at least one model")
        first = models[0]
        for model in models:
            for name in ("sources", "sample_rate", "audio_channels"):
                if getattr(model, name) != getattr(first, name):
                    raise ValueError(f"the models of a bag must have the same {name}")
        table = torch.ones(len(models), len(first.sources)) if weights is None else torch.tensor(weights)
        if table.shape != (len(models), len(first.sources)):
            raise ValueError(
                f"weights must have {len(models)} rows, one per model, and {len(first.sources)} columns, "
                f"one per source, not the shape {list(table.shape)}"
            )
        self.sources: list[str] = first.sources if sources is None else list(sources)
        self.indexes = [first.sources.index(source) for source in self.sources]
        if not (table >= 0).all() or not (table[:, self.indexes].sum(0) > 0).all():
            raise ValueError("weights must not be negative, and each source needs a model with some weight")
        self.models = nn.ModuleList(models)
        self.weights: list[list[float]] = table.tolist()
        self.sample_rate: int = first.sample_rate
        self.audio_channels: int = first.audio_channels
        if segment is not None:
            for model in models:
                model.segment = min(segment, model.longest_segment or segment)
        self.segment: float = first.segment

    @property
    def longest_segment(self) -> float | None:
        """Longest segment that all models take, in seconds; None if they take any."""
        longest = [network.longest_segment for network in cast(Iterable[Network], self.models)]
        return min((seconds for seconds in longest if seconds is not None), default=None)

    def members(self, sources: Sequence[str]) -> Iterator[tuple[Network, list[float]]]:
        """Networks that have any weight for the given sources, each with its weights for them."""
        indexes = [self.indexes[self.sources.index(source)] for source in sources]
        for model, row in zip(self.models, self.weights, strict=True):
            weights = [row[index] for index in indexes]
            if any(weights):
                yield model, weights  # type: ignore[misc]

    def forward(self, mix: Tensor) -> Tensor:
        """Separate a mixture `[B, C, L]` into `[B, S, C, L]`: batch, sources, channels, samples."""
        weights = torch.tensor(self.weights, dtype=mix.dtype, device=mix.device)[:, self.indexes]
        weights = weights / weights.sum(0)
        total: Tensor = sum(
            row[:, None, None] * model(mix)[:, self.indexes]
            for row, model in zip(weights, self.models, strict=True)
            if row.any()
        )
        return total


Model = Network | Bag
