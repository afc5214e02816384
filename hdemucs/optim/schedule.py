"""Learning-rate schedules: pure functions of the step number, so that resuming needs no state."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LinearDecay:
    """Constant learning rate that falls linearly to zero at the end of training.

    Attributes:
        lr: Learning rate before the decay.
        steps: Number of steps in the whole run.
        decay: Fraction of the steps, at the end of the run, over which the rate falls; 0 for a constant rate.
    """

    lr: float
    steps: int
    decay: float = 0.0

    def __call__(self, step: int) -> float:
        """Return the learning rate at a step, counted from 0."""
        if not self.decay:
            return self.lr
        left = 1 - step / self.steps
        return self.lr * min(1.0, left / self.decay)
