"""Builds a `Trainer` from a configuration; each of its parts receives only the settings it needs."""

import torch
from accelerate import Accelerator

from hdemucs.datasets import Scan
from hdemucs.memory import keep_freed_memory
from hdemucs.model import Network
from hdemucs.optim.factory import build_optimizer
from hdemucs.optim.schedule import LinearDecay
from hdemucs.training.batches import Batches
from hdemucs.training.config.schema import Config
from hdemucs.training.data.augment import Augment
from hdemucs.training.data.excerpts import Excerpts, Order
from hdemucs.training.data.online_synthesis import OnlineSynthesis
from hdemucs.training.data.repitch import Repitch
from hdemucs.training.objective.objective import Objective
from hdemucs.training.objective.penalty import SingularValuePenalty
from hdemucs.training.run import Run
from hdemucs.training.selection import CheckpointSelection
from hdemucs.training.trainer import StepCallback, Trainer
from hdemucs.training.validation import Validation


def build_trainer(
    config: Config, network: Network, songs: Scan, run: Run, on_step: StepCallback | None = None
) -> Trainer:
    """Build a trainer that is ready to start, or to continue from the run's checkpoint.

    Args:
        config: Checked configuration.
        network: Network to train.
        songs: Songs for training and validation.
        run: Folder of the run.
        on_step: Called after each step on the main process.
    """
    keep_freed_memory()
    if network.longest_segment is not None:
        # Such a network separates segments of the length that it was last trained on.
        network.segment = config.excerpts.segment
    accelerator = Accelerator(cpu=on_cpu(config), mixed_precision=config.precision)
    network = network.to(accelerator.device)
    batches = _batches(config, network, songs, run, accelerator)
    objective = _objective(config, network)
    # The selection copies the network, so it must come before `Trainer`: accelerate changes the forward pass.
    selection = _selection(config, network, songs, objective, run, accelerator)
    return Trainer(
        network,
        objective,
        build_optimizer(
            config.optimizer.kind,
            [parameter for parameter in network.parameters() if parameter.requires_grad],
            lr=config.optimizer.lr,
            betas=tuple(config.optimizer.betas),
        ),
        LinearDecay(config.optimizer.lr, config.epochs * batches.order.steps, config.optimizer.decay),
        batches,
        selection,
        run,
        accelerator,
        epochs=config.epochs,
        validate_every=config.validation.every,
        accumulate=config.accumulate,
        clip=config.optimizer.clip,
        compile=config.compile,
        checkpoint_minutes=config.checkpoint_minutes,
        seed=config.seed,
        on_step=on_step,
    )


def on_cpu(config: Config) -> bool:
    """Whether to train on the CPU; by default, accelerate would also choose devices such as MPS."""
    return config.device == "cpu" or (config.device is None and not torch.cuda.is_available())


def _batches(config: Config, network: Network, songs: Scan, run: Run, accelerator: Accelerator) -> Batches:
    rank, world = accelerator.process_index, accelerator.num_processes
    rate, settings = network.sample_rate, config.augment
    shift = round(config.excerpts.shift * rate)
    length = network.valid_length(round(config.excerpts.segment * rate)) + shift
    repitch = Repitch(**vars(settings.repitch)) if settings.repitch.probability else None
    synthesis = OnlineSynthesis(
        config.synthesis,
        run.songs,
        epochs=config.epochs,
        seed=config.seed,
        main=accelerator.is_main_process,
    )

    def excerpts(epoch: int) -> Excerpts:
        return Excerpts(
            [*songs.train, *synthesis.songs(epoch)],
            network.sources,
            sample_rate=rate,
            audio_channels=network.audio_channels,
            seconds=length / rate,
            stride=config.excerpts.stride,
            repitch=repitch,
            seed=config.seed,
        )

    return Batches(
        excerpts,
        # All epochs have the same number of excerpts.
        Order(
            len(excerpts(0)), config.batch_size, config.seed, config.steps_per_epoch, rank=rank, world=world
        ),
        Augment(
            shift=shift,
            flip_channels=settings.flip_channels,
            flip_sign=settings.flip_sign,
            gain=(settings.gain[0], settings.gain[1]),
            remix_group=settings.remix_group,
            mute=settings.mute,
            mono=settings.mono,
        ),
        synthesis,
        workers=config.excerpts.workers,
        seed=config.seed,
        device=accelerator.device,
        rank=rank,
    )


def _objective(config: Config, network: Network) -> Objective:
    penalty = SingularValuePenalty(**vars(config.penalty)) if config.penalty.weight else None
    return Objective(config.loss.kind, network.sources, config.loss.weights, penalty)


def _selection(
    config: Config, network: Network, songs: Scan, objective: Objective, run: Run, accelerator: Accelerator
) -> CheckpointSelection:
    return CheckpointSelection(
        network,
        Validation(songs.valid, objective, config.validation.overlap, accelerator),
        run.best if accelerator.is_main_process else None,
        per_step=config.averages.per_batch,
        per_epoch=config.averages.per_epoch,
        criterion=config.validation.select,
        provenance={"init": config.init},
    )
