"""Loss and SDR curves, as an image and for TensorBoard."""

from typing import Any

from hdemucs.files import whole_file
from hdemucs.training.run import Run


class Curves:
    """Draws the metrics of a run; matplotlib and TensorBoard are imported once there is something to draw.

    Args:
        run: Run whose metrics are drawn.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.written = 0

    def draw(self) -> None:
        """Bring the image and the TensorBoard events up to date with the metrics."""
        epochs = self.run.history("epoch")
        if epochs:
            self._plot(epochs)
            self._tensorboard(epochs)

    def _plot(self, epochs: list[dict[str, Any]]) -> None:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(10, 4), layout="constrained")
        losses, ratios = figure.subplots(1, 2)
        losses.plot([e["epoch"] for e in epochs], [e["train"]["loss"] for e in epochs], label="training")
        valid = [e for e in epochs if "valid" in e]
        if valid:
            numbers = [e["epoch"] for e in valid]
            losses.plot(numbers, [e["valid"]["loss"] for e in valid], label="validation")
            for source in valid[0]["valid"]["sdr"]:
                ratios.plot(numbers, [_number(e["valid"]["sdr"][source]) for e in valid], label=source)
            ratios.plot(numbers, [_number(e["valid"]["mean_sdr"]) for e in valid], "k--", label="mean")
            ratios.legend()
        losses.legend()
        losses.set(xlabel="epoch", ylabel="loss", yscale="log")
        ratios.set(xlabel="epoch", ylabel="SDR of validation songs (dB)")
        with whole_file(self.run.curves) as file:
            figure.savefig(file, format="png", dpi=110)

    def _tensorboard(self, epochs: list[dict[str, Any]]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # A resumed run writes all epochs again; TensorBoard then discards those written before.
        purge = epochs[0]["epoch"] if not self.written else None
        with SummaryWriter(str(self.run.tensorboard), purge_step=purge) as writer:
            for epoch in epochs[self.written :]:
                for name, value in _flat(epoch):
                    writer.add_scalar(name, value, epoch["epoch"])
        self.written = len(epochs)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _flat(record: dict[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    """Flatten nested objects to pairs of a path and a number."""
    pairs: list[tuple[str, float]] = []
    for key, value in record.items():
        if isinstance(value, dict):
            pairs += _flat(value, f"{prefix}{key}/")
        elif isinstance(value, float) and prefix:
            pairs.append((prefix + key, value))
    return pairs
