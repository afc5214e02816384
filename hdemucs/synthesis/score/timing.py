"""Musical time: bars and steps to seconds."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Grid:
    """The beat of a song. A bar has `beats * division` steps.

    Attributes:
        tempo: beats a minute.
        beats: in a bar.
        division: steps in a beat: 4 for sixteenths, 3 for triplets.
        swing: how late the second of a pair of steps comes, as a part of a step: 0 is straight, 1/3 is a
            triplet's feel.
        swung: steps in half a pair: 2 swings eighths, 1 sixteenths.
    """

    tempo: float
    beats: int = 4
    division: int = 4
    swing: float = 0.0
    swung: int = 2

    @property
    def steps(self) -> int:
        """Steps in a bar."""
        return self.beats * self.division

    @property
    def step(self) -> float:
        """Seconds a step takes."""
        return 60 / self.tempo / self.division

    @property
    def bar(self) -> float:
        """Seconds a bar takes."""
        return self.step * self.steps

    def time(self, bar: int, step: float) -> float:
        """Seconds at a step of a bar (may lie beyond it), swing included."""
        pair, place = divmod(step, 2 * self.swung)
        place /= self.swung
        late = place * (1 + self.swing) if place < 1 else 1 + self.swing + (place - 1) * (1 - self.swing)
        return bar * self.bar + (pair * 2 + late) * self.swung * self.step

    def weight(self, step: int) -> float:
        """How strong a step is, from 1 for the first beat to 0.25 between eighths."""
        if step % self.steps == 0:
            return 1.0
        if step % self.division == 0:
            half = self.beats % 2 == 0 and step == self.steps // 2
            return 0.9 if half else 0.75
        return 0.5 if self.division == 4 and step % 2 == 0 else 0.3
