# SPDX-License-Identifier: Apache-2.0
"""The public names: there, typed, cheap to import, harmless to the process, and documented."""
import ast
import importlib
import importlib.util
import inspect
import json
import re
import subprocess
import sys
import threading
import typing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import igs_ros
from igs_ros.core.scene import ATTRIBUTES
from igs_ros.render import choose
from igs_ros.render.choose import make_rasterizer
from igs_ros.render.rasterizer import render_view

ROOT = Path(__file__).resolve().parents[1]
WITH_ROS = importlib.util.find_spec('rclpy') is not None
NAMES = [name for name in igs_ros.__all__ if WITH_ROS or name != 'SceneSubscriber']
SMALL = {'width': 96, 'max_gaussians': 2000, 'key_interval': 2, 'motion': 'static',
         'bootstrap.iterations': 20, 'refine.iterations': 5}
TRAIN = ('cam00', 'cam01', 'cam03')  # of the workbench; cam02 is held out


@pytest.fixture(scope='module')
def recording(workbench):
    return igs_ros.open_recording(workbench)


def run(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, text=True, capture_output=True,
                          timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


# -- the names ----------------------------------------


def test_every_list_of_names_is_the_same():
    tree = ast.parse(Path(igs_ros.__file__).read_text())
    for_types = {alias.name: node.module for block in tree.body if isinstance(block, ast.If)
                 for node in block.body if isinstance(node, ast.ImportFrom)
                 for alias in node.names}
    assert for_types == {name: f'igs_ros.{place}' for name, place in igs_ros._PLACES.items()}
    assert sorted(for_types) == sorted(igs_ros.__all__) and 10 <= len(for_types) <= 14
    assert dir(igs_ros) == sorted([*igs_ros.__all__, '__version__'])


@pytest.mark.parametrize('name', NAMES)
def test_a_name_is_what_its_module_has(name):
    module = importlib.import_module(f'igs_ros.{igs_ros._PLACES[name]}')
    assert getattr(igs_ros, name) is getattr(module, name)
    assert getattr(igs_ros, name).__module__ == module.__name__  # defined there, not passed on
    assert inspect.getdoc(getattr(igs_ros, name))


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="module 'igs_ros' has no attribute 'Gaussians'"):
        igs_ros.Gaussians  # noqa: B018


def test_importing_costs_nothing_until_a_name_is_used():
    code = """
import json, sys
before = set(sys.modules)
import igs_ros
dir(igs_ros)
imported = set(sys.modules) - before
igs_ros.Config
light = set(sys.modules) - before
igs_ros.GaussianScene
print(json.dumps([sorted(imported), sorted(light), 'torch' in sys.modules]))
"""
    imported, light, torch_later = json.loads(run(code))
    assert [name for name in imported if name.split('.')[0] == 'igs_ros'] == ['igs_ros']
    heavy = {'numpy', 'torch', 'cv2', 'numba', 'scipy', 'av', 'rclpy'}
    assert not heavy & {name.split('.')[0] for name in (*imported, *light)}
    assert torch_later  # the block before sees what is imported


def test_the_process_stays_as_it_is():
    """Threads of torch, the switch interval, signals, priority and log are the caller's."""
    code = """
import logging, os, signal, sys, threading
import cv2, torch
torch.set_num_threads(2)
sys.setswitchinterval(0.004)
def settings():
    return (torch.get_num_threads(), torch.is_grad_enabled(), torch.get_default_dtype(),
            torch.initial_seed(), sys.getswitchinterval(), sys.excepthook, threading.excepthook,
            [signal.getsignal(number) for number in signal.valid_signals()], cv2.getNumThreads(),
            os.nice(0), logging.root.handlers, logging.getLogger('igs_ros').level)
before = settings()
import igs_ros
for name in NAMES:
    getattr(igs_ros, name)
recording = igs_ros.open_recording('recordings/workbench')
config = igs_ros.Config.of(SMALL | {'bootstrap.iterations': 2, 'motion': 'geometric'})
for step in igs_ros.reconstruct(recording, config, last=2):
    igs_ros.render_scene(step.snapshot.scene, recording.cameras['cam02'])
with igs_ros.LivePipeline(config, recording.cameras):
    pass
for then, now in zip(before, settings()):
    assert then == now, (then, now)
print('same')
"""
    assert run(code.replace('SMALL', repr(SMALL)).replace('NAMES', repr(NAMES))).strip() == 'same'


def members(value):
    """The functions that a public name brings, by name."""
    if inspect.isfunction(value):
        return {value.__name__: value}
    found = {}
    for name, member in vars(value).items():
        if isinstance(member, classmethod | staticmethod):
            member = member.__func__
        elif isinstance(member, property):
            member = member.fget
        if inspect.isfunction(member) and member.__module__ == value.__module__ \
                and (not name.startswith('_') or name == '__init__'):
            found[f'{value.__name__}.{name}'] = member
    return found


@pytest.mark.parametrize('name', NAMES)
def test_public_functions_are_annotated(name):
    for label, function in members(getattr(igs_ros, name)).items():
        parameters = [p for p in inspect.signature(function).parameters.values()
                      if p.name not in ('self', 'cls')]
        bare = [p.name for p in parameters if p.annotation is inspect.Parameter.empty]
        assert not bare, f'{label}: no type of {bare}'
        if not label.endswith('.__init__'):
            assert 'return' in function.__annotations__, f'{label}: no type of what it returns'
        typing.get_type_hints(function)  # they can be resolved


# -- what they do ----------------------------------------


def same(left, right):
    return all(torch.equal(getattr(left, name), getattr(right, name)) for name in ATTRIBUTES)


@pytest.fixture(scope='module')
def steps(recording):
    return list(igs_ros.reconstruct(recording, igs_ros.Config.of(SMALL), last=4))


def test_reconstruct_takes_the_steps_of_the_pipeline(recording, steps):
    """Bit for bit: without the held-out camera, with the points, the first scene first."""
    config = igs_ros.Config.of(SMALL)
    pipeline = igs_ros.Pipeline(config, {name: recording.cameras[name] for name in TRAIN})
    sets = recording.frame_sets(0, 4, cameras=TRAIN)
    pipeline.start(next(sets), recording.points())
    wanted = [pipeline.snapshot, *(pipeline.step(frame_set).snapshot for frame_set in sets)]
    assert [step.kind for step in steps] == ['first', 'candidate', 'key', 'candidate']
    assert all(same(step.snapshot.scene, snapshot.scene)
               for step, snapshot in zip(steps, wanted, strict=True))
    assert [step.snapshot.stamp_ns for step in steps] == [recording.stamp_ns(i) for i in range(4)]


def test_reconstruct_takes_the_cameras_and_frames_asked_for(recording):
    config = igs_ros.Config.of(SMALL | {'bootstrap.method': 'images', 'bootstrap.iterations': 2})
    step, = igs_ros.reconstruct(recording, config, cameras=['cam02', 'cam00'], first=5, last=6)
    assert step.snapshot.stamp_ns == recording.stamp_ns(5) and not step.problems
    others, = igs_ros.reconstruct(recording, config, first=5, last=6)
    assert not same(step.snapshot.scene, others.snapshot.scene)


def test_points_are_read_only_where_they_are_wanted(recording, monkeypatch):
    def read():
        raise igs_ros.InputError('points were read')
    spoiled = type(recording)(**{**vars(recording), 'load_points': read})
    with pytest.raises(igs_ros.InputError, match='points were read'):
        igs_ros.reconstruct(spoiled)
    igs_ros.reconstruct(spoiled, igs_ros.Config.of({'bootstrap.method': 'images'}))


@pytest.mark.parametrize('options, said', [
    ({'cameras': ['left']}, "no camera 'left'"), ({'first': 20}, 'inside 0:20'),
    ({'config': {'motion': 'magic'}}, 'magic'), ({'config': {'threads': 0}}, 'threads')])
def test_what_reconstruct_cannot_do_is_said_at_the_call(recording, options, said):
    options = dict(options)
    config = replace(igs_ros.Config(), **options.pop('config', {}))
    with pytest.raises(igs_ros.InputError, match=said):
        igs_ros.reconstruct(recording, config, **options)


def test_a_rig_without_cameras():
    for kind in (igs_ros.Pipeline, igs_ros.LivePipeline):
        with pytest.raises(igs_ros.InputError, match='without cameras'):
            kind(igs_ros.Config(), {})


def test_render_scene_draws_what_the_pipeline_draws(recording, steps):
    scene, camera = steps[-1].snapshot.scene, recording.cameras['cam02'].resized(96)
    view = igs_ros.render_scene(scene, camera)
    wanted = render_view(make_rasterizer('cpu', 1), scene, camera)
    assert view.rgb.shape == (72, 96, 3) and view.camera is camera
    if not torch.cuda.is_available():
        assert np.array_equal(view.rgb, wanted.rgb)
    assert np.abs(view.rgb - wanted.rgb).mean() < 1e-3


def test_render_scene_keeps_its_rasterizers(recording, steps, monkeypatch):
    made = []
    choose._kept_rasterizer.cache_clear()
    monkeypatch.setattr(choose, 'make_rasterizer', lambda *arguments: made.append(arguments)
                        or make_rasterizer(*arguments))
    camera = recording.cameras['cam02'].resized(32)
    for threads in (1, 2, 1, 2):
        igs_ros.render_scene(steps[0].snapshot.scene, camera, device='cpu', threads=threads)
    choose._kept_rasterizer.cache_clear()
    assert made == [('cpu', 1), ('cpu', 2)]


def test_render_scene_refuses_what_it_cannot_draw(recording, steps):
    bent = replace(recording.cameras['cam02'], distortion=[0.1, 0, 0, 0, 0])
    scene = steps[0].snapshot.scene
    with pytest.raises(igs_ros.InputError, match="camera 'cam02': views have no lens distortion"):
        igs_ros.render_scene(scene, bent)
    igs_ros.render_scene(scene, bent.undistorted().resized(32))
    with pytest.raises(igs_ros.InputError, match="device 'tpu' is unknown"):
        igs_ros.render_scene(scene, recording.cameras['cam02'], device='tpu')


def test_a_scene_is_saved_and_loaded(steps, tmp_path):
    scene = steps[-1].snapshot.scene
    igs_ros.save_ply(scene, tmp_path / 'new' / 'scene.ply')
    back = igs_ros.load_ply(tmp_path / 'new' / 'scene.ply')
    torch.testing.assert_close(back.means, scene.means.cpu(), rtol=0, atol=0)
    torch.testing.assert_close(back.opacities, scene.opacities.cpu(), rtol=1e-5, atol=1e-6)
    with pytest.raises(igs_ros.InputError, match='is a folder|cannot be written'):
        igs_ros.save_ply(scene, tmp_path / 'new')


def test_live_is_a_context_manager(recording):
    config = igs_ros.Config.of(SMALL)
    rig = {name: recording.cameras[name] for name in TRAIN}
    before = set(threading.enumerate())
    frame_set = next(recording.frame_sets(0, 1, cameras=TRAIN))
    decoded = {name: picture.decode() for name, picture in frame_set.pictures.items()}
    shown = threading.Event()
    with igs_ros.LivePipeline(config, rig, listeners=[lambda snapshot: shown.set()]) as live:
        assert live.snapshot() is None and live.view(recording.cameras['cam02']) is None
        with pytest.raises(igs_ros.InputError, match="pictures of 'left'; expected of cam00"):
            live.offer(igs_ros.RawFrameSet.of(1, {'left': decoded['cam00']}))
        live.offer(igs_ros.RawFrameSet.of(5, decoded))
        assert shown.wait(120)
    assert not {thread for thread in set(threading.enumerate()) - before
                if not thread.name.startswith('raster')}
    assert live.snapshot().stamp_ns == 5
    assert live.view(recording.cameras['cam02'].resized(96)).rgb.shape == (72, 96, 3)


# -- what docs/api.md says ----------------------------------------


PAGE = (ROOT / 'docs' / 'api.md').read_text()


def test_the_page_has_a_heading_for_each_public_name():
    headings = re.findall(r'^## (`.*)$', PAGE, re.M)
    documented = [name for heading in headings for name in re.findall(r'`(\w+)`', heading)]
    assert sorted(documented) == sorted(igs_ros.__all__)
    assert 'The fourteen names' in PAGE and len(documented) == 14


def test_the_page_names_nothing_that_is_not_there():
    for name in set(re.findall(r'\bigs_ros\.((?:\w+\.)*\w+)', PAGE)):
        value = igs_ros
        for part in name.split('.'):
            if not hasattr(value, part):
                importlib.import_module(f'{value.__name__}.{part}')
            value = getattr(value, part)


def test_the_snippets_of_the_page_run(workbench, tmp_path, monkeypatch):
    """In order, as one program."""
    snippets = re.findall(r'^```python\n(.*?)^```', PAGE, re.M | re.S)
    assert len(snippets) >= len(igs_ros.__all__)
    (tmp_path / 'recordings').symlink_to(workbench.parent)
    monkeypatch.chdir(tmp_path)
    if not WITH_ROS:
        snippets = [snippet for snippet in snippets if 'rclpy' not in snippet]
    elif importlib.import_module('rclpy').ok():  # other tests of this process use it
        monkeypatch.setattr('rclpy.init', lambda: None)
        monkeypatch.setattr('rclpy.shutdown', lambda: None)
    monkeypatch.setattr('igs_ros.core.machine.tune_process', lambda: None)  # of this process
    names: dict = {}
    for snippet in snippets:
        exec(compile(snippet, f'docs/api.md: {snippet}', 'exec'), names)
    assert names['view'].rgb.shape == (180, 240, 3)
    assert len(igs_ros.load_ply(tmp_path / 'scene.ply')) == len(names['scene']) > 100
    assert names['pipeline'].snapshot.stamp_ns == names['recording'].stamp_ns(2)
