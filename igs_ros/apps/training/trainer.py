# SPDX-License-Identifier: Apache-2.0
"""The training loop: one process or several, killed and gone on with, watched from outside.

OUT holds checkpoint.pt (where the run goes on), weights/ (the newest, as inference loads them),
tensorboard/ (scalars and pictures) and curve.jsonl (the same scalars, a line per step).
"""
from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from igs_ros.apps.training import checkpoint, models, order, sources
from igs_ros.apps.training.config import TrainConfig
from igs_ros.apps.training.journal import Journal
from igs_ros.apps.training.prepare import progress_bar
from igs_ros.apps.training.sample import Sample
from igs_ros.apps.training.step import LossOfSample
from igs_ros.apps.training.validation import validate
from igs_ros.core.errors import InputError, error_line
from igs_ros.core.files import checked_folder
from igs_ros.render.choose import make_rasterizer

log = logging.getLogger(__name__)
ENDLESS_STEPS = 22_500  # 30 passes over 12000 pairs in steps of 16
_MAX_WARMUP = 0.3  # share of all steps


class Diverged(ArithmeticError):
    """A loss or gradient is not finite; the message names step and samples."""


class Stopped(Exception):
    """Somebody asked the run to stop; the message says where it is and how to go on."""


@dataclass(frozen=True)
class Trained:
    """How a run ended."""

    steps: int
    weights: Path
    scores: dict[str, float]  # of the last validation; {} without one


class Trainer:
    """One run of one process.

    Args:
        config: checked.
        out: folder of the run, which is gone on with where it holds a checkpoint.

    Raises:
        InputError: data, weights, device or checkpoint do not fit.
        OutputError: `out` cannot be written to.
    """

    def __init__(self, config: TrainConfig, out: Path):
        config = _with_precision(config)
        checked_folder(out)
        self.config, self.out = config, out
        # fp16: scaling the loss is the accelerator's part, computing in it the model's
        scaled = 'fp16' if config.precision == 'fp16' else 'no'
        self.accelerator = Accelerator(cpu=_device(config) == 'cpu', mixed_precision=scaled)
        torch.set_num_threads(config.threads)
        self.rasterizer = make_rasterizer(self.accelerator.device.type, config.threads)
        self.model = models.build(config, self.rasterizer)
        self._train, self._validation = sources.build(config, self.rasterizer,
                                                      self.model.consecutive)
        processes = self.accelerator.num_processes
        self.steps = _steps(config, self._train.len_hint, processes)
        optimizer = config.optimizer
        parameters = [p for p in self.model.module.parameters() if p.requires_grad]
        self._optimizer = torch.optim.AdamW(
            parameters, optimizer.lr, (optimizer.beta1, optimizer.beta2),
            weight_decay=optimizer.weight_decay)
        self._schedule = _schedule(self._optimizer, config, self.steps)
        self._plan = checkpoint.plan(config, self.steps, config.batch * processes)
        self.done = self._go_on()
        # after that, so that each process starts from the weights of the checkpoint
        self._loss, self._stepper = self.accelerator.prepare(
            LossOfSample(self.model, self.rasterizer, config.loss), self._optimizer)

    def run(self, stop_wish: Callable[[], AbstractContextManager] = contextlib.nullcontext,
            ) -> Trained:
        """Train to the end.

        Args:
            stop_wish: entered for the steps; what it gives is true when the run is to stop. Then
                the step in hand is finished and saved.

        Raises:
            Stopped: the run was asked to stop before its last step.
            Diverged: a loss or gradient is not finite; the last checkpoint is left as it is.
            InputError: a sample cannot be read.
            OutputError: a file cannot be written.
        """
        journal = Journal(self.out, self.done) if self.accelerator.is_main_process else None
        with contextlib.closing(journal) if journal else contextlib.nullcontext():
            scores = self._run(journal, stop_wish)
        self.accelerator.wait_for_everyone()
        return Trained(self.done, self.out / 'weights', scores)

    def _run(self, journal: Journal | None, stop_wish) -> dict[str, float]:
        """All steps that are left; the scores of the last validation.

        journal: None in all processes but the main one.
        """
        main, scores = journal is not None, {}
        log.info('%d steps; getting %d samples for validation', self.steps,
                 self.config.validation_samples)
        held_out = [self._validation.sample(number)
                    for number in range(self.config.validation_samples)] if main else []
        if self.done == 0:
            self._validate(held_out, journal)
        samples = self._samples()
        with progress_bar(main) as progress, contextlib.closing(samples), stop_wish() as stop:
            bar = progress.add_task('training', total=self.steps, completed=self.done, note='')
            while self.done < self.steps:
                batch = [next(samples) for _ in range(self.config.batch)]
                values, stopping = self._step(batch, stop)
                self.done += 1
                if journal:
                    journal.scalars('train', self.done, values)
                progress.update(bar, advance=1, note=f"loss {values['loss']:.4f}")
                if self._due(self.config.validate_every) and not stopping:
                    scores = self._validate(held_out, journal)
                if self._due(self.config.checkpoint_every) or stopping:
                    self._save(journal)
                if stopping and self.done < self.steps:
                    raise Stopped(f'stopped after step {self.done} of {self.steps}, which is '
                                  f'saved in {self.out}; the same command goes on.')
        return scores

    def _samples(self) -> Generator[tuple[int, Sample]]:
        """Numbers and samples of this process, from the next step on."""
        wanted = (number for step in range(self.done, self.steps) for number in order.numbers(
            step, self.config.batch, self.accelerator.process_index,
            self.accelerator.num_processes))
        return order.in_order(self._train, wanted, self.config.workers)

    def _step(self, batch: Sequence[tuple[int, Sample]], stop) -> tuple[dict[str, float], bool]:
        """One optimizer step.

        Returns means over the samples of all processes, and whether one of these is to stop.
        """
        config = self.config
        total: dict[str, torch.Tensor] = {}
        for place, (number, sample) in enumerate(batch):
            torch.manual_seed(order.seed_of(number, config.seed))
            targets = order.picked_targets(sample, config.targets, number, config.seed)
            last = place == len(batch) - 1
            with contextlib.nullcontext() if last else self.accelerator.no_sync(self._loss):
                loss, terms = self._loss(sample, targets)
                self.accelerator.backward(loss / len(batch))
            for name, value in {'loss': loss.detach(), **terms}.items():
                share = value / len(batch)
                total[name] = total[name] + share if name in total else share
        means = self._mean_of_processes({**total, 'stop': torch.full_like(
            total['loss'], bool(stop))})
        stopping = means.pop('stop') > 0
        self._stop_unless(math.isfinite(means['loss']), 'loss', batch)
        norm = self.accelerator.clip_grad_norm_(self.model.module.parameters(),
                                                config.optimizer.clip_norm)
        # with fp16, the scaler skips steps whose gradients are too large, and adapts
        norm = math.nan if norm is None else float(norm)  # None: there is nothing to clip
        self._stop_unless(math.isfinite(norm) or self.accelerator.scaler is not None,
                          'gradient', batch)
        self._stepper.step()
        self._stepper.zero_grad()
        lr = self._schedule.get_last_lr()[0]
        if not self._stepper.step_was_skipped:
            self._schedule.step()
        return {**means, 'gradient_norm': norm, 'lr': float(lr)}, stopping

    def _mean_of_processes(self, values: dict[str, torch.Tensor]) -> dict[str, float]:
        stacked = torch.stack([value.float() for value in values.values()])
        means = self.accelerator.reduce(stacked, 'mean')
        if not isinstance(means, torch.Tensor):
            raise TypeError(f'accelerate made a {type(means).__name__} of a tensor')
        return dict(zip(values, means.tolist(), strict=True))

    def _stop_unless(self, finite: bool, what: str, batch) -> None:
        """All processes know the same `finite`."""
        if finite:
            return
        names = gather_object([sample.name for _, sample in batch])
        raise Diverged(f'step {self.done + 1}: the {what} is not finite, samples '
                       f'{", ".join(names)}; weights and checkpoint are those of the last save. '
                       f'Look at these samples, or take a smaller --optimizer.lr.')

    def _due(self, every: int) -> bool:
        return self.done == self.steps or (every > 0 and self.done % every == 0)

    def _validate(self, samples: Sequence[Sample], journal: Journal | None) -> dict[str, float]:
        scores: dict[str, float] = {}
        if journal and samples:
            scores, pictures = validate(self.model, samples, self.rasterizer)
            journal.scalars('validation', self.done, scores)
            for name, picture in pictures.items():
                journal.picture(name, self.done, picture)
            log.info('step %d: %s', self.done,
                     ', '.join(f'{name} {value:.4g}' for name, value in scores.items()))
        self.accelerator.wait_for_everyone()
        return scores

    def _save(self, journal: Journal | None) -> None:
        """Weights first: a checkpoint never stands without them."""
        if journal:
            self.model.save(self.out / 'weights')
            scaler = self.accelerator.scaler
            checkpoint.save(self.out, checkpoint.State(
                self.done, self._plan, self.model.module.state_dict(),
                self._optimizer.state_dict(), self._schedule.state_dict(),
                scaler.state_dict() if scaler else None))
            journal.flush()
        self.accelerator.wait_for_everyone()

    def _go_on(self) -> int:
        """Take up the checkpoint, if there is one; the steps that are done."""
        state = checkpoint.load(self.out, self._plan, self.accelerator.device)
        if state is None:
            return 0
        try:
            self.model.module.load_state_dict(state.module)
            self._optimizer.load_state_dict(state.optimizer)
            self._schedule.load_state_dict(state.schedule)
            if self.accelerator.scaler is not None and state.scaler is not None:
                self.accelerator.scaler.load_state_dict(state.scaler)
        except (RuntimeError, LookupError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f'{self.out / checkpoint.NAME}: does not fit this network '
                             f'({error_line(error)}). Take another --out, or remove it to start '
                             f'anew.') from error
        log.info('%s: going on after step %d of %d', self.out, state.step, self.steps)
        return state.step


def _device(config: TrainConfig) -> str:
    """Where to compute: what `make_rasterizer` takes."""
    return make_rasterizer(config.device, config.threads).device.type


def _with_precision(config: TrainConfig) -> TrainConfig:
    """`config` with 'auto' replaced; raises `InputError` for what the device cannot do."""
    device, precision = _device(config), config.precision
    if precision == 'auto':
        precision = 'fp16' if device == 'cuda' else 'float32'
    if precision == 'fp16' and device == 'cpu':
        raise InputError('--precision fp16 needs a GPU; take float32 or bf16 on the CPU.')
    return replace(config, precision=precision)


def _steps(config: TrainConfig, samples: int | None, processes: int) -> int:
    """Optimizer steps of the whole run."""
    if config.steps or samples is None:
        return config.steps or ENDLESS_STEPS
    return max(1, config.epochs * samples // (config.batch * processes))


def _schedule(optimizer, config: TrainConfig, steps: int):
    """One cycle: lr / 25 up to lr, then down to lr / 250000, both along a cosine."""
    warmup = min(config.optimizer.warmup_steps / steps, _MAX_WARMUP)
    if warmup == _MAX_WARMUP:
        log.info('warm-up: %d of %d steps', round(warmup * steps), steps)
    if math.isclose(warmup * steps, 1):
        warmup = 0.0  # the first step is no ramp, and OneCycleLR would divide by its length
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.optimizer.lr, total_steps=steps, pct_start=warmup,
        cycle_momentum=config.optimizer.cycle_momentum)
