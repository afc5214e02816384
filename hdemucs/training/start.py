"""Starting and resuming a run: configuration, songs, network, trainer."""

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.state import AcceleratorState

from hdemucs.checkpoint import load, save
from hdemucs.datasets import Scan, ScanCallback, scan
from hdemucs.errors import TrainingError
from hdemucs.files import write_error, write_whole
from hdemucs.model import NETWORKS, Bag, Network
from hdemucs.training.build import build_trainer, on_cpu
from hdemucs.training.config.load import dump, load_config
from hdemucs.training.config.schema import Config, fixed_settings
from hdemucs.training.data.online_synthesis import require_synthesis
from hdemucs.training.finetune import freeze, initialise
from hdemucs.training.run import Run
from hdemucs.training.together import main_first
from hdemucs.training.trainer import StepCallback

log = logging.getLogger("hdemucs.training")


def train(
    config: str,
    overrides: Sequence[str] = (),
    out: Path | None = None,
    *,
    progress: StepCallback | None = None,
    scanning: ScanCallback | None = None,
) -> Run:
    """Start a run and train to its end.

    Args:
        config: Name of a published configuration, or path of a YAML file.
        overrides: Settings that replace those of the configuration, each `key=value`.
        out: Folder of the run; None for `runs/NAME`.
        progress: Called after each step.
        scanning: Called during the scan of the songs, with the number of files checked and their total.

    Returns:
        The run; its `best` is the model file.

    Raises:
        TrainingError: The configuration or the songs cannot be used, another process trains into the folder,
            or the loss became infinite or NaN.
        CheckpointError, UnknownModelError, DownloadError: The model to start from cannot be loaded.
        SynthesisError, WorkerError: Songs cannot be synthesised, or a worker process was killed.
        OutputError: The run cannot be written.
        KeyboardInterrupt: Training was interrupted; the run can be resumed.
    """
    settings = load_config(config, overrides)
    require_synthesis(settings.synthesis)
    run = Run(out or Path("runs") / Path(config).stem)
    with _processes(settings) as processes, _locked(run, processes.is_main_process):
        if processes.is_main_process:
            run.refuse_existing()
        with _discarded_unless_begun(run, processes.is_main_process):
            with _logging_to(run, processes.is_main_process), main_first(processes):
                if processes.is_main_process:
                    model, songs = _prepare(settings, scanning)
                    log.info("%s", songs.report())
                    write_whole(run.config, dump(settings))
                    # Written last, since this file marks the folder as a run.
                    save(model, run.initial, provenance=fixed_settings(settings))
            _train(run, settings, processes, progress, scanning)
    return run


def check(
    config: str, overrides: Sequence[str] = (), *, scanning: ScanCallback | None = None
) -> tuple[Config, Network, Scan]:
    """Prepare a run as `train` does, without writing anything or training; same arguments and errors.

    Returns:
        The resolved configuration, the network before training, and the songs.
    """
    settings = load_config(config, overrides)
    require_synthesis(settings.synthesis)
    return settings, *_prepare(settings, scanning)


def resume(
    folder: Path, *, progress: StepCallback | None = None, scanning: ScanCallback | None = None
) -> Run:
    """Resume a run from its last checkpoint.

    The run continues just as if it had not been interrupted, exactly so on a CPU, as long as its songs and
    its `config.yaml` are unchanged. To train for longer, raise `epochs` in that file.

    Args:
        folder: Folder of the run.
        progress: Called after each step.
        scanning: Called during the scan of the songs, with the number of files checked and their total.

    Returns:
        The run; its `best` is the model file.

    Raises:
        TrainingError: The folder does not hold a run, or any other error of `train`.
    """
    run = Run.existing(folder)
    settings = load_config(str(run.config))
    require_synthesis(settings.synthesis)
    with _processes(settings) as processes, _locked(run, processes.is_main_process):
        _train(run, settings, processes, progress, scanning)
    return run


def _prepare(config: Config, scanning: ScanCallback | None) -> tuple[Network, Scan]:
    """Create the network before training, and scan the songs for it."""
    if config.init:
        model, inherited = initialise(config.init, config.sources, seed=config.seed)
        log.info("%s", inherited)
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


def _scan(
    config: Config, sources: Sequence[str] | None, sample_rate: int, scanning: ScanCallback | None
) -> Scan:
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
        raise TrainingError(
            f"loss.weights: there is no source {unknown[0]}; the sources are {', '.join(songs.sources)}"
        )
    return songs


def _train(
    run: Run,
    config: Config,
    processes: PartialState,
    progress: StepCallback | None,
    scanning: ScanCallback | None,
) -> None:
    """Train the network of a run, from its checkpoint if there is one."""
    with _logging_to(run, processes.is_main_process):
        model = load(run.initial)
        run.refuse_changes(fixed_settings(config))
        assert not isinstance(model, Bag)
        # The main process scans the songs first, unless they are cached; the others read the cache.
        with main_first(processes):
            songs = _scan(config, model.sources, model.sample_rate, scanning)
        if config.freeze:
            log.info("%d parameters are frozen", freeze(model, config.freeze))
        parameters = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
        log.info("%s with %.2f M trainable parameters", type(model).__name__, parameters / 1e6)
        build_trainer(config, model, songs, run, progress).train()


@contextmanager
def _processes(config: Config) -> Iterator[PartialState]:
    """Join the processes that torchrun or accelerate launched to train together; without these, one alone."""
    processes = PartialState(cpu=on_cpu(config))
    try:
        yield processes
    finally:
        # accelerate keeps its settings for the lifetime of the process; the next run may need others.
        processes.destroy_process_group()
        AcceleratorState._reset_state(reset_partial_state=True)


def _locked(run: Run, main: bool) -> AbstractContextManager[None]:
    """Lock of a run's folder, which the main process holds for all that train together."""
    return run.locked() if main else nullcontext()


def _discarded_unless_begun(run: Run, main: bool) -> AbstractContextManager[None]:
    return run.discarded_unless_begun() if main else nullcontext()


@contextmanager
def _logging_to(run: Run, main: bool) -> Iterator[None]:
    """Write log messages to the run's folder on the main process; keep the other processes silent.

    Raises:
        OutputError: The file cannot be written.
    """
    if not main:
        yield
        return
    try:
        run.folder.mkdir(parents=True, exist_ok=True)
        handler = _LogFile(run.log, encoding="utf-8")
    except OSError as error:
        raise write_error(run.log, error) from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before)
        # What could not be written has been reported, and closing would try it again.
        with suppress(OSError):
            handler.close()


class _LogFile(logging.FileHandler):
    """A log that cannot be written ends the run, as every other file of it does."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Raise the error that writing a message has raised, rather than print its traceback.

        Raises:
            OutputError: The file cannot be written.
        """
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            raise write_error(Path(self.baseFilename), error) from error
        super().handleError(record)
