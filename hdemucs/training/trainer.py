"""The loop: excerpts, augmentation, loss, step, averages, validation, checkpoint.

The recipe is that of arXiv 2111.03600, section 5. Letters in shapes: B batch, S sources, R = S + 1 rows (the
last is the rest of the mixture), C channels, L samples.
"""

import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from safetensors.torch import save as to_bytes
from torch import Tensor
from torch.utils.data import DataLoader

from hdemucs.datasets.scan import Scan
from hdemucs.errors import HDemucsError, TrainingError
from hdemucs.files import write_whole
from hdemucs.memory import keep_freed_memory
from hdemucs.model import Network
from hdemucs.training.config.schema import Config
from hdemucs.training.curves import Curves
from hdemucs.training.data.augment import Augment
from hdemucs.training.data.excerpts import Excerpts, Order
from hdemucs.training.data.online_synthesis import OnlineSynthesis
from hdemucs.training.data.repitch import Repitch
from hdemucs.training.interrupt import Interrupt, leave_interrupts_to_parent
from hdemucs.training.objective.losses import reconstruction
from hdemucs.training.objective.penalty import singular_value_penalty
from hdemucs.training.run import Run
from hdemucs.training.selection import Candidates

log = logging.getLogger("hdemucs.training")


@dataclass(frozen=True)
class Step:
    """What a progress display wants to know after each step.

    Attributes:
        epoch, step: done, from 1.
        epochs, steps: of the run, and of each epoch.
        loss: of this step.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float


class Trainer:
    """Trains a network and keeps the best of it and of its averages.

    All that is random follows from the seed and the number of the step: a run that is gone on with repeats
    what it would have done, exactly on a CPU with as many threads.

    Args:
        config: checked, see `hdemucs.training.config.schema`.
        model: to train.
        songs: to train on and to validate with.
        run: folder of the run; its checkpoint is gone on from if there is one.
        progress: called after each step on the main process.
    """

    def __init__(
        self,
        config: Config,
        model: Network,
        songs: Scan,
        run: Run,
        progress: Callable[[Step], None] | None = None,
    ) -> None:
        self.config = config
        self.run = run
        self.progress = progress
        self.accelerator = Accelerator(cpu=on_cpu(config), mixed_precision=config.precision)
        self.device = self.accelerator.device
        self.main = self.accelerator.is_main_process
        keep_freed_memory()
        self.model = model.train().to(self.device)
        self.candidates = Candidates(self.model, config, songs, run, self.accelerator)
        self.parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        first, second = config.optimizer.betas
        optimizer = torch.optim.Adam(self.parameters, config.optimizer.lr, betas=(first, second))
        network: Any = torch.compile(self.model, dynamic=False) if config.compile else self.model
        self.network, self.optimizer = self.accelerator.prepare(network, optimizer)
        weights = [config.loss.weights.get(source, 1.0) for source in self.model.sources]
        self.weights = torch.tensor(weights, device=self.device)
        self._prepare_data(songs)
        self.curves = Curves(run)
        self.epoch = 0
        self.step = 0
        self.total_loss = 0.0
        self._restore()

    def _prepare_data(self, songs: Scan) -> None:
        augment = self.config.augment
        self.songs = songs.train
        self.made = OnlineSynthesis(
            self.config.synthesis,
            self.run.made,
            epochs=self.config.epochs,
            seed=self.config.seed,
            main=self.main,
        )
        self.augment = Augment(
            shift=self._shift,
            flip_channels=augment.flip_channels,
            flip_sign=augment.flip_sign,
            gain=(augment.gain[0], augment.gain[1]),
            remix_group=augment.remix_group,
            mute=augment.mute,
            mono=augment.mono,
        )
        self.order = Order(
            len(self.excerpts(0)),
            self.config.batch_size,
            self.config.seed,
            self.config.steps_per_epoch,
            rank=self.accelerator.process_index,
            world=self.accelerator.num_processes,
        )

    @property
    def _shift(self) -> int:
        """Largest random shift, in frames."""
        return round(self.config.excerpts.shift * self.model.sample_rate)

    def excerpts(self, epoch: int) -> Excerpts:
        """All excerpts of an epoch: as many in each."""
        settings, repitch, rate = self.config.excerpts, self.config.augment.repitch, self.model.sample_rate
        length = self.model.valid_length(round(settings.segment * rate)) + self._shift
        return Excerpts(
            [*self.songs, *self.made.of(epoch)],
            self.model.sources,
            sample_rate=rate,
            audio_channels=self.model.audio_channels,
            seconds=length / rate,
            stride=settings.stride,
            repitch=Repitch(**vars(repitch)) if repitch.probability else None,
            seed=self.config.seed,
        )

    @property
    def total_steps(self) -> int:
        """Done since the run began."""
        return self.epoch * self.order.steps + self.step

    def train(self) -> None:
        """Train until the last epoch, or until Ctrl-C, upon which the step is finished and all is saved.

        Raises:
            TrainingError: the loss or its gradient is not finite.
            AudioError: a song can no longer be read.
            OutputError: the run cannot be written; the last whole checkpoint stays.
            KeyboardInterrupt: after saving.
        """
        started, before = time.monotonic(), self.epoch + self.step / self.order.steps
        with Interrupt() as interrupt, self.made:
            while self.epoch < self.config.epochs:
                whole = self._run_epoch(interrupt)
                if whole:
                    self._end_epoch()
                    an_epoch = (time.monotonic() - started) / (self.epoch - before)
                    log.info(
                        "time left: %s", timedelta(0, round(an_epoch * (self.config.epochs - self.epoch)))
                    )
                if not whole or (self.epoch < self.config.epochs and self._agreed(interrupt.asked)):
                    log.info("stopped; go on with: hdemucs train --resume %s", self.run.folder)
                    raise KeyboardInterrupt
        log.info("done: the model is %s", self.run.best)

    def _run_epoch(self, interrupt: Interrupt) -> bool:
        """The steps of an epoch; False if it was interrupted and its steps so far are saved."""
        if self._agreed(not self.made.ready(self.epoch, interrupt)):
            self._save()
            return False
        saved = time.monotonic()
        for stems, known in self._batches():
            values = self.train_step(stems, known)
            self.step += 1
            self.total_loss += values["loss"]
            if self.main:
                self._report_step(values)
            stop = self._agreed(interrupt.asked)
            due = self._agreed(time.monotonic() - saved > 60 * self.config.checkpoint_minutes)
            # After the last step comes validation, and a checkpoint behind it.
            if (stop or due) and self.step < self.order.steps:
                self._save()
                saved = time.monotonic()
                if stop:
                    return False
        return True

    def _end_epoch(self) -> None:
        record: dict[str, Any] = {
            "kind": "epoch",
            "epoch": self.epoch + 1,
            "total_steps": self.total_steps,
            "train": {"loss": self.total_loss / self.order.steps},
        }
        valid = self.candidates.after_epoch(self.epoch + 1, self.total_steps)
        if valid is not None:
            record["valid"] = valid
        self.epoch, self.step, self.total_loss = self.epoch + 1, 0, 0.0
        if self.main:
            self.run.record(record)
            log.info("%s", _in_words(record))
            self.curves.draw()
        self._save()

    def _agreed(self, wish: bool) -> bool:
        """Whether any process wishes, known to all of them."""
        if self.accelerator.num_processes == 1:
            return wish
        votes: Any = self.accelerator.reduce(torch.tensor(float(wish), device=self.device), "sum")
        return bool(votes > 0)

    # --- one step

    @property
    def rate(self) -> float:
        """Learning rate of this step: the same until the last part, then falling in a line to 0."""
        left = 1 - self.total_steps / (self.config.epochs * self.order.steps)
        settings = self.config.optimizer
        return settings.lr * min(1.0, left / settings.decay) if settings.decay else settings.lr

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """What is left of this epoch's batches, augmented."""
        loader: Any = DataLoader(
            self.excerpts(self.epoch),
            batch_sampler=list(self.order.batches(self.epoch, self.step)),
            num_workers=self.config.excerpts.workers,
            worker_init_fn=leave_interrupts_to_parent,
            pin_memory=self.device.type == "cuda",
        )
        with _plain_errors():
            for stems, known in loader:
                generator = self._generator("augment", self.accelerator.process_index)
                yield self.augment(stems.to(self.device, non_blocking=True), known.to(self.device), generator)

    def _generator(self, purpose: str, rank: int = 0) -> torch.Generator:
        """Random numbers for a purpose in this step: the same whenever it is done."""
        words = [self.config.seed, self.epoch, self.step, rank, *purpose.encode()]
        seed = int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> np.uint64(1))
        return torch.Generator(self.device).manual_seed(seed)

    def train_step(self, stems: Tensor, known: Tensor) -> dict[str, float]:
        """One step on this process's part of a batch; returns what `backward` does, `gradient` and `lr`.

        Args:
            stems: `[B, R, C, L]`, augmented.
            known: `[B, S]`.

        Raises:
            TrainingError: the loss or its gradient is not finite; the weights are as they were.
        """
        self.model.train()
        self.optimizer.zero_grad()
        values = self.backward(stems, known)
        limit = self.config.optimizer.clip or math.inf
        values["gradient"] = float(self.accelerator.clip_grad_norm_(self.parameters, limit))
        # In fp16 a gradient may overflow: its step is left out, and the scale of the loss lowered.
        watched = ("loss",) if self.config.precision == "fp16" else ("loss", "gradient")
        if not all(math.isfinite(values[key]) for key in watched):
            self._give_up(stems, known, values)
        values["lr"] = self.rate
        for group in self.optimizer.param_groups:
            group["lr"] = values["lr"]
        self.optimizer.step()
        self.candidates.after_step()
        return values

    def backward(self, stems: Tensor, known: Tensor) -> dict[str, float]:
        """Add the gradients of one batch, of which each process has a part.

        Args:
            stems: `[B, R, C, L]`.
            known: `[B, S]`.

        Returns:
            `loss`, the mean over all processes with the penalty; the `penalty` where there is one; and
            `loss/SOURCE`, of each source alone, NaN where no example of some process knows it.
        """
        halves = zip(stems.chunk(self.config.accumulate), known.chunk(self.config.accumulate), strict=True)
        parts = list(halves)
        total = torch.zeros((), device=self.device)
        sources: list[Tensor] = []
        values: dict[str, float] = {}
        for index, (part, part_known) in enumerate(parts):
            last = index == len(parts) - 1
            # Gradients go between processes once a batch.
            with contextlib.nullcontext() if last else self.accelerator.no_sync(self.network):
                with self.accelerator.autocast():
                    estimates = self.network(part.sum(1))
                loss, by_source = reconstruction(
                    estimates.float(), part[:, :-1], part_known, self.config.loss.kind, self.weights
                )
                loss = loss * len(part) / len(stems)
                if last and self.config.penalty.weight:
                    penalty = self._penalty()
                    loss = loss + self.config.penalty.weight * penalty
                    values["penalty"] = penalty.item()
                self.accelerator.backward(loss)
                total += loss.detach()
                sources.append(by_source)
        mean: Any = self.accelerator.reduce(torch.cat([total[None], torch.stack(sources).nanmean(0)]), "mean")
        names = ["loss", *(f"loss/{source}" for source in self.model.sources)]
        return {**dict(zip(names, mean.tolist(), strict=True)), **values}

    def _penalty(self) -> Tensor:
        settings = self.config.penalty
        return singular_value_penalty(
            self.model,
            rank=settings.rank,
            iterations=settings.iterations,
            smallest=settings.smallest,
            generator=self._generator("penalty"),
        )

    def _give_up(self, stems: Tensor, known: Tensor, values: dict[str, float]) -> None:
        """Save the batch whose loss or gradient is not finite, and stop."""
        file = self.run.folder / f"bad_batch_{self.accelerator.process_index}.safetensors"
        content = {"stems": stems.cpu().contiguous(), "known": known.cpu().contiguous()}
        write_whole(file, to_bytes(content, metadata={"epoch": str(self.epoch), "step": str(self.step)}))
        raise TrainingError(
            f"the loss is {values['loss']} and its gradient {values['gradient']} in step {self.step + 1} of "
            f"epoch {self.epoch + 1}; its batch is in {file}; lower optimizer.lr, or set optimizer.clip"
        )

    # --- reports and checkpoints

    def _report_step(self, values: dict[str, float]) -> None:
        place = {"epoch": self.epoch + 1, "step": self.step, "total_steps": self.total_steps}
        self.run.record({"kind": "step", **place, **values})
        if self.progress is not None:
            epochs, steps = self.config.epochs, self.order.steps
            self.progress(Step(self.epoch + 1, epochs, self.step, steps, values["loss"]))

    def _save(self) -> None:
        if not self.main:
            return
        scaler = self.accelerator.scaler
        self.run.save_checkpoint(
            {
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "candidates": self.candidates.state_dict(),
                "scaler": None if scaler is None else scaler.state_dict(),
                "epoch": self.epoch,
                "step": self.step,
                "total_loss": self.total_loss,
            }
        )

    def _restore(self) -> None:
        state = self.run.load_checkpoint()
        if state is not None:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            for group in self.optimizer.param_groups:
                # The state has those it was made with, too.
                group.update(betas=tuple(self.config.optimizer.betas))
            self.candidates.load_state_dict(state["candidates"])
            if self.accelerator.scaler is not None:
                self.accelerator.scaler.load_state_dict(state["scaler"])
            self.epoch, self.step, self.total_loss = state["epoch"], state["step"], state["total_loss"]
            log.info("goes on after %d steps of epoch %d", self.step, self.epoch + 1)
        if self.main:
            self.run.rewind(self.total_steps)


def on_cpu(config: Config) -> bool:
    """Whether to train on the CPU; accelerate by itself would choose other devices than CUDA as well."""
    return config.device == "cpu" or (config.device is None and not torch.cuda.is_available())


@contextlib.contextmanager
def _plain_errors() -> Iterator[None]:
    """An error from a worker has its traceback in its message: the last line of it is the message."""
    try:
        yield
    except HDemucsError as error:
        lines = str(error).splitlines()
        if len(lines) > 1:
            raise type(error)(lines[-1].partition(": ")[2]) from None
        raise


def _in_words(record: dict[str, Any]) -> str:
    text = f"epoch {record['epoch']}: loss {record['train']['loss']:.4f}"
    if "valid" not in record:
        return text
    valid = record["valid"]
    sources = ", ".join(f"{source} {value:.2f}" for source, value in valid["sdr"].items())
    return (
        f"{text}; held out {valid['loss']:.4f}, SDR {valid['mean_sdr']:.2f} dB ({sources}; {valid['chosen']})"
    )
