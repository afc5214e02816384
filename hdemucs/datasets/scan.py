"""All songs looked through before training: which can be used, and what is wrong with the others."""

import hashlib
import math
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from hdemucs.audio.resampling import rate_ratio
from hdemucs.datasets.check import Cache, FileFacts, SongFacts, check_song
from hdemucs.datasets.songs import Song
from hdemucs.datasets.training_songs import MUSDB_VALIDATION, Found, TrainingSong, find, ordered_sources
from hdemucs.errors import TrainingError
from hdemucs.suggest import hint
from hdemucs.tracks import SUFFIXES

Progress = Callable[[int, int], None]
"""Called with the number of files that were checked, and that of all files."""

_LOSSY = frozenset([".aac", ".m4a", ".mp2", ".mp3", ".mp4", ".oga", ".ogg", ".opus", ".webm", ".wma"])
# How far a mixture may be from the sum of its stems, in dB below the mixture: files that keep all bits differ
# by their rounding alone; encoders drop what is not heard, in each stem and in the mixture for itself.
_TOLERANCE_DB = -40.0
_LOSSY_TOLERANCE_DB = -12.0
# Rounding of a few files to 16 bits, in full scale: all of it in a song that is nearly silent.
_ROUNDING = 3 / 2**15


@dataclass(frozen=True)
class Problem:
    """Something wrong with a file or a song.

    Attributes:
        file: the file, or the song's folder.
        wrong: what is wrong with it.
        action: what happens to it.
    """

    file: Path
    wrong: str
    action: str

    def __str__(self) -> str:
        return f"{self.file}: {self.wrong}; {self.action}"


@dataclass(frozen=True)
class Scan:
    """What there is to train with.

    Attributes:
        sources: names, in the order of the model's outputs.
        train: songs to train on, at least one.
        valid: songs to validate with, maybe none.
        problems: what is wrong, in the order of the songs.
    """

    sources: list[str]
    train: list[TrainingSong]
    valid: list[TrainingSong]
    problems: list[Problem]

    def report(self) -> str:
        """What there is, and what is wrong with which file and what happens to it, in lines."""
        hours = sum(song.length / song.sample_rate for song in self.train) / 3600
        lines = [
            f"{len(self.train)} songs to train on ({hours:.2f} h), {len(self.valid)} to validate with; "
            f"sources: {', '.join(self.sources)}"
        ]
        groups: dict[tuple[str, str], list[Problem]] = defaultdict(list)
        for problem in self.problems:
            groups[problem.wrong, problem.action].append(problem)
        for (wrong, action), problems in groups.items():
            more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
            lines.append(
                f"  {', '.join(str(problem.file) for problem in problems[:3])}{more}: {wrong}; {action}"
            )
        return "\n".join(lines)


def scan(
    folders: Sequence[Path],
    sources: Sequence[str] | None = None,
    *,
    validation: Sequence[str] | None = None,
    share: float = 0.1,
    seed: int = 0,
    sample_rate: int | None = None,
    progress: Progress | None = None,
    cache: Path | None = None,
) -> Scan:
    """Look through folders of songs, decoding every file that was not looked at before.

    Args:
        folders: see `hdemucs.datasets.training_songs`.
        sources: to be separated; None for the stems of all songs, MusDB's first, in its order.
        validation: names of songs to validate with. None: those in folders `valid/`; else MusDB's 14, if any
            of them is there; else a share of all songs.
        share: of the songs to validate with, at least one of two or more; chosen by a hash of seed and name,
            so that it stays nearly the same as songs come and go. 0 for none.
        seed: of that choice.
        sample_rate: of the model, in Hz; songs of another one are noted. None: nothing is said of that.
        progress: called after each song.
        cache: folder for what was found; None for the user's cache folder.

    Raises:
        TrainingError: no song can be trained on, a song to validate with is not there, or a `stems.yaml` has
            mistakes.
    """
    found = _find_all(folders)
    facts = _check_all(found, progress, cache)
    names = list(sources) if sources is not None else ordered_sources([each.song for _, each in found])
    songs: list[tuple[TrainingSong, bool]] = []
    problems: list[Problem] = []
    for (_, each), known in zip(found, facts, strict=True):
        judged = _Judgement(each, known, names, sample_rate)
        problems += judged.problems
        if judged.song:
            songs.append((judged.song, each.held_out))
    train, valid = _divide(songs, names, validation, share, seed)
    if not train:
        raise TrainingError(_nothing(folders, names, problems, bool(valid)))
    if not valid:
        wrong = "only one song can be used" if len(songs) == 1 else "no songs are held out"
        problems.append(Problem(folders[0], wrong, "there is no validation"))
    for source in names:
        if not any(song.known(source) for song in train):
            problems.append(
                Problem(folders[0], f"no song has the stem {source}", "nothing is learnt about it")
            )
    return Scan(names, train, valid, problems)


def _nothing(
    folders: Sequence[Path], sources: Sequence[str], problems: Sequence[Problem], valid: bool
) -> str:
    where = ", ".join(map(str, folders))
    if valid:
        return f"{where}: all songs are held out for validation; name fewer in validation.songs, or add songs"
    first = f" ({problems[0]})" if problems else ""
    return f"{where}: no song can be trained on for {', '.join(sources)}{first}; repair or add songs"


def _find_all(folders: Sequence[Path]) -> list[tuple[Path, Found]]:
    """The songs of all folders with their folders, each song once."""
    songs: dict[tuple[Path, str], tuple[Path, Found]] = {}
    for folder in folders:
        for found in find(folder):
            songs.setdefault((found.path.resolve(), found.song.name), (folder, found))
    return list(songs.values())


def _check_all(
    found: Sequence[tuple[Path, Found]], progress: Progress | None, place: Path | None
) -> list[SongFacts]:
    """Facts of each song, from the cache or from its files."""
    caches = {folder: Cache(folder, place) for folder, _ in found}
    facts = [caches[folder].get(each.song) for folder, each in found]
    total = sum(len(each.song.files) for _, each in found)
    done = sum(len(known.files) for known in facts if known)
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        jobs = {
            pool.submit(check_song, found[index][1].song): index
            for index, known in enumerate(facts)
            if not known
        }
        for job in as_completed(jobs):
            folder, each = found[jobs[job]]
            facts[jobs[job]] = job.result()
            caches[folder].put(each.song, job.result())
            done += len(each.song.files)
            if progress:
                progress(done, total)
    finally:
        pool.shutdown(cancel_futures=True)
        for cache in caches.values():
            cache.save()
    return [known for known in facts if known]


class _Judgement:
    """What of a song can be used, and why the rest cannot.

    Attributes:
        song: None if it is left out.
        problems: one a file, or one for the song.
    """

    def __init__(
        self, found: Found, facts: SongFacts, sources: Sequence[str], sample_rate: int | None
    ) -> None:
        self.problems: list[Problem] = []
        self._found = found
        self._facts = facts
        self._sources = sources
        self._sample_rate = sample_rate
        self.song = self._judge()

    def _judge(self) -> TrainingSong | None:
        self._note_others()
        used = dict(self._usable())
        silent = self._found.silent - used.keys()
        known = [source for source in self._sources if source in used or source in silent]
        if not known:
            have = ", ".join(self._found.song.sources)
            self._leave_out(f"it has none of the stems {', '.join(self._sources)}, only {have}")
            return None
        extra = [name for name in used if name not in self._sources and name != "mixture"]
        if extra:
            self._note(f"{', '.join(extra)} is not among the sources", "it is left in the mixture")
        if "mixture" in used and len(known) == len(self._sources):
            self._compare(used, "it tells what is beyond the sources" if extra else "their sum is trained on")
            if not extra:
                del used["mixture"]  # the stems are all there is
        if not any(facts.peak for facts in used.values()):
            self._leave_out("it is silent")
            return None
        rate = Counter(facts.sample_rate for facts in used.values()).most_common(1)[0][0]
        self._note_rates(used, rate)
        files = {name: file for name, file in self._found.song.files.items() if name in used}
        return TrainingSong(
            self._found.song.name,
            Song(self._found.song.name, files),
            rate,
            self._shortest(used, rate),
            frozenset(silent),
        )

    def _usable(self) -> Iterator[tuple[str, FileFacts]]:
        """The files that can be used, by name."""
        for name, facts in self._facts.files.items():
            action = "the mixture is ignored" if name == "mixture" else "the stem is treated as unknown"
            if facts.fault:
                self._note(facts.fault, action, name)
            elif name in self._found.unknown:
                continue  # the user said so
            else:
                if name in self._found.silent:
                    self._note("it is called silent, but there is a file", "the file is used", name)
                yield name, facts

    def _compare(self, used: dict[str, FileFacts], action: str) -> None:
        """Note a mixture that is not the sum of its stems, and what happens then."""
        level, residual = self._facts.level, self._facts.residual
        if residual is None or residual <= _ROUNDING:
            return
        lossy = any(self._found.song.files[name][0].suffix.lower() in _LOSSY for name in used)
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
                f"its files differ in length ({shortest} {seconds[0]:.3f} s, the longest {seconds[1]:.3f} s)",
                "all are cut to the shortest",
            )
        return lengths[shortest]

    def _note_rates(self, used: dict[str, FileFacts], rate: int) -> None:
        rates = sorted({facts.sample_rate for facts in used.values()})
        wanted = self._sample_rate or rate
        if rates != [wanted]:
            have = " and ".join(map(str, rates))
            self._note(f"it is at {have} Hz, not {wanted} Hz", "it is resampled on the fly, which takes time")

    def _note_others(self) -> None:
        """Note files that have the name of a stem, but not the suffix of the file that is used."""
        files, folder = self._found.song.files, self._found.path
        for file in sorted(folder.iterdir()) if folder.is_dir() else []:
            used = files.get(file.stem)
            if used and used[0] != file and file.suffix.lower() in SUFFIXES:
                self.problems.append(Problem(file, f"there is {used[0].name} as well", "it is ignored"))

    def _leave_out(self, wrong: str) -> None:
        self._note(wrong, "the song is left out")

    def _note(self, wrong: str, action: str, name: str | None = None) -> None:
        path = self._found.song.files[name][0] if name else self._found.path
        # The words of an AudioError begin with the file.
        wrong = wrong.removeprefix(str(path)).strip()
        if name and path == self._found.path:
            wrong = f"{name}: {wrong}"  # one file has all stems
        self.problems.append(Problem(path, wrong, action))


def _divide(
    songs: Sequence[tuple[TrainingSong, bool]],
    sources: Sequence[str],
    validation: Sequence[str] | None,
    share: float,
    seed: int,
) -> tuple[list[TrainingSong], list[TrainingSong]]:
    """Songs to train on, and songs to validate with. Those of `valid/` are never trained on."""
    names = [song.name for song, _ in songs]
    free = [song for song, held_out in songs if not held_out]
    if validation is not None:
        for name in validation:
            if name not in names:
                raise TrainingError(f"validation.songs: there is no usable song {name!r}{hint(name, names)}")
        chosen = set(validation)
    elif len(free) < len(songs):
        return free, [song for song, held_out in songs if held_out]
    else:
        chosen = {song.name for song in free} & MUSDB_VALIDATION
        if not chosen or len(chosen) == len(free):
            chosen = _drawn(free, sources, share, seed)
    return (
        [song for song in free if song.name not in chosen],
        [song for song, _ in songs if song.name in chosen],
    )


def _drawn(songs: Sequence[TrainingSong], sources: Sequence[str], share: float, seed: int) -> set[str]:
    """Names of a share of the songs, of those of which all sources are known if there are any."""
    if len(songs) < 2 or share <= 0:
        return set()
    count = min(max(1, round(share * len(songs))), len(songs) - 1)
    complete = [song for song in songs if all(map(song.known, sources))] or songs
    ranked = sorted(complete, key=lambda song: hashlib.sha256(f"{seed}/{song.name}".encode()).digest())
    return {song.name for song in ranked[:count]}
