# SPDX-License-Identifier: Apache-2.0
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from stage import STEP_NS, cameras, stepped

from igs_ros.core.config import MotionConfig
from igs_ros.core.frames import FrameSet
from igs_ros.core.scene import ATTRIBUTES, empty_scene
from igs_ros.io.codec.state import apply_update, key_arrays, scene_from, update_arrays
from igs_ros.stages.motion.adjust import AdjustedMotion
from igs_ros.stages.motion.choose import make_motion
from igs_ros.stages.motion.geometric import GeometricMotion
from igs_ros.stages.motion.models import MotionEffort
from igs_ros.stages.motion.static import StaticMotion

EVERYTHING = (*ATTRIBUTES, 'velocities')
ELSEWHERE = np.array([[1, 0, 0, 0.3], [0, 1, 0, 0.2], [0, 0, 1, 0], [0, 0, 0, 1.0]])


def seen(stage, scene, step):
    """What the cameras see of any scene."""
    images = {}
    for name, camera in stage.rig.items():
        with torch.no_grad():
            rgb = stage.rasterizer.render(scene, camera).rgb
        images[name] = (rgb.clamp(0, 1).numpy() * 255).round().astype(np.uint8)
    return FrameSet(10**9 + step * STEP_NS, images)


def picture(stage, scene):
    """From a camera that is not in the rig."""
    camera = cameras('middle')['middle'].placed(ELSEWHERE)
    with torch.no_grad():
        return stage.rasterizer.render(scene, camera).rgb


def started(stage, inner, first, iterations=12):
    model = AdjustedMotion(inner, stage.rig, stage.rasterizer, iterations, 6)
    model.observe(first)
    return model, model.follow(stage.scene, first)


@pytest.fixture(scope='module')
def shaded(stage):
    """The world with a shadow on a part of its wall; who lies in it."""
    means = stage.scene.means.numpy()
    dark = ~stage.ball & (np.abs(means[:, 0] - 1.0) < 0.5) & (np.abs(means[:, 1]) < 0.6)
    sh = stage.scene.sh.clone()
    sh[torch.from_numpy(dark)] -= 0.6
    return stage.scene.replaced(sh=sh), dark


def differing(stage, scene, names=ATTRIBUTES):
    """[N] bool: rows with other bits than the key's."""
    return np.any([(getattr(scene, name) != getattr(stage.scene, name)).flatten(1).any(1).numpy()
                   if getattr(scene, name).ndim > 1
                   else (getattr(scene, name) != getattr(stage.scene, name)).numpy()
                   for name in names], axis=0)


def test_shadow_is_followed_by_color_alone(stage, sets, shaded):
    shadow, dark = shaded
    moved = stepped(*started(stage, StaticMotion(), sets[0]), [seen(stage, shadow, 1)])
    truth = picture(stage, shadow)
    wrong = (truth - picture(stage, stage.scene)).square().mean()
    assert (truth - picture(stage, moved.scene)).square().mean() < 0.5 * wrong
    changed = differing(stage, moved.scene)
    np.testing.assert_array_equal(np.flatnonzero(changed), moved.rows)
    assert changed[dark].mean() > 0.5 and changed[~dark].mean() < 0.02
    assert not differing(stage, moved.scene, ('means', 'quats', 'scales')).any()


def test_what_is_as_it_was_is_the_key_again_bit_for_bit(stage, sets, shaded):
    model, follower = started(stage, StaticMotion(), sets[0])
    assert len(stepped(model, follower, [seen(stage, shaded[0], 1)]).rows) > 0
    back = stepped(model, follower, [replace(sets[0], stamp_ns=sets[2].stamp_ns)])
    assert len(back.rows) == 0 and not differing(stage, back.scene).any()


def test_adjustments_are_carried_on(stage, sets, shaded):
    model, follower = started(stage, StaticMotion(), sets[0], iterations=6)
    truth = picture(stage, shaded[0])
    errors = [float((truth - picture(stage, stepped(model, follower, [
        seen(stage, shaded[0], step)]).scene)).square().mean()) for step in (1, 2, 3)]
    assert errors[1] < errors[0] and errors[2] < 0.8 * errors[0]


def test_what_vanished_fades(stage, sets):
    gone = stage.scene.select(torch.from_numpy(~stage.ball))
    moved = stepped(*started(stage, StaticMotion(), sets[0], 24), [seen(stage, gone, 1)])
    truth = picture(stage, gone)
    wrong = (truth - picture(stage, stage.scene)).square().mean()
    assert (truth - picture(stage, moved.scene)).square().mean() < 0.75 * wrong
    front = stage.ball & (stage.scene.means[:, 2].numpy() < 1.9)
    assert (moved.scene.opacities < stage.scene.opacities).numpy()[front].mean() > 0.5


def test_moving_things_look_better_and_the_rest_stays_bit_for_bit(stage, sets):
    def moved_by(model):
        model.observe(sets[0])
        return stepped(model, model.follow(stage.scene, sets[0]), sets[1:4])

    inner = GeometricMotion(stage.rig, stage.rasterizer, MotionConfig())
    plain = moved_by(inner)
    moved = moved_by(AdjustedMotion(GeometricMotion(stage.rig, stage.rasterizer, MotionConfig()),
                                    stage.rig, stage.rasterizer, 12, 6))
    truth = picture(stage, stage.moved(3))
    left = (truth - picture(stage, moved.scene)).square().mean()
    assert left < 0.8 * (truth - picture(stage, plain.scene)).square().mean()
    assert moved.rows.dtype == np.uint32 and (np.diff(moved.rows.astype(int)) > 0).all()
    assert set(np.flatnonzero(differing(stage, moved.scene))) <= set(moved.rows)
    assert set(plain.rows) <= set(moved.rows)
    assert torch.equal(moved.scene.velocities, plain.scene.velocities)
    assert np.isin(np.arange(len(stage.scene)), moved.rows)[~stage.ball].mean() < 0.1
    np.testing.assert_allclose(moved.scene.quats.norm(dim=1), 1, atol=1e-5)


def test_adjusted_attributes_travel_in_updates(stage, sets, shaded):
    moved = stepped(*started(stage, StaticMotion(), sets[0]), [seen(stage, shaded[0], 1)])
    update = update_arrays(stage.scene, moved.scene, moved.rows, sequence=1)
    received = scene_from(apply_update(key_arrays(stage.scene), update))
    for name in ATTRIBUTES:
        assert torch.equal(getattr(received, name), getattr(moved.scene, name)), name
    np.testing.assert_array_equal(update.changed_rows, moved.rows)


def test_same_input_same_bytes_also_from_two_threads(stage, sets):
    results = [None, None]

    def run(slot):
        model, follower = started(
            stage, GeometricMotion(stage.rig, stage.rasterizer, MotionConfig()), sets[0], 4)
        results[slot] = stepped(model, follower, sets[1:3])

    threads = [threading.Thread(target=run, args=(slot,)) for slot in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in EVERYTHING:
        assert torch.equal(getattr(results[0].scene, name), getattr(results[1].scene, name))


def test_own_set_and_a_set_asked_for_twice(stage, sets):
    model, follower = started(stage, StaticMotion(), sets[0])
    assert follower.move_to(sets[0]).scene is stage.scene
    model.observe(sets[1])
    assert follower.move_to(sets[1]) is follower.move_to(sets[1])


def test_missing_pictures(stage, sets, shaded):
    model, follower = started(stage, StaticMotion(), sets[0])
    full = seen(stage, shaded[0], 1)
    one = stepped(model, follower, [replace(full, images={'left': full.images['left']})])
    assert torch.isfinite(one.scene.sh).all()
    before = stepped(model, follower, [replace(full, stamp_ns=sets[2].stamp_ns)])
    blind = stepped(model, follower, [FrameSet(sets[3].stamp_ns, {}, tuple(stage.rig))])
    for name in ATTRIBUTES:  # it stays as it was last
        assert torch.equal(getattr(blind.scene, name), getattr(before.scene, name))


def test_effort_of_none_is_the_model_alone(stage, sets):
    inner = GeometricMotion(stage.rig, stage.rasterizer, MotionConfig())
    model, follower = started(stage, inner, sets[0])
    model.set_effort(MotionEffort(MotionConfig().anchors, 1.0, 0.0))
    moved = stepped(model, follower, sets[1:2])
    plain = inner.follow(stage.scene, sets[0]).move_to(sets[1])
    for name in EVERYTHING:
        assert torch.equal(getattr(moved.scene, name), getattr(plain.scene, name))


def test_adjustment_that_is_not_finite_is_discarded_and_counted(stage, sets, shaded, monkeypatch):
    model, follower = started(stage, StaticMotion(), sets[0])
    monkeypatch.setitem(AdjustedMotion.__init__.__globals__['STEPS'], 'colors', float('nan'))
    moved = stepped(model, follower, [seen(stage, shaded[0], 1)])
    assert model.counts == {'adjust_discarded': 1}
    assert not differing(stage, moved.scene).any()


def test_scene_of_nothing(stage, sets):
    model = AdjustedMotion(StaticMotion(), stage.rig, stage.rasterizer, 3, 2)
    moved = stepped(model, model.follow(empty_scene(1), sets[0]), sets[1:3])
    assert len(moved.scene) == 0 and len(moved.rows) == 0


def test_settings_choose_it(stage):
    plain = make_motion('geometric', stage.rig, stage.rasterizer,
                        MotionConfig(adjust_iterations=0))
    adjusted = make_motion('geometric', stage.rig, stage.rasterizer,
                           MotionConfig(adjust_iterations=3, adjust_views=2))
    assert isinstance(plain, GeometricMotion) and isinstance(adjusted, AdjustedMotion)
    assert adjusted.name == 'geometric' and len(adjusted.cameras) == 2
    assert {'chain_breaks', 'views_missing', 'adjust_discarded'} == set(adjusted.counts)
    static = make_motion('static', stage.rig, stage.rasterizer, MotionConfig())
    assert isinstance(static, StaticMotion)  # the baseline stays a copy
