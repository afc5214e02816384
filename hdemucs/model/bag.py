"""A bag of models: their weighted mean, with one weight a model and source (arXiv 2111.03600)."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from hdemucs.model.demucs import Demucs
from hdemucs.model.hdemucs import HDemucs

Network = HDemucs | Demucs


class Bag(nn.Module):
    """Models that separate the same sources, averaged.

    Args:
        models: at least one; the same sources, sample rate and channels.
        weights: `[models, sources]`, not negative, some above zero for each source; equal if None.
        segment: seconds to apply each model to at once, in place of the models' own.

    Raises:
        ValueError: models that do not go together, or weights that leave a source without a model.
    """

    def __init__(
        self,
        models: Sequence[Network],
        weights: Sequence[Sequence[float]] | None = None,
        segment: float | None = None,
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
                f"a bag of {len(models)} models for {len(first.sources)} sources needs as many "
                f"rows and columns of weights, not {list(table.shape)}"
            )
        if not (table >= 0).all() or not (table.sum(0) > 0).all():
            raise ValueError("weights must not be negative, and each source needs a model with some weight")
        self.models = nn.ModuleList(models)
        self.weights: list[list[float]] = table.tolist()
        self.sources: list[str] = first.sources
        self.sample_rate: int = first.sample_rate
        self.audio_channels: int = first.audio_channels
        self.segment: float = first.segment if segment is None else segment
        if segment is not None:
            for model in models:
                model.segment = segment

    def members(self, indexes: Sequence[int]) -> Iterator[tuple[Network, list[float]]]:
        """Models that have any weight in the sources at `indexes`, and these weights."""
        for model, row in zip(self.models, self.weights, strict=True):
            weights = [row[index] for index in indexes]
            if any(weights):
                yield model, weights  # type: ignore[misc]

    def forward(self, mix: Tensor) -> Tensor:
        """`[B, C, L]` to `[B, S, C, L]`."""
        weights = torch.tensor(self.weights, dtype=mix.dtype, device=mix.device)
        weights = weights / weights.sum(0)
        total: Tensor = sum(
            row[:, None, None] * model(mix)
            for row, model in zip(weights, self.models, strict=True)
            if row.any()
        )
        return total


Model = HDemucs | Demucs | Bag
