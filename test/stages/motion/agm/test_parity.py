# SPDX-License-Identifier: Apache-2.0
"""Every stage against numbers of the original network (reference/agm_golden.md)."""
import pytest
import torch
from golden import Golden, error, formula_net, formula_value, uniform

from igs_ros.stages.motion.agm import lift, modulation
from igs_ros.stages.motion.agm.decode import interpolate, turned

MAPS = ('cnn_feat', 'flow_f0', 'flow_f1', 'ft', 'up', 'cond', 'mod', 'lift', 'blk0', 'z', 'gfeat')
OUTPUTS = ('dxyz', 'drot', 'out_xyz', 'out_rot')


def moved(golden, displacements, turns):
    """The full deformed model of the targets."""
    rows = golden['mask_idx']
    means = golden['in_xyz'].repeat(len(displacements), 1, 1)
    quats = golden['in_rot'].repeat(len(turns), 1, 1)
    means[:, rows] += displacements
    quats[:, rows] = turned(quats[:, rows], turns)
    return means, quats


@torch.no_grad()
def stages(golden, net):
    """Everything that the file holds, computed here; the parts of a stage that it holds."""
    targets, ties, rig = golden['in_next'], golden.ties(), golden.rig()
    batch = len(targets)
    key = net.key(golden['in_cur'], golden['in_depth'], rig, ties)
    features = net.encode(targets.flatten(0, 1))
    first, second = net.backbone.match(key.features.repeat(batch, 1, 1, 1), features)
    motion = net.adapt(first, second)
    up = net.enlarge(motion)
    maps = net.ModLN(up.permute(0, 2, 3, 1).unflatten(0, (batch, -1)), key.modulation)
    lifted = lift.lift(maps, key.grid)
    transformer = net.triplane_encoder['conv']
    tokens = transformer.proj_in(transformer.norm(lifted[:1].mT).mT)
    refined = transformer(lifted)
    gathered = interpolate(refined, ties.indices, ties.weights)
    dxyz, drot = net.render(gathered)
    out_xyz, out_rot = moved(golden, dxyz, drot)
    return {
        'cnn_feat': torch.stack([key.features[0], features[0]]),
        'flow_f0': first[:4], 'flow_f1': second[:4], 'ft': motion, 'up': up[[0, 3]],
        'cond': modulation.condition(rig.intrinsics, rig.world_from_camera, golden['in_depth'],
                                     *up.shape[2:]),
        'mod': maps[0], 'lift': lifted, 'blk0': transformer.transformer_blocks[0](tokens)[0],
        'z': refined, 'gfeat': gathered, 'dxyz': dxyz, 'drot': drot, 'out_xyz': out_xyz,
        'out_rot': out_rot}


@pytest.fixture(scope='module', params=[torch.float64, torch.float32], ids=['f64', 'f32'])
def case(request):
    golden = Golden(request.param)
    net = formula_net(request.param)
    return golden, net, stages(golden, net)


@pytest.mark.parametrize('name', MAPS + OUTPUTS)
def test_stage(case, name):
    golden, _, found = case
    exact = golden.dtype == torch.float64
    tolerance = 1e-5 if exact else 1e-4 if name in OUTPUTS else 1e-3
    assert error(found[name], golden[name]) < tolerance


def test_forward_is_the_chain_of_stages(case):
    golden, net, found = case
    with torch.no_grad():
        key = net.key(golden['in_cur'], golden['in_depth'], golden.rig(), golden.ties())
        dxyz, drot = net(key, golden['in_next'][1:])
    tolerance = 1e-9 if golden.dtype == torch.float64 else 1e-4  # float32 sums differ by batch
    assert error(dxyz[0], found['dxyz'][1]) < tolerance
    assert error(drot[0], found['drot'][1]) < tolerance


def test_region_and_ties(case):
    golden, _, _ = case
    assert torch.equal(golden.dynamic(golden['in_xyz']), golden['mask_idx'])
    ties = golden.ties()
    assert torch.equal(ties.indices, golden['knn_idx'])
    assert error(ties.weights, golden['knn_w']) < 1e-6


def test_rays(case):
    golden, _, _ = case
    rig, expected = golden.rig(), golden['in_rays']
    origins, directions = modulation.camera_rays(rig.intrinsics, rig.world_from_camera, 32, 32)
    assert error(origins.expand_as(directions), expected[..., :3]) < 1e-5
    assert error(directions, expected[..., 3:]) < 1e-6


def test_what_is_outside_the_box_stays(case):
    golden, _, found = case
    outside = torch.ones(len(golden['in_xyz']), dtype=torch.bool)
    outside[golden['mask_idx']] = False
    assert torch.equal(found['out_xyz'][0, outside], golden['in_xyz'][outside])
    assert torch.equal(found['out_rot'][1, outside], golden['in_rot'][outside])


def test_double_division_is_an_option():
    golden = Golden(torch.float32)
    features = [formula_net(torch.float32, twice).encode(golden['in_cur'][:1])
                for twice in (True, False)]
    assert error(features[0][0], golden['cnn_feat'][0]) < 1e-3
    change = (features[1][0] - golden['cnn_feat'][0]).norm() / golden['cnn_feat'][0].norm()
    assert change > 0.1
    direct = formula_net(torch.float32).backbone.encode(golden['in_cur'][:1] * 255)
    assert torch.equal(features[1], direct)


@pytest.mark.parametrize('name, shape, start', [
    ('upsample.bias', (128,), (0.0336816, -0.06396187, -0.04965929)),
    ('ModLN.norm.weight', (128,), (0.97641867, 1.03047967, 1.09393525)),
    ('render.out_layers.0.weight', (3, 128), (-0.04313113, -0.14174746, -0.13917765)),
    ('backbone.backbone.conv1.weight', (64, 3, 7, 7), (-0.02589191, 0.07155745, 0.08628445))])
def test_parameter_formula(name, shape, start):
    torch.testing.assert_close(formula_value(name, shape).flatten()[:3], torch.tensor(start))


@pytest.mark.slow
def test_full_size():
    """512x512, 20000 Gaussians, 8192 anchors, as published; about a CPU minute."""
    small = Golden(torch.float32)
    points = uniform('xyz', (20000, 3)) * (10, 8, 10) + (-5, -4, 7)
    points = torch.from_numpy(points.astype('float32'))
    assert len(small.dynamic(points)) == small['full_nmask']
    ties = small.ties(points, small['full_fps_idx'])
    net = formula_net(torch.float32)
    with torch.no_grad():
        key = net.key(picture(0), small['in_depth'], small.rig(), ties)
        targets = torch.stack([picture(1), picture(2)])
        features = net.encode(targets[0])
        found = {'full_ft': net.motion_features(key.features[:1], features[:1])[0, :, ::8, ::8]}
        maps = net.motion_maps(key, targets)
        found['full_mod'] = maps[0, 0, ::16, ::16]
        lifted = lift.lift(maps, key.grid)
        refined = net.triplane_encoder['conv'](lifted)
        found |= {'full_lift': lifted[0, ::64], 'full_z': refined[0, ::64]}
        dxyz, drot = net.render(interpolate(refined, ties.indices, ties.weights))
        found |= {'full_dxyz': dxyz[:, ::50], 'full_drot': drot[:, ::50]}
    for name, value in found.items():
        tolerance = 5e-4 if name in ('full_dxyz', 'full_drot') else 2e-3
        assert error(value, small[name]) < tolerance, name


def picture(t, size=512):
    """[4, 3, size, size]: the formula pictures at time t."""
    centers = (torch.arange(size, dtype=torch.float64) + 0.5) / size
    x, y = centers[None, None, None], centers[None, None, :, None]
    view, channel = torch.arange(4.0)[:, None, None, None], torch.arange(3.0)[:, None, None]
    turn = 2 * torch.pi
    first = (turn * ((3 + view) * (x - 0.02 * t) + (channel + 1) * y) + 0.7 * view).sin()
    second = (turn * ((2 + channel) * (x - 0.02 * t) - (4 - view) * (y - 0.01 * t))).cos()
    return (0.5 + 0.2 * first + 0.2 * second).float()


def test_picture_formula():
    golden = Golden(torch.float32)
    assert error(picture(0, 128), golden['in_cur']) < 1e-5
    assert error(picture(2, 128), golden['in_next'][1]) < 1e-5
