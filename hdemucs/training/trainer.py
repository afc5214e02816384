"""The training loop: batches, objective, optimiser step, averages, validation, checkpoint.

The recipe is that of arXiv 2111.03600, section 5. Letters in shapes: B batch, S sources, R = S + 1 rows (the
last is the rest of the mixture), C channels, L samples.
"""

import contextlib
import logging
import math
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from accelerate import Accelerator
from safetensors.torch import save as to_bytes
from torch import Tensor
from torch.optim import Optimizer

from hdemucs.errors import TrainingError
from hdemucs.files import write_whole
from hdemucs.model import Network
from hdemucs.training.batches import Batches, step_generator
from hdemucs.training.curves import Curves
from hdemucs.training.interrupt import Interrupt
from hdemucs.training.objective.objective import Objective
from hdemucs.training.run import Run
from hdemucs.training.selection import CheckpointSelection
from hdemucs.training.together import main_first

log = logging.getLogger("hdemucs.training")


@dataclass(frozen=True)
class Step:
    """A completed step, for a progress display.

    Attributes:
        epoch: Number of the epoch, from 1.
        epochs: Number of epochs in the run.
        step: Number of the step in its epoch, from 1.
        steps: Number of steps in an epoch.
        loss: Loss of this step.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float


StepCallback = Callable[[Step], None]
"""Called after each step, on the main process."""


class Trainer:
    """Trains a network, and resumes from the run's checkpoint if there is one.

    All randomness depends only on the seed and the step number: a resumed run continues just as if it had not
    been interrupted, exactly so on a CPU with the same number of threads.

    Args:
        network: Network to train, on the accelerator's device.
        objective: Objective to minimise.
        optimizer: Optimiser of the network's parameters.
        schedule: Function that maps a step, counted from 0 over the whole run, to its learning rate.
        batches: Batches to train on.
        selection: Averages of the weights, and selection of the best.
        run: Folder of the run, for checkpoints and metrics.
        accelerator: Devices, processes and precision.
        epochs: Number of epochs.
        validate_every: Number of epochs between validations; the last epoch always ends with one.
        accumulate: Number of equal parts of a batch that are processed one after another.
        clip: Maximum norm of the gradient; None for no limit.
        compile: Whether to compile the network.
        checkpoint_minutes: Minutes between checkpoints within an epoch.
        seed: Seed of the objective's random numbers.
        on_step: Called after each step on the main process.
    """

    def __init__(
        self,
        network: Network,
        objective: Objective,
        optimizer: Optimizer,
        schedule: Callable[[int], float],
        batches: Batches,
        selection: CheckpointSelection,
        run: Run,
        accelerator: Accelerator,
        *,
        epochs: int,
        validate_every: int = 1,
        accumulate: int = 1,
        clip: float | None = None,
        compile: bool = False,
        checkpoint_minutes: float = 10.0,
        seed: int = 0,
        on_step: StepCallback | None = None,
    ) -> None:
        self.network = network.train()
        self.objective = objective
        self.schedule = schedule
        self.batches = batches
        self.selection = selection
        self.run = run
        self.accelerator = accelerator
        self.epochs = epochs
        self.validate_every = validate_every
        self.accumulate = accumulate
        self.clip = clip
        self.checkpoint_minutes = checkpoint_minutes
        self.seed = seed
        self.on_step = on_step
        wrapped: Any = torch.compile(network, dynamic=False) if compile else network
        self.wrapped, self.optimizer = accelerator.prepare(wrapped, optimizer)
        self.curves = Curves(run)
        self.epoch = 0
        self.step = 0
        self.total_loss = 0.0
        self._restore()

    @property
    def total_steps(self) -> int:
        """Number of steps done since the start of the run."""
        return self.epoch * self.batches.order.steps + self.step

    # --- the loop

    def train(self) -> None:
        """Train to the last epoch; on Ctrl-C or SIGTERM, finish the current step, save everything and stop.

        Raises:
            TrainingError: The loss or its gradient is not finite.
            AudioError: A song can no longer be read.
            OutputError: The run cannot be written; the last complete checkpoint is kept.
            KeyboardInterrupt: Training was interrupted, and everything is saved.
        """
        started, before = time.monotonic(), self.epoch + self.step / self.batches.order.steps
        with Interrupt() as interrupt, self.batches:
            while self.epoch < self.epochs:
                self._wait_for_songs(interrupt)
                self._train_epoch(interrupt)
                self._finish_epoch()
                per_epoch = (time.monotonic() - started) / (self.epoch - before)
                left = timedelta(0, round(per_epoch * (self.epochs - self.epoch)))
                log.info("time left: %s", left, extra={"in_progress_bar": True})
                if self.epoch < self.epochs and self._any_process(interrupt.requested):
                    self._stop()
        log.info("done after %d epochs", self.epoch)

    def _wait_for_songs(self, interrupt: Interrupt) -> None:
        with main_first(self.accelerator):
            ready = self.batches.prepare(self.epoch, interrupt)
        if self._any_process(not ready):
            self._save()
            self._stop()

    def _train_epoch(self, interrupt: Interrupt) -> None:
        """Do the remaining steps of an epoch, with a checkpoint every few minutes."""
        saved = time.monotonic()
        for stems, known in self.batches.epoch(self.epoch, self.step):
            values = self.train_step(stems, known)
            self.step += 1
            self.total_loss += values["loss"]
            self._report_step(values)
            stop = self._any_process(interrupt.requested)
            due = self._any_process(time.monotonic() - saved > 60 * self.checkpoint_minutes)
            # After the last step, there is a checkpoint anyway, once the epoch has been validated.
            if (stop or due) and self.step < self.batches.order.steps:
                self._save()
                saved = time.monotonic()
                if stop:
                    self._stop()

    def _finish_epoch(self) -> None:
        """Update the averages, validate, report, and save a checkpoint."""
        loss = self.total_loss / self.batches.order.steps
        self.epoch, self.step, self.total_loss = self.epoch + 1, 0, 0.0
        scores = self._validate()
        self._report_epoch(loss, scores)
        self._save()

    def _validate(self) -> dict[str, Any] | None:
        due = self.epoch % self.validate_every == 0 or self.epoch == self.epochs
        scores = self.selection.after_epoch(self.epoch, self.total_steps, validate=due)
        if scores is not None and self.objective.penalty is not None:
            scores["penalty"] = self.objective.penalty.exact(self.network)
        return scores

    def _stop(self) -> None:
        log.info("stopped after %d steps; the run in %s can be resumed", self.total_steps, self.run.folder)
        raise KeyboardInterrupt

    def _any_process(self, flag: bool) -> bool:
        """Whether the flag is set on any process; all of them get the same answer."""
        if self.accelerator.num_processes == 1:
            return flag
        votes: Any = self.accelerator.reduce(torch.tensor(float(flag), device=self.accelerator.device), "sum")
        return bool(votes > 0)

    # --- one step

    def train_step(self, stems: Tensor, known: Tensor) -> dict[str, float]:
        """Do one step on this process's share of a batch.

        Args:
            stems: Augmented rows `[B, R, C, L]`.
            known: Mask of the known sources, `[B, S]` bool.

        Returns:
            Values to record: those of `backward`, the norm of the `gradient`, and the learning rate `lr`.

        Raises:
            TrainingError: The loss or its gradient is not finite; the weights are unchanged.
        """
        self.network.train()
        # Dropout draws from torch's own generators; a resumed run draws the same.
        place = (self.seed, self.epoch, self.step, "dropout")
        generator = step_generator(*place, torch.device("cpu"), self.accelerator.process_index)
        torch.manual_seed(generator.initial_seed())
        self.optimizer.zero_grad()
        values = self.backward(stems, known)
        parameters = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        values["gradient"] = float(self.accelerator.clip_grad_norm_(parameters, self.clip or math.inf))
        # In fp16 a gradient may overflow: accelerate then skips the step and lowers the loss scale.
        watched = ("loss",) if self.accelerator.mixed_precision == "fp16" else ("loss", "gradient")
        if not all(math.isfinite(values[key]) for key in watched):
            self._fail(stems, known, values)
        values["lr"] = self.schedule(self.total_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = values["lr"]
        self.optimizer.step()
        self.selection.after_step()
        return values

    def backward(self, stems: Tensor, known: Tensor) -> dict[str, float]:
        """Accumulate the gradients of one batch, of which each process has a share.

        Args:
            stems: Augmented rows `[B, R, C, L]`.
            known: Mask of the known sources, `[B, S]` bool.

        Returns:
            `loss`, the total objective, and the other values of `Objective`, averaged over all processes; NaN
            for a source that some process has no example of.
        """
        parts = list(zip(stems.chunk(self.accumulate), known.chunk(self.accumulate), strict=True))
        loss = torch.zeros((), device=self.accelerator.device)
        recorded: dict[str, list[Tensor]] = defaultdict(list)
        generator = step_generator(self.seed, self.epoch, self.step, "penalty", loss.device)
        for index, (part, part_known) in enumerate(parts):
            last = index == len(parts) - 1
            # Gradients are exchanged between processes once per batch.
            with contextlib.nullcontext() if last else self.accelerator.no_sync(self.wrapped):
                with self.accelerator.autocast():
                    estimates = self.wrapped(part.sum(1))
                total, values = self.objective(
                    estimates,
                    part[:, :-1],
                    part_known,
                    batch_size=len(stems),
                    network=self.network if last else None,
                    generator=generator,
                )
                self.accelerator.backward(total)
            loss += total.detach()
            for name, value in values.items():
                recorded[name].append(value)
        means = [torch.stack(values).nanmean() for values in recorded.values()]
        reduced: Any = self.accelerator.reduce(torch.stack([loss, *means]), "mean")
        return dict(zip(["loss", *recorded], reduced.tolist(), strict=True))

    def _fail(self, stems: Tensor, known: Tensor, values: dict[str, float]) -> None:
        """Save the batch whose loss or gradient is not finite, and stop."""
        file = self.run.folder / f"bad_batch_{self.accelerator.process_index}.safetensors"
        content = {"stems": stems.cpu().contiguous(), "known": known.cpu().contiguous()}
        write_whole(file, to_bytes(content, metadata={"epoch": str(self.epoch), "step": str(self.step)}))
        raise TrainingError(
            f"the loss is {values['loss']} and the norm of its gradient {values['gradient']} in step "
            f"{self.step + 1} of epoch {self.epoch + 1}; the batch is in {file}; lower optimizer.lr, or "
            "set optimizer.clip"
        )

    # --- reports and checkpoints

    def _report_step(self, values: dict[str, float]) -> None:
        if not self.accelerator.is_main_process:
            return
        place = {"epoch": self.epoch + 1, "step": self.step, "total_steps": self.total_steps}
        self.run.record({"kind": "step", **place, **values})
        if self.on_step is not None:
            self.on_step(
                Step(self.epoch + 1, self.epochs, self.step, self.batches.order.steps, values["loss"])
            )

    def _report_epoch(self, loss: float, scores: dict[str, Any] | None) -> None:
        if not self.accelerator.is_main_process:
            return
        place = {"epoch": self.epoch, "total_steps": self.total_steps}
        valid = {} if scores is None else {"valid": scores}
        self.run.record({"kind": "epoch", **place, "train": {"loss": loss}, **valid})
        log.info("epoch %d: loss %.4f%s", self.epoch, loss, "" if scores is None else _in_words(scores))
        self.curves.draw()

    def _save(self) -> None:
        if not self.accelerator.is_main_process:
            return
        scaler = self.accelerator.scaler
        self.run.save_checkpoint(
            {
                "model": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "candidates": self.selection.state_dict(),
                "scaler": None if scaler is None else scaler.state_dict(),
                "epoch": self.epoch,
                "step": self.step,
                "total_loss": self.total_loss,
            }
        )

    def _restore(self) -> None:
        state = self.run.load_checkpoint()
        if state is not None:
            self._refuse_other_steps()
            self.network.load_state_dict(state["model"])
            self._restore_optimizer(state["optimizer"])
            self.selection.load_state_dict(state["candidates"])
            # There is none to restore if the precision has been changed to fp16.
            if self.accelerator.scaler is not None and state["scaler"] is not None:
                self.accelerator.scaler.load_state_dict(state["scaler"])
            self.epoch, self.step, self.total_loss = state["epoch"], state["step"], state["total_loss"]
            log.info("resuming after %d steps of epoch %d", self.step, self.epoch + 1)
        if self.accelerator.is_main_process:
            self.run.rewind(self.total_steps)

    def _refuse_other_steps(self) -> None:
        """Refuse to resume if epochs had another number of steps, by which metrics and learning rate go."""
        steps, done = self.batches.order.steps, self.run.history("epoch")
        if done and done[-1]["total_steps"] != done[-1]["epoch"] * steps:
            before = done[-1]["total_steps"] // done[-1]["epoch"]
            raise TrainingError(
                f"{self.run.config}: an epoch has {steps} steps now, and had {before} before the songs or "
                f"settings such as batch_size changed; set steps_per_epoch: {before}"
            )

    def _restore_optimizer(self, state: dict[str, Any]) -> None:
        """Restore the optimiser's state but not its settings, which may have been changed since."""
        settings = [
            {name: value for name, value in group.items() if name != "params"}
            for group in self.optimizer.param_groups
        ]
        self.optimizer.load_state_dict(state)
        for group, own in zip(self.optimizer.param_groups, settings, strict=True):
            group.update(own)


def _in_words(scores: dict[str, Any]) -> str:
    sources = ", ".join(f"{source} {value:.2f}" for source, value in scores["sdr"].items())
    return (
        f"; validation loss {scores['loss']:.4f}, SDR {scores['mean_sdr']:.2f} dB "
        f"({sources}; {scores['chosen']})"
    )
