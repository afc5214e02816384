"""Songs remixed from stems of several, matched in tempo and key: the paper's second stage of training.

"Realistic remix of tracks" in arXiv 2111.03600: fine-tuning on such songs gained 0.1 to 0.2 dB, while
training on them from the start lost. Letters in shapes: S sources, C channels, L samples.
"""

import json
import multiprocessing
import signal
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from hdemucs.audio import StemWriter
from hdemucs.datasets.songs import Song
from hdemucs.datasets.training_songs import MUSDB_VALIDATION, Found, find, ordered_sources
from hdemucs.errors import HDemucsError, OptionError, OutputError, TrainingError
from hdemucs.files import write_whole
from hdemucs.suggest import hint
from hdemucs.training.automix.analysis import Analysis, analyse_once
from hdemucs.training.automix.plan import Part, Recipe, plan
from hdemucs.training.data.repitch import MARGIN, Change

CHANNELS = 2
FOLDER = "automix"
"""Beside `train`: what was found in the songs, and of what each new song is made."""

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass
class Report:
    """What `automix` did.

    Attributes:
        written: folders of new songs.
        kept: folders that were there before.
        problems: why a song could not be used, by its name.
    """

    written: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)


def automix(
    folders: Sequence[Path],
    out: Path,
    *,
    songs: int,
    seed: int = 0,
    jobs: int = 1,
    seconds: float = 60.0,
    sources: Sequence[str] | None = None,
    validation: Collection[str] = MUSDB_VALIDATION,
    progress: Progress | None = None,
) -> Report:
    """Write `songs` new songs to `out/train/NAME/SOURCE.wav`, each source of another song where one matches.

    The same songs, seed and length give the same result with any number of jobs; more `songs` add to what is
    there, and so does another seed. What was stopped goes on where it was. `out/automix` keeps
    the beats and notes of the songs, and a recipe for each new one.

    Args:
        folders: of songs, as for a training: of MusDB, for one, `train` is taken.
        out: folder of the result.
        songs: how many there shall be of this seed.
        seed: of all choices.
        jobs: processes.
        seconds: length of a new song, at most; the paper trained on 30 s of them.
        sources: of the new songs; all that any song has if None.
        validation: names of songs that a model is to be validated on, by default MusDB's 14. These, and those
            in `valid`, are not used, but linked to in `out/valid`, so that a training on `out` finds them.
        progress: told of every song.

    Raises:
        OptionError: a number is out of range, or the result would go among the songs.
        OutputError: the result cannot be written.
        TrainingError: a folder has no songs, fewer than two can be used, or no stems go together.
    """
    if songs < 1 or jobs < 1 or not seconds > 0:
        raise OptionError(f"songs, jobs and seconds must be positive, not {songs}, {jobs} and {seconds:g}")
    report = Report()
    found = _find(folders, out)
    held_out = [one for one in found if one.held_out or one.song.name in validation]
    _link(held_out, out / "valid")
    usable = [_trusted(one) for one in found if one not in held_out]
    with _processes(jobs) as pool:
        analyses = _analyse(usable, out / FOLDER / "songs", pool, progress, report)
        originals = [song for song, _ in analyses]
        chosen = _sources(originals, sources)
        recipes = [
            plan([analysis for _, analysis in analyses], chosen, number, seed=seed, seconds=seconds)
            for number in _missing(out, chosen, songs, seed, report)
        ]
        tasks = [(recipe, originals, out) for recipe in recipes]
        for done, (_, folder) in enumerate(_each(_make, tasks, pool), 1):
            if isinstance(folder, HDemucsError):
                raise folder
            report.written.append(folder)
            if progress is not None:
                progress("mixing", done, len(tasks))
    report.written.sort()
    return report


def _find(folders: Sequence[Path], out: Path) -> list[Found]:
    found: list[Found] = []
    for folder in folders:
        if {folder.resolve(), (folder / "train").resolve()} & {out.resolve(), (out / "train").resolve()}:
            raise OptionError(f"{folder} would be both read and written; choose another output folder")
        found += find(folder)
    return found


def _link(songs: Sequence[Found], folder: Path) -> None:
    for song in songs:
        link = folder / song.path.name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not link.exists():
                link.symlink_to(song.path.absolute())
        except OSError as error:
            raise OutputError(f"{link}: no link to {song.path} ({error.strerror}); copy it there") from error


def _trusted(found: Found) -> Song:
    """A song without the stems that are said to be something else."""
    stems = {source for source in found.song.sources if source not in found.unknown | found.silent}
    return Song(found.song.name, {source: found.song.files[source] for source in sorted(stems)})


def _analyse(
    songs: Sequence[Song],
    cache: Path,
    pool: ProcessPoolExecutor | None,
    progress: Progress | None,
    report: Report,
) -> list[tuple[Song, Analysis]]:
    found: dict[int, Analysis] = {}
    tasks = [(song, cache) for song in songs]
    for done, (index, result) in enumerate(_each(_analyse_one, tasks, pool), 1):
        if isinstance(result, HDemucsError):
            report.problems[songs[index].name] = str(result)
        else:
            found[index] = result
        if progress is not None:
            progress("listening", done, len(tasks))
    if len(found) < 2:
        reasons = "".join(f"; {problem}" for problem in list(report.problems.values())[:1])
        raise TrainingError(f"remixing needs two songs or more, and {len(found)} can be used{reasons}")
    return [(songs[index], found[index]) for index in sorted(found)]


def _sources(songs: Sequence[Song], sources: Sequence[str] | None) -> list[str]:
    there = ordered_sources(songs)
    if sources is None:
        return there
    missing = [source for source in sources if source not in there]
    if missing:
        near = hint(missing[0], there) or f"; there are {', '.join(there)}"
        raise TrainingError(f"no song has {', '.join(missing)}{near}")
    return list(sources)


def _missing(out: Path, sources: Sequence[str], songs: int, seed: int, report: Report) -> list[int]:
    """Numbers of new songs that are not there yet; a recipe is written when its stems are."""
    missing = []
    for number in range(songs):
        name = f"remix_{seed}_{number:05d}"
        folder = out / "train" / name
        files = [*_stems(folder, sources).values(), _recipe(out, name)]
        if all(file.is_file() for file in files):
            report.kept.append(folder)
        else:
            missing.append(number)
    return missing


def _stems(folder: Path, sources: Sequence[str]) -> dict[str, Path]:
    return {source: folder / f"{source}.wav" for source in sources}


def _recipe(out: Path, name: str) -> Path:
    return out / FOLDER / "recipes" / f"{name}.json"


def _analyse_one(task: tuple[Song, Path]) -> Analysis:
    return analyse_once(*task)


def _make(task: tuple[Recipe, Sequence[Song], Path]) -> Path:
    recipe, songs, out = task
    rate = songs[next(iter(recipe.parts.values())).song].sample_rate
    stems = render(recipe, songs, rate)
    folder = out / "train" / recipe.name
    with StemWriter(_stems(folder, [*recipe.parts]), rate, CHANNELS, length=stems.shape[-1]) as writer:
        writer.write(stems)
    content = asdict(recipe)
    for part in content["parts"].values():
        part["song"] = songs[part["song"]].name
    write_whole(_recipe(out, recipe.name), json.dumps(content, indent=1))
    return folder


def render(recipe: Recipe, songs: Sequence[Song], sample_rate: int) -> Tensor:
    """The stems of a new song, `[S, C, L]`, in the order of the recipe.

    All are turned down alike if their sum would go beyond full scale.

    Raises:
        AudioError: a stem is missing or damaged.
    """
    length = round(recipe.seconds * sample_rate)
    stems = torch.stack(
        [_part(part, songs[part.song], source, length, sample_rate) for source, part in recipe.parts.items()]
    )
    return stems / max(1.0, 1.01 * float(stems.sum(0).abs().max()))


def _part(part: Part, song: Song, source: str, length: int, sample_rate: int) -> Tensor:
    change = Change(part.tempo, part.pitch)
    first = round(part.start * sample_rate) - MARGIN
    last = first + change.source_length(length)
    whole = song.read(source, sample_rate, CHANNELS)
    # Beyond the ends of the song is silence: padding with less than nothing cuts.
    passage = F.pad(whole, (-first, last - whole.shape[-1]))
    return change.apply(passage[None], length, sample_rate)[0]


@contextmanager
def _processes(jobs: int) -> Iterator[ProcessPoolExecutor | None]:
    """So many processes, or None if this one is enough."""
    if jobs == 1:
        yield None
        return
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _start_process)
    try:
        yield pool
    except BrokenProcessPool as error:
        raise TrainingError("a process was killed, likely for want of memory; use fewer jobs") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _each(
    function: Callable[[Item], Result], items: Sequence[Item], pool: ProcessPoolExecutor | None
) -> Iterator[tuple[int, Result | HDemucsError]]:
    """Index and result, or error, of each item, in the order in which they are done."""
    if pool is None:
        yield from ((index, _attempt(function, item)) for index, item in enumerate(items))
        return
    futures = {pool.submit(_attempt, function, item): index for index, item in enumerate(items)}
    for future in as_completed(futures):
        yield futures[future], future.result()


def _start_process() -> None:
    torch.set_num_threads(1)
    # It is the parent that is interrupted, and that ends its children.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _attempt(function: Callable[[Item], Result], item: Item) -> Result | HDemucsError:
    try:
        return function(item)
    except HDemucsError as error:
        return error
