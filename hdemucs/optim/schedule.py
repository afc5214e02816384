"""Learning-rate schedules: pure functions of the number of steps done, so that resuming needs no state."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LinearDecay:
    """Constant learning rate that falls linearly to zero at the end of training.

    Attributes:
        lr: Learning rate before the decay.
        steps: Number of steps in the whole training.
        decay: Fraction of all steps, the last ones, over which the rate falls; 0 for a constant rate.
    """

    lr: float
    steps: int
    decay: float = 0.0

    def __call__(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        if not self.decay:
            return self.lr
        left = 1 - step / self.steps
        return self.lr * min(1.0, left / self.decay)
