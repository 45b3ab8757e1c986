# SPDX-License-Identifier: Apache-2.0
"""Whole runs of the published network on a prepared recording, tiny in everything else."""
import contextlib
import math
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from ball_world import picture_path, prepared_folder

from igs_ros.apps.cli.main import main
from igs_ros.apps.training import checkpoint
from igs_ros.apps.training.config import (
    AgmTrainConfig,
    DataConfig,
    OptimizerConfig,
    TrainConfig,
    Views,
)
from igs_ros.core.errors import InputError, OutputError
from igs_ros.stages.motion.agm import weights

for package in ('accelerate', 'tensorboard'):
    pytest.importorskip(package, reason="needs the extra 'train'")

from igs_ros.apps.training import trainer  # noqa: E402
from igs_ros.apps.training.journal import read_curve  # noqa: E402
from igs_ros.apps.training.trainer import Diverged, Stopped, Trainer  # noqa: E402

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope='session')  # slow tests run last, a module's fixture would be made again
def config(prepared, flow_weights):
    return TrainConfig(
        data=DataConfig(recordings=(prepared,), reach=2), weights=str(flow_weights), steps=4,
        batch=2, views=Views(2, 3), agm=AgmTrainConfig(picture=32, anchors=32), device='cpu',
        precision='float32', optimizer=OptimizerConfig(lr=2e-4), workers=0, validate_every=2,
        validation_samples=2, checkpoint_every=2)


@pytest.fixture(scope='session')
def whole(config, tmp_path_factory):
    """A run without an interruption: its folder and its result."""
    out = tmp_path_factory.mktemp('whole')
    return out, Trainer(config, out).run()


def losses(out):
    return {line['step']: line['loss'] for line in read_curve(out) if line['group'] == 'train'}


def command(config, out, **changes):
    """The arguments of `igs` for the same run."""
    values = {'batch': config.batch, 'checkpoint_every': config.checkpoint_every,
              'validation_samples': config.validation_samples, **changes}
    return ['train', '--out', str(out), '--weights', config.weights,
            '--recordings', str(config.data.recordings[0]), '--reach', str(config.data.reach),
            '--steps', str(config.steps), '--views.inputs', '2', '--views.losses', '3',
            '--agm.picture', '32', '--agm.anchors', '32', '--device', 'cpu',
            '--optimizer.lr', str(config.optimizer.lr), '--validate-every', '2',
            *(word for name, value in values.items()
              for word in ('--' + name.replace('_', '-'), str(value)))]


def environment():
    return {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}


def test_a_run_learns_and_leaves_what_it_promises(whole, config):
    out, trained = whole
    curve = losses(out)
    assert sorted(curve) == [1, 2, 3, 4] and trained.steps == 4
    assert weights.load(trained.weights).upsample.weight.shape == (128, 128, 3, 3)
    validations = {line['step']: line for line in read_curve(out) if line['group'] == 'validation'}
    assert sorted(validations) == [0, 2, 4]
    assert validations[4]['psnr'] == trained.scores['psnr']
    assert validations[4]['psnr_key'] == validations[0]['psnr_key'], 'the same samples'
    assert math.isclose(validations[0]['psnr'], validations[0]['psnr_key'], abs_tol=0.5)
    state = checkpoint.load(out, checkpoint.plan(config, 4, 2), torch.device('cpu'))
    assert state.step == 4


def test_scalars_and_pictures_are_there_for_tensorboard(whole):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    out, trained = whole
    events = EventAccumulator(str(out / 'tensorboard'))
    events.Reload()
    written = {event.step: event.value for event in events.Scalars('train/loss')}
    assert written == pytest.approx(losses(out))
    assert events.Scalars('validation/psnr')[-1].value == pytest.approx(trained.scores['psnr'])
    pictures = events.Tags()['images']
    assert len(pictures) == 2
    shown = events.Images(pictures[0])
    assert [picture.step for picture in shown] == [0, 2, 4]
    assert (shown[0].width, shown[0].height) == (3 * 64, 48), 'key, moved key, truth'


@pytest.mark.slow
def test_a_killed_run_goes_on_as_if_nothing_had_been(whole, config, tmp_path):
    """kill -9 after step 3, a checkpoint at step 2: the same losses, bit for bit, and weights."""
    program = ('import igs_ros.apps.training.trainer as t, os, signal\n'
               'step = t.Trainer._step\n'
               'def killed(self, *given):\n'
               '    if self.done == 3: os.kill(os.getpid(), signal.SIGKILL)\n'
               '    return step(self, *given)\n'
               't.Trainer._step = killed\n'
               'from igs_ros.apps.cli.main import main\nmain()\n')
    done = subprocess.run([sys.executable, '-c', program, *command(config, tmp_path)],
                          env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    assert sorted(losses(tmp_path)) == [1, 2, 3]
    Trainer(config, tmp_path).run()
    assert losses(tmp_path) == losses(whole[0])
    assert [line['step'] for line in read_curve(tmp_path) if line['group'] == 'train'] == [
        1, 2, 3, 4], 'step 3 stands there once'
    found, wanted = (weights.load(out / 'weights').state_dict() for out in (tmp_path, whole[0]))
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert Trainer(config, tmp_path).run().steps == 4, 'a run that is done stays so'


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_saves_its_step_and_goes_on_as_if_nothing_had_been(
        whole, config, tmp_path, monkeypatch, capsys, number):
    """Between two checkpoints, at step 3."""
    arguments = command(config, tmp_path, checkpoint_every=100)
    (tmp_path / f'.checkpoint.{2 ** 30}.draft.pt').write_text('left by a killed process')
    step = Trainer._step

    def stopped(self, *given):
        if self.done == 2:
            os.kill(os.getpid(), number)
        return step(self, *given)
    monkeypatch.setattr(Trainer, '_step', stopped)
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 130
    assert capsys.readouterr().err.splitlines()[-1] == (
        f'igs: stopped after step 3 of 4, which is saved in {tmp_path}; the same command goes on.')
    assert handlers == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert not list(tmp_path.glob('.*'))
    monkeypatch.undo()
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert not ended.value.code and losses(tmp_path) == losses(whole[0])
    found, wanted = (weights.load(out / 'weights').state_dict() for out in (tmp_path, whole[0]))
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


@pytest.fixture(scope='session')
def half(config, tmp_path_factory):
    """A run that was stopped after step 2 of 4."""
    out = tmp_path_factory.mktemp('half')
    run = Trainer(replace(config, validation_samples=0), out)

    class Wish(contextlib.nullcontext):
        def __bool__(self):
            return run.done == 1
    with pytest.raises(Stopped, match='after step 2 of 4'):
        run.run(lambda: Wish(Wish()))
    return out


def test_a_checkpoint_that_cannot_be_written_says_why(tmp_path, full_disk):
    state = checkpoint.State(1, {}, {'w': torch.zeros(10_000)}, {}, {}, None)
    checkpoint.save(tmp_path, state)
    saved = (tmp_path / checkpoint.NAME).read_bytes()
    with pytest.raises(OutputError, match=r'checkpoint\.pt: .*File too large.*Make room'), \
            full_disk(20_000):
        checkpoint.save(tmp_path, state)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [saved]


@pytest.mark.parametrize('size', [3_000_000, 300], ids=['weights', 'journal'])
def test_a_full_disk_is_one_line_and_keeps_the_last_checkpoint(
        half, config, tmp_path, capsys, full_disk, size):
    folder = shutil.copytree(half, tmp_path / 'out')
    saved = (folder / checkpoint.NAME).read_bytes()
    with pytest.raises(SystemExit) as ended, full_disk(size):
        main(command(config, folder, validation_samples=0))
    assert ended.value.code == 2
    err = capsys.readouterr().err
    last = err.strip().splitlines()[-1]
    assert last.startswith(f'igs: {folder}') and 'File too large). Make room' in last
    assert 'Traceback' not in err  # of TensorBoard's thread
    assert (folder / checkpoint.NAME).read_bytes() == saved
    assert not [path for path in folder.rglob('*') if '.draft' in path.name]


@pytest.mark.slow
def test_two_processes_do_what_one_does(whole, config, tmp_path):
    """Each takes half of every step; gradients are shared."""
    launch = ['-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2',
              '-m', 'igs_ros.apps.cli.main']
    done = subprocess.run([sys.executable, *launch, *command(config, tmp_path, batch=1)],
                          env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count('4 steps, weights in') == 1, 'one process speaks'
    assert losses(tmp_path) == pytest.approx(losses(whole[0]), rel=1e-4)
    assert Trainer(config, tmp_path).done == 4, 'one process takes up what two have left'


def test_a_loss_that_is_not_finite_stops_the_run(config, tmp_path, monkeypatch):
    """The step and its samples are named, and the checkpoint before stays as it was."""
    whole_step = trainer.LossOfSample.forward
    seen = []

    def broken(self, sample, targets):
        seen.append(sample.name)
        loss, terms = whole_step(self, sample, targets)
        return loss * (math.nan if len(seen) == 6 else 1), terms
    monkeypatch.setattr(trainer.LossOfSample, 'forward', broken)
    run = Trainer(config, tmp_path)
    with pytest.raises(Diverged, match='step 3: the loss is not finite') as stopped:
        run.run()
    assert all(name in str(stopped.value) for name in seen[4:6])
    plan = checkpoint.plan(config, 4, 2)
    state = checkpoint.load(tmp_path, plan, torch.device('cpu'))
    assert state.step == 2
    assert all(tensor.isfinite().all() for tensor in state.module.values())
    monkeypatch.undo()
    assert Trainer(config, tmp_path).run().steps == 4


def test_a_gradient_that_is_not_finite_stops_the_run(config, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer.Accelerator, 'clip_grad_norm_',
                        lambda self, *_: torch.tensor(math.inf))
    with pytest.raises(Diverged, match='step 1: the gradient is not finite'):
        Trainer(config, tmp_path).run()


def test_a_run_is_not_gone_on_with_other_settings(whole, config, tmp_path):
    out, _ = whole
    for changed, said in ((replace(config, seed=1), 'seed was 0 and is 1'),
                          (replace(config, steps=8), 'steps'),
                          (replace(config, batch=1), 'samples per step was 2')):
        with pytest.raises(InputError, match=said):
            Trainer(changed, out)
    Trainer(replace(config, workers=2, validate_every=1), out)
    content = torch.load(out / checkpoint.NAME, weights_only=True)
    torch.save({**content, 'module': {}}, tmp_path / checkpoint.NAME)
    with pytest.raises(InputError, match=r'checkpoint\.pt: does not fit this network'):
        Trainer(config, tmp_path)
    (tmp_path / checkpoint.NAME).write_bytes((out / checkpoint.NAME).read_bytes()[:5000])
    with pytest.raises(InputError, match=r'checkpoint\.pt: cannot be read as plain tensors'):
        Trainer(config, tmp_path)


def test_threads_that_make_samples_change_nothing(whole, config, tmp_path):
    Trainer(replace(config, workers=2, validation_samples=0, checkpoint_every=9), tmp_path).run()
    assert losses(tmp_path) == losses(whole[0])


def test_a_broken_picture_ends_the_run_with_its_name(config, tmp_path, capsys):
    folder = prepared_folder(tmp_path / 'ball', keys=(0,))
    for name in ('cam01', 'cam02', 'cam03', 'cam04'):
        picture_path(folder, name, 1).write_bytes(b'no png')
    broken = replace(config, data=DataConfig((folder,), reach=1))
    with pytest.raises(SystemExit) as ended:
        main(command(broken, tmp_path / 'out', validation_samples=0))
    assert ended.value.code == 2 and '000001.png' in capsys.readouterr().err.splitlines()[-1]


def test_the_command_fails_where_a_loss_is_not_finite(config, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(trainer.LossOfSample, '_photometric',
                        lambda *_: torch.tensor(math.nan, requires_grad=True))
    with pytest.raises(SystemExit) as ended:
        main(command(config, tmp_path, validation_samples=0))
    assert ended.value.code == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith('igs: step 1: the loss is not')
    assert not (tmp_path / checkpoint.NAME).exists()


def test_schedule_is_the_published_cycle():
    """Cosine from lr / 25 up, then down to lr / 250000; beta1 goes against it."""
    steps, warmup, lr = 200, 40, 4e-4
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr)
    config = TrainConfig(optimizer=OptimizerConfig(lr=lr, warmup_steps=warmup))
    schedule = trainer._schedule(optimizer, config, steps)
    rates, betas = [], []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]['lr'])
        betas.append(optimizer.param_groups[0]['betas'][0])
        optimizer.step()
        schedule.step()

    def cosine(start, end, share):
        return end + (start - end) / 2 * (1 + math.cos(math.pi * share))
    top = warmup - 1
    wanted = [cosine(lr / 25, lr, i / top) if i <= top
              else cosine(lr, lr / 250_000, (i - top) / (steps - 1 - top)) for i in range(steps)]
    assert rates == pytest.approx(wanted)
    assert max(betas) == pytest.approx(0.95) and betas[top] == pytest.approx(0.85)


@pytest.mark.parametrize('steps', [1, 2, 3, 7, 10])
@pytest.mark.parametrize('warmup', [0, 1, 2, 3000])
def test_any_schedule_can_be_walked(steps, warmup):
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], 1e-3)
    schedule = trainer._schedule(
        optimizer, TrainConfig(optimizer=OptimizerConfig(warmup_steps=warmup)), steps)
    for _ in range(steps):
        assert 0 < optimizer.param_groups[0]['lr'] <= 1e-3 + 1e-12
        optimizer.step()
        schedule.step()


def test_steps_are_those_of_the_published_passes():
    config = TrainConfig()
    assert trainer._steps(config, 12_000, processes=4) == 22_500 == trainer._steps(config, None, 4)
    assert trainer._steps(replace(config, steps=5), 12_000, 4) == 5
    assert trainer._steps(replace(config, epochs=1), 3, 1) == 1


def test_half_precision_needs_a_gpu(config, tmp_path):
    with pytest.raises(InputError, match='fp16'):
        Trainer(replace(config, precision='fp16'), tmp_path)
