"""Remixes of matching songs ("Realistic remix of tracks", arXiv 2111.03600).

Letters in shapes: S sources, C channels, L samples.
"""

import json
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from hdemucs.audio import StemWriter
from hdemucs.datasets import MUSDB_VALIDATION, Song, find_training_songs, ordered_sources
from hdemucs.errors import HDemucsError, OptionError, OutputError, TrainingError
from hdemucs.files import write_whole
from hdemucs.suggest import hint
from hdemucs.training.automix.analysis import Analysis, analyse_once
from hdemucs.training.automix.plan import RemixPart, RemixPlan, plan_remix
from hdemucs.training.data.repitch import MARGIN, Change
from hdemucs.workers import as_done, worker_pool

CHANNELS = 2
FOLDER = "automix"
"""Folder beside `train` that holds the analyses of the songs and the recipe of each remix."""

RemixCallback = Callable[[str, int, int], None]
"""Called with the current stage, the number of songs done in it, and their total."""


@dataclass
class RemixReport:
    """Outcome of `automix`.

    Attributes:
        written: Folders of the remixes that were written.
        kept: Folders of the remixes that already existed.
        outdated: Those of `kept` that were made from other songs, for other sources or of another length.
        problems: Reason why each unusable song could not be used, by song name.
    """

    written: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)
    outdated: list[Path] = field(default_factory=list)
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
    progress: RemixCallback | None = None,
) -> RemixReport:
    """Write remixes to `out/train/NAME/SOURCE.wav`, with sources from different songs where these match.

    The same songs, seed and duration give the same remixes with any number of jobs. Existing remixes are
    kept, so more `songs` or another seed adds to them, and an interrupted call continues where it stopped.
    `out/automix` holds the beats and notes of the songs, and the recipe of each remix.

    Args:
        folders: Folders of songs, laid out as for training; of MusDB, for example, `train` is used.
        out: Output folder.
        songs: Number of remixes for this seed.
        seed: Seed of all choices.
        jobs: Number of processes.
        seconds: Maximum duration of a remix in seconds; the paper trained on 30 s.
        sources: Sources of the remixes; None for every source that any song has.
        validation: Names of the validation songs, by default MusDB's 14. These songs, and those in `valid`,
            are not remixed but linked from `out/valid`, where training on `out` finds them.
        progress: Called after every song.

    Raises:
        OptionError: A number is out of range, or `out` is one of `folders`.
        OutputError: The result cannot be written.
        TrainingError: A folder has no songs, fewer than two songs can be used, or no stems match.
        AudioError: A stem was damaged or removed after its song was analysed.
        WorkerError: A worker process was killed.
    """
    if songs < 1 or jobs < 1 or not seconds > 0:
        raise OptionError(f"songs, jobs and seconds must be positive, not {songs}, {jobs} and {seconds:g}")
    report = RemixReport()
    found = _find(folders, out)
    held_out = [song for song in found if song.held_out or song.name in validation]
    _link(held_out, out / "valid")
    usable = [_trusted(song) for song in found if song not in held_out]
    with worker_pool(jobs, torch_threads=1) if jobs > 1 else nullcontext() as pool:
        analyses = _analyse(usable, out / FOLDER / "songs", pool, progress, report)
        originals = [song for song, _ in analyses]
        chosen = _sources(originals, sources)

        plans = [
            plan_remix([analysis for _, analysis in analyses], chosen, number, seed=seed, seconds=seconds)
            for number in range(songs)
        ]
        tasks = [(plan, originals, out) for plan in _missing(plans, originals, out, report)]
        for done, (_, folder) in enumerate(as_done(_write, tasks, pool), 1):
            report.written.append(folder)
            if progress is not None:
                progress("mixing", done, len(tasks))
    report.written.sort()
    return report


def _find(folders: Sequence[Path], out: Path) -> list[Song]:
    songs: list[Song] = []
    for folder in folders:
        if {folder.resolve(), (folder / "train").resolve()} & {out.resolve(), (out / "train").resolve()}:
            raise OptionError(f"{folder} would be both read and written; choose another output folder")
        songs += find_training_songs(folder)
    return songs


def _link(songs: Sequence[Song], folder: Path) -> None:
    for song in songs:
        link = folder / song.path.name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not link.exists():
                link.symlink_to(song.path.absolute())
        except OSError as error:
            raise OutputError(
                f"{link}: cannot be linked to {song.path} ({error.strerror}); copy the song there"
            ) from error


def _trusted(song: Song) -> Song:
    """The song without the stems that `stems.yaml` declares to be silent or unknown."""
    stems = {source for source in song.sources if source not in song.unknown | song.silent}
    return Song(song.path, {source: song.files[source] for source in sorted(stems)})


def _analyse(
    songs: Sequence[Song],
    cache: Path,
    pool: ProcessPoolExecutor | None,
    progress: RemixCallback | None,
    report: RemixReport,
) -> list[tuple[Song, Analysis]]:
    """Analyse songs; returns those that can be used, with their analyses."""
    analyses: dict[int, Analysis] = {}
    tasks = [(song, cache) for song in songs]
    for done, (index, result) in enumerate(as_done(_analyse_one, tasks, pool), 1):
        if isinstance(result, HDemucsError):
            report.problems[songs[index].name] = str(result)
        else:
            analyses[index] = result
        if progress is not None:
            progress("analysing", done, len(tasks))
    if len(analyses) < 2:
        reasons = "".join(f"; {problem}" for problem in list(report.problems.values())[:1])
        raise TrainingError(f"remixing needs at least two usable songs, not {len(analyses)}{reasons}")
    return [(songs[index], analyses[index]) for index in sorted(analyses)]


def _analyse_one(task: tuple[Song, Path]) -> Analysis | HDemucsError:
    try:
        return analyse_once(*task)
    except HDemucsError as error:
        return error


def _sources(songs: Sequence[Song], sources: Sequence[str] | None) -> list[str]:
    available = ordered_sources(songs)
    if sources is None:
        return available
    missing = [source for source in sources if source not in available]
    if missing:
        near = hint(missing[0], available) or f"; available sources are {', '.join(available)}"
        raise TrainingError(f"no song has {', '.join(missing)}{near}")
    return list(sources)


def _missing(
    plans: Sequence[RemixPlan], songs: Sequence[Song], out: Path, report: RemixReport
) -> list[RemixPlan]:
    """Remixes that do not exist yet; a recipe is written after its stems."""
    missing = []
    for plan in plans:
        folder, recipe = out / "train" / plan.name, _recipe(out, plan.name)
        if not all(file.is_file() for file in [*_stems(folder, [*plan.parts]).values(), recipe]):
            missing.append(plan)
            continue
        report.kept.append(folder)
        if recipe.read_text(encoding="utf-8", errors="replace") != _described(plan, songs):
            report.outdated.append(folder)
    return missing


def _stems(folder: Path, sources: Sequence[str]) -> dict[str, Path]:
    return {source: folder / f"{source}.wav" for source in sources}


def _recipe(out: Path, name: str) -> Path:
    return out / FOLDER / "recipes" / f"{name}.json"


def _write(task: tuple[RemixPlan, Sequence[Song], Path]) -> Path:
    """Write the stems and the recipe of a remix; returns its folder."""
    plan, songs, out = task
    rate = songs[next(iter(plan.parts.values())).song].sample_rate
    stems = render(plan, songs, rate)
    folder = out / "train" / plan.name
    with StemWriter(_stems(folder, [*plan.parts]), rate, CHANNELS, length=stems.shape[-1]) as writer:
        writer.write(stems)
    write_whole(_recipe(out, plan.name), _described(plan, songs))
    return folder


def _described(plan: RemixPlan, songs: Sequence[Song]) -> str:
    """Content of a remix's recipe: the plan, with names of songs."""
    recipe = asdict(plan)
    for part in recipe["parts"].values():
        part["song"] = songs[part["song"]].name
    return json.dumps(recipe, indent=1)


def render(plan: RemixPlan, songs: Sequence[Song], sample_rate: int) -> Tensor:
    """Render the stems of a remix, scaled down together if their sum would exceed full scale.

    Args:
        plan: What to render.
        songs: Songs that the plan's indices refer to.
        sample_rate: Sample rate of the remix in Hz.

    Returns:
        `[S, C, L]`, in the order of the plan's parts.

    Raises:
        AudioError: A stem is missing or damaged.
    """
    length = round(plan.seconds * sample_rate)
    stems = torch.stack(
        [
            _render_part(part, songs[part.song], source, length, sample_rate)
            for source, part in plan.parts.items()
        ]
    )
    return stems / max(1.0, 1.01 * float(stems.sum(0).abs().max()))


def _render_part(part: RemixPart, song: Song, source: str, length: int, sample_rate: int) -> Tensor:
    change = Change(part.tempo, part.pitch)
    start = round(part.start * sample_rate) - MARGIN
    end = start + change.source_length(length)
    stem = song.read(source, sample_rate, CHANNELS)
    # Positive padding extends the song with silence; negative padding crops it.
    excerpt = F.pad(stem, (-start, end - stem.shape[-1]))
    return change.apply(excerpt[None], length, sample_rate)[0]
