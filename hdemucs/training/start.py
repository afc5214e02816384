"""Beginning a run and going on with one: configuration, songs, network, trainer."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.state import AcceleratorState

from hdemucs.checkpoint import load, save
from hdemucs.datasets.scan import Scan, scan
from hdemucs.errors import TrainingError
from hdemucs.files import write_whole
from hdemucs.model import NETWORKS, Bag, Network
from hdemucs.training.config.load import dump, load_config
from hdemucs.training.config.schema import Config
from hdemucs.training.finetune import freeze, initialise
from hdemucs.training.run import Run
from hdemucs.training.trainer import Step, Trainer, on_cpu

log = logging.getLogger("hdemucs.training")

Progress = Callable[[Step], None]
Scanning = Callable[[int, int], None]


def train(
    config: str,
    overrides: Sequence[str] = (),
    out: Path | None = None,
    *,
    progress: Progress | None = None,
    scanning: Scanning | None = None,
) -> Run:
    """Begin a run and train to its end.

    Args:
        config: name of a published configuration, or path of a YAML file.
        overrides: `key=value` each.
        out: folder of the run; `runs/NAME` if None.
        progress: called after each step.
        scanning: called with the files checked and all files, while the songs are looked through.

    Returns:
        The run; its `best` is the model file.

    Raises:
        TrainingError: the configuration or the songs cannot be trained with, or the loss became infinite.
        CheckpointError, UnknownModelError, DownloadError: the model to start from cannot be had.
        OutputError: the run cannot be written.
        KeyboardInterrupt: it was interrupted, and can be gone on with.
    """
    settings = load_config(config, overrides)
    run = Run(out or Path("runs") / Path(config).stem)
    processes = PartialState(cpu=on_cpu(settings))
    if processes.is_main_process:
        run.refuse_existing()
    with _logging_to(run, processes.is_main_process), processes.main_process_first():
        if processes.is_main_process:
            model, songs = _prepare(settings, scanning)
            log.info("%s", songs.report())
            write_whole(run.config, dump(settings))
            # Last, since it is what makes the folder a run.
            save(model, run.initial, provenance={"init": settings.init, "seed": settings.seed})
    return _go_on(run, settings, progress, scanning)


def check(
    config: str, overrides: Sequence[str] = (), *, scanning: Scanning | None = None
) -> tuple[Config, Network, Scan]:
    """All that `train` does before it trains, without writing anything; arguments and errors as there.

    Returns:
        The resolved configuration, the network at its beginning, and the songs.
    """
    settings = load_config(config, overrides)
    return settings, *_prepare(settings, scanning)


def resume(folder: Path, *, progress: Progress | None = None, scanning: Scanning | None = None) -> Run:
    """Go on with a run from its last checkpoint; arguments, result and errors as for `train`.

    What it would have done is repeated, exactly on a CPU, as long as its songs and its `config.yaml` are as
    they were. (To train for longer, raise `epochs` there.)
    """
    run = Run.existing(folder)
    return _go_on(run, load_config(str(run.config), []), progress, scanning)


def _prepare(config: Config, scanning: Scanning | None) -> tuple[Network, Scan]:
    """The network at its beginning, and the songs for it."""
    if config.init:
        model, carried = initialise(config.init, config.sources, seed=config.seed)
        log.info("%s", carried)
        return model, _scan(config, model.sources, model.sample_rate, scanning)
    songs = _scan(config, config.sources, config.excerpts.sample_rate, scanning)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return _new_network(config, songs.sources), songs


def _new_network(config: Config, sources: Sequence[str]) -> Network:
    arguments = dict(config.model)
    architecture = NETWORKS[arguments.pop("architecture")]
    return architecture(
        sources=sources,
        audio_channels=config.excerpts.audio_channels,
        sample_rate=config.excerpts.sample_rate,
        **arguments,
    )


def _scan(config: Config, sources: Sequence[str] | None, sample_rate: int, scanning: Scanning | None) -> Scan:
    songs = scan(
        [Path(folder) for folder in config.data],
        sources,
        validation=config.validation.songs,
        share=config.validation.share,
        seed=config.seed,
        sample_rate=sample_rate,
        progress=scanning,
    )
    if unknown := sorted(config.loss.weights.keys() - set(songs.sources)):
        raise TrainingError(f"loss.weights: there is no source {unknown[0]}, only {', '.join(songs.sources)}")
    return songs


def _go_on(run: Run, config: Config, progress: Progress | None, scanning: Scanning | None) -> Run:
    processes = PartialState(cpu=on_cpu(config))
    with _logging_to(run, processes.is_main_process):
        model = load(run.initial)
        assert not isinstance(model, Bag)
        # The songs were looked through, or are by the main process first: the others read what it found.
        with processes.main_process_first():
            songs = _scan(config, model.sources, model.sample_rate, scanning)
        if config.freeze:
            log.info("%d parameters are frozen", freeze(model, config.freeze))
        parameters = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
        log.info(
            "%s: %.2f M trained parameters, sources %s; %d songs to train on, %d to validate with",
            type(model).__name__,
            parameters / 1e6,
            ", ".join(model.sources),
            len(songs.train),
            len(songs.valid),
        )
        try:
            Trainer(config, model, songs, run, progress).train()
        finally:
            # accelerate keeps what it was set to for as long as the process lives; the next run may differ.
            processes.destroy_process_group()
            AcceleratorState._reset_state(reset_partial_state=True)
    return run


@contextmanager
def _logging_to(run: Run, main: bool) -> Iterator[None]:
    """Keep what is logged in the run's folder, on the main process; let the others be silent."""
    if not main:
        yield
        return
    run.folder.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(run.log, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before)
        handler.close()
