"""Checks all songs before training: which can be used, and what is wrong with the others."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from hdemucs.datasets.assess import ScanProblem, assess
from hdemucs.datasets.check import FactsCache, SongFacts, check_song
from hdemucs.datasets.musdb import MUSDB_VALIDATION
from hdemucs.datasets.songs import Song, ordered_sources
from hdemucs.datasets.training_songs import TrainingSong, find_training_songs
from hdemucs.errors import DatasetError
from hdemucs.suggest import hint

ScanCallback = Callable[[int, int], None]
"""Called with the number of files checked so far, and their total."""


@dataclass(frozen=True)
class Scan:
    """Songs for training and validation.

    Attributes:
        sources: Names of the sources, in the order of the model's outputs.
        train: Songs to train on, at least one.
        valid: Songs to validate on, possibly none.
        problems: Everything that is wrong, in the order of the songs.
    """

    sources: list[str]
    train: list[TrainingSong]
    valid: list[TrainingSong]
    problems: list[ScanProblem]

    def report(self) -> str:
        """Summarise the scan in one line, plus a line for each kind of problem: files, fault and action."""
        hours = sum(song.length / song.sample_rate for song in self.train) / 3600
        lines = [
            f"songs for training: {len(self.train)} ({hours:.2f} h), for validation: {len(self.valid)}; "
            f"sources: {', '.join(self.sources)}"
        ]
        groups: dict[tuple[str, str], list[Path]] = defaultdict(list)
        for problem in self.problems:
            groups[problem.fault, problem.action].append(problem.file)
        for (fault, action), files in groups.items():
            more = f" and {len(files) - 3} more" if len(files) > 3 else ""
            lines.append(f"  {', '.join(map(str, files[:3]))}{more}: {fault}; {action}")
        return "\n".join(lines)


def scan(
    folders: Sequence[Path],
    sources: Sequence[str] | None = None,
    *,
    validation: Sequence[str] | None = None,
    share: float = 0.1,
    seed: int = 0,
    sample_rate: int | None = None,
    progress: ScanCallback | None = None,
    cache: Path | None = None,
) -> Scan:
    """Check folders of songs, decoding every file that has not been checked before.

    Args:
        folders: Folders of songs, laid out as `hdemucs.datasets.training_songs` describes.
        sources: Names of the sources to separate; None for all stems of all songs, those of MusDB first and
            in its order.
        validation: Names of the validation songs. None for the songs in `valid/` folders, or else MusDB's 14
            as far as they are present, or else a share of all songs.
        share: Fraction of the songs to hold out in that last case, at least one of two or more; 0 for none.
            They are chosen by a hash of seed and name, so the choice hardly changes as songs come and go.
        seed: Seed of that choice.
        sample_rate: Sample rate of the model in Hz; songs at other rates are reported. None accepts any.
        progress: Called after each song.
        cache: Folder for the cached facts; None for the user's cache folder.

    Raises:
        DatasetError: No song can be used for training, a song of `validation` is missing, or a `stems.yaml`
            has mistakes.
    """
    found = _find(folders)
    names = list(sources) if sources is not None else ordered_sources([song for _, song in found])
    songs: list[TrainingSong] = []
    problems = _unheard_of([song for _, song in found], names)
    for (_, song), facts in zip(found, _check(found, progress, cache), strict=True):
        usable, wrong = assess(song, facts, names, sample_rate)
        problems += wrong
        if usable:
            songs.append(usable)
    train, valid = _split(songs, names, validation, share, seed)
    if not train:
        raise DatasetError(_no_songs(folders, names, problems, bool(valid)))
    if not valid:
        fault = "only one song can be used" if len(songs) == 1 else "no songs are held out"
        problems.append(ScanProblem(folders[0], fault, "there is no validation"))
    for source in names:
        if not any(song.known(source) for song in train):
            problems.append(
                ScanProblem(folders[0], f"no song has the stem {source}", "the model cannot learn it")
            )
    return Scan(names, train, valid, problems)


def _no_songs(
    folders: Sequence[Path], sources: Sequence[str], problems: Sequence[ScanProblem], valid: bool
) -> str:
    where = ", ".join(map(str, folders))
    if valid:
        return f"{where}: all songs are held out for validation; hold out fewer, or add songs"
    first = f" ({problems[0]})" if problems else ""
    return f"{where}: no song has usable stems for {', '.join(sources)}{first}; repair or add songs"


def _find(folders: Sequence[Path]) -> list[tuple[Path, Song]]:
    """Find the songs of all folders, each once, together with the folder that was searched."""
    songs: dict[tuple[Path, str], tuple[Path, Song]] = {}
    for folder in folders:
        for song in find_training_songs(folder):
            songs.setdefault((song.path.resolve(), song.name), (folder, song))
    return list(songs.values())


def _unheard_of(songs: Sequence[Song], sources: Sequence[str]) -> list[ScanProblem]:
    """Stems in `stems.yaml` that no song and no source has: most likely misspelt, and without any effect."""
    known = {*sources, *ordered_sources(songs)}
    return [
        ScanProblem(
            song.path,
            f"stems.yaml has the stem {name!r}, which no song and no source has",
            f"it is ignored{hint(name, sorted(known))}",
        )
        for song in songs
        for name in sorted((song.silent | song.unknown) - known - {"mixture"})
    ]


def _check(
    found: Sequence[tuple[Path, Song]], progress: ScanCallback | None, cache: Path | None
) -> list[SongFacts]:
    """Return the facts of each song, from the cache or by decoding its files."""
    caches = {folder: FactsCache(folder, cache) for folder, _ in found}
    facts = [caches[folder].get(song) for folder, song in found]
    total = sum(len(song.files) for _, song in found)
    done = sum(len(known.files) for known in facts if known)
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        jobs = {
            pool.submit(check_song, found[index][1]): index for index, known in enumerate(facts) if not known
        }
        for job in as_completed(jobs):
            folder, song = found[jobs[job]]
            facts[jobs[job]] = job.result()
            caches[folder].put(song, job.result())
            done += len(song.files)
            if progress:
                progress(done, total)
    finally:
        pool.shutdown(cancel_futures=True)
        for each in caches.values():
            each.save()
    return [known for known in facts if known]


def _split(
    songs: Sequence[TrainingSong],
    sources: Sequence[str],
    validation: Sequence[str] | None,
    share: float,
    seed: int,
) -> tuple[list[TrainingSong], list[TrainingSong]]:
    """Split songs into those for training and for validation; those in `valid/` are never trained on."""
    names = [song.name for song in songs]
    free = [song for song in songs if not song.song.held_out]
    if validation is not None:
        for name in validation:
            if name not in names:
                raise DatasetError(f"validation: no usable song is named {name!r}{hint(name, names)}")
        chosen = set(validation)
    elif len(free) < len(songs):
        return free, [song for song in songs if song.song.held_out]
    else:
        chosen = {song.name for song in free} & MUSDB_VALIDATION
        if not chosen or len(chosen) == len(free):
            chosen = _draw(free, sources, share, seed)
    return (
        [song for song in free if song.name not in chosen],
        [song for song in songs if song.name in chosen],
    )


def _draw(songs: Sequence[TrainingSong], sources: Sequence[str], share: float, seed: int) -> set[str]:
    """Choose a share of the songs by name, among those with all sources known if there are any."""
    if len(songs) < 2 or share <= 0:
        return set()
    count = min(max(1, round(share * len(songs))), len(songs) - 1)
    complete = [song for song in songs if all(map(song.known, sources))] or songs
    ranked = sorted(complete, key=lambda song: hashlib.sha256(f"{seed}/{song.name}".encode()).digest())
    return {song.name for song in ranked[:count]}
