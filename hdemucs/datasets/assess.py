"""Decides what of a scanned song can be used for training, and reports why the rest cannot."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hdemucs.audio.codecs import LOSSY_SUFFIXES
from hdemucs.audio.resampling import rate_ratio
from hdemucs.datasets.check import FileFacts, SongFacts
from hdemucs.datasets.songs import Song
from hdemucs.datasets.training_songs import TrainingSong
from hdemucs.tracks import SUFFIXES

# Maximum level of the difference between a mixture and the sum of its stems, in dB relative to the mixture.
# Lossless files differ by rounding only; lossy encoders drop what is inaudible in each file separately.
_TOLERANCE_DB = -40.0
_LOSSY_TOLERANCE_DB = -12.0
# Rounding of a few files to 16 bits, relative to full scale: the whole difference in a nearly silent song.
_ROUNDING = 3 / 2**15
_LEFT_OUT = "the song is left out"


@dataclass(frozen=True)
class ScanProblem:
    """Something wrong with a file or a song.

    Attributes:
        file: The file, or the song's folder.
        fault: What is wrong with it.
        action: What is done about it.
    """

    file: Path
    fault: str
    action: str

    def __str__(self) -> str:
        return f"{self.file}: {self.fault}; {self.action}"


def assess(
    song: Song, facts: SongFacts, sources: Sequence[str], sample_rate: int | None = None
) -> tuple[TrainingSong | None, list[ScanProblem]]:
    """Decide what of a song can be used for training.

    Args:
        song: Song as found on disk.
        facts: Facts found by decoding its files.
        sources: Names of the sources to separate.
        sample_rate: Sample rate of the model in Hz; other rates are reported as a problem. None accepts any.

    Returns:
        The song to train on, or None if it is left out; and everything that is wrong with it.
    """
    assessment = _Assessment(song, facts, sources, sample_rate)
    return assessment.result(), assessment.problems


class _Assessment:
    def __init__(self, song: Song, facts: SongFacts, sources: Sequence[str], sample_rate: int | None) -> None:
        self.problems: list[ScanProblem] = []
        self._song = song
        self._facts = facts
        self._sources = sources
        self._sample_rate = sample_rate

    def result(self) -> TrainingSong | None:
        self._note_duplicates()
        used = self._usable_files()
        silent = self._song.silent - used.keys()
        known = [source for source in self._sources if source in used or source in silent]
        if not known:
            stems = ", ".join(self._song.sources)
            self._note(f"has none of the stems {', '.join(self._sources)}, only {stems}", _LEFT_OUT)
            return None
        extra = [name for name in used if name not in self._sources and name != "mixture"]
        if extra:
            self._note(f"has stems besides the sources ({', '.join(extra)})", "they are left in the mixture")
        if "mixture" in used and len(known) == len(self._sources):
            self._compare(
                used, "the rest is taken from the mixture" if extra else "their sum is used instead"
            )
            if not extra:
                del used["mixture"]  # the sum of the stems replaces it
        if not any(facts.peak for facts in used.values()):
            self._note("is silent", _LEFT_OUT)
            return None
        rate = Counter(facts.sample_rate for facts in used.values()).most_common(1)[0][0]
        self._note_rates(used, rate)
        files = {name: file for name, file in self._song.files.items() if name in used}
        song = replace(self._song, files=files, silent=silent)
        return TrainingSong(song, rate, self._shortest(used, rate))

    def _usable_files(self) -> dict[str, FileFacts]:
        """Facts of the files that can be used, by name."""
        used = {}
        for name, facts in self._facts.files.items():
            if facts.fault:
                action = "the mixture is ignored" if name == "mixture" else "the stem is treated as unknown"
                self._note(facts.fault, action, name)
            elif name not in self._song.unknown:
                if name in self._song.silent:
                    self._note("is declared silent, but has a file", "the file is used", name)
                used[name] = facts
        return used

    def _compare(self, used: dict[str, FileFacts], action: str) -> None:
        """Note a mixture that is not the sum of its stems, and what is done about it."""
        level, residual = self._facts.level, self._facts.residual
        if residual is None or residual <= _ROUNDING:
            return
        lossy = any(self._song.files[name][0].suffix.lower() in LOSSY_SUFFIXES for name in used)
        decibels = 20 * math.log10(residual / max(level, _ROUNDING))
        if decibels > (_LOSSY_TOLERANCE_DB if lossy else _TOLERANCE_DB):
            self._note(f"the stems do not add up to the mixture (off by {decibels:.0f} dB)", action)

    def _shortest(self, used: dict[str, FileFacts], rate: int) -> int:
        lengths = {}
        for name, facts in used.items():
            old, new = rate_ratio(facts.sample_rate, rate)
            lengths[name] = facts.length * new // old
        shortest = min(lengths, key=lambda name: lengths[name])
        if lengths[shortest] < max(lengths.values()):
            seconds = lengths[shortest] / rate, max(lengths.values()) / rate
            self._note(
                f"files differ in length ({shortest} {seconds[0]:.3f} s, longest {seconds[1]:.3f} s)",
                "all are cut to the shortest",
            )
        return lengths[shortest]

    def _note_rates(self, used: dict[str, FileFacts], rate: int) -> None:
        rates = sorted({facts.sample_rate for facts in used.values()})
        wanted = self._sample_rate or rate
        if rates != [wanted]:
            self._note(
                f"sample rate is {' and '.join(map(str, rates))} Hz, not {wanted} Hz",
                "it is resampled on the fly, which takes time",
            )

    def _note_duplicates(self) -> None:
        """Note files that have the name of a stem, but another suffix than the file that is used."""
        for file in sorted(self._song.path.iterdir()) if self._song.path.is_dir() else []:
            used = self._song.files.get(file.stem)
            if used and used[0] != file and file.suffix.lower() in SUFFIXES:
                self.problems.append(
                    ScanProblem(file, f"the same stem is in {used[0].name}", "this file is ignored")
                )

    def _note(self, fault: str, action: str, name: str | None = None) -> None:
        path = self._song.files[name][0] if name else self._song.path
        # The message of an AudioError begins with the file.
        fault = fault.removeprefix(str(path)).removeprefix(":").strip()
        if name and path == self._song.path:
            fault = f"{name}: {fault}"  # one file holds all stems
        self.problems.append(ScanProblem(path, fault, action))
