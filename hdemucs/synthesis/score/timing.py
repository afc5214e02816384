"""Musical time: converts bars and steps to seconds."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Grid:
    """Metre and tempo of a song, in the steps of a step sequencer: `beats * division` of them make a bar.

    Attributes:
        tempo: Tempo in beats per minute.
        beats: Beats per bar.
        division: Steps per beat: 4 for sixteenth notes, 3 for triplets.
        swing: Delay of every second eighth or sixteenth, as a fraction of its length: 0 is straight, 1/3 is
            triplet swing.
        swung: Length in steps of the notes that swing: 2 for eighths, 1 for sixteenths.
    """

    tempo: float
    beats: int = 4
    division: int = 4
    swing: float = 0.0
    swung: int = 2

    @property
    def steps(self) -> int:
        """Steps per bar."""
        return self.beats * self.division

    @property
    def step(self) -> float:
        """Duration of a step in seconds."""
        return 60 / self.tempo / self.division

    @property
    def bar(self) -> float:
        """Duration of a bar in seconds."""
        return self.step * self.steps

    def time(self, bar: int, step: float) -> float:
        """Return the time of a step in seconds, swing included; the step may lie beyond the bar."""
        pair, place = divmod(step, 2 * self.swung)
        place /= self.swung
        late = place * (1 + self.swing) if place < 1 else 1 + self.swing + (place - 1) * (1 - self.swing)
        return bar * self.bar + (pair * 2 + late) * self.swung * self.step

    def weight(self, step: int) -> float:
        """Metrical weight of a step, from 1 on the downbeat to 0.3 off the eighths."""
        if step % self.steps == 0:
            return 1.0
        if step % self.division == 0:
            half = self.beats % 2 == 0 and step == self.steps // 2
            return 0.9 if half else 0.75
        return 0.5 if self.division == 4 and step % 2 == 0 else 0.3
