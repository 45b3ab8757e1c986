# SPDX-License-Identifier: Apache-2.0
"""A room full of bodies under a light, at any time, as dense Gaussians."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from igs_ros.apps.training.procedural import bodies, surfaces
from igs_ros.apps.training.procedural.bodies import Body, Drift
from igs_ros.apps.training.procedural.rigs import Rig
from igs_ros.apps.training.procedural.textures import sampled, texture
from igs_ros.core.camera import Camera
from igs_ros.core.scene import SH_C0, GaussianScene

_ROOM_GAUSSIANS = 55000  # about as many as are in sight
_BODY_GAUSSIANS = 9000  # at most, per body
_FASTEST_PX, _FASTEST_TURN = 25.0, np.radians(20)  # per frame
_SPREAD, _FLAT = 0.7, 0.15  # standard deviations in spacings, along and across a surface


@dataclass(frozen=True, eq=False)
class Light:
    """Ambient light and one far lamp with soft shadows, slowly changing."""

    direction: np.ndarray  # [3] unit, toward the lamp
    ambient: float  # 0..1, of all light
    change: np.ndarray  # [3] per frame, of the strength of R, G and B
    cell: float  # m, of the shadow map

    def at(self, time: float, points: np.ndarray, normals: np.ndarray, casts: np.ndarray,
           ) -> np.ndarray:
        """[M, 3] factors on the paint of points.

        Args:
            time: in frames.
            points: [M, 3] m, world.
            normals: [M, 3] unit, world.
            casts: [M] bool, who throws shadows.
        """
        facing = np.abs(normals @ self.direction)
        lamp = facing * (1 - self._shadow(points, casts))
        strength = 1 + self.change * time
        return (self.ambient + (1 - self.ambient) * lamp)[:, None] * strength

    def _shadow(self, points, casts) -> np.ndarray:
        """[M] 0..1 from a depth map along the light, softened over 3x3 cells."""
        first = np.cross(self.direction, [1.0, 0, 0])
        first /= np.linalg.norm(first)
        across = np.stack([first, np.cross(self.direction, first)], 1)
        cells = np.floor(points @ across / self.cell).astype(np.int64)
        cells -= cells.min(0) - 1
        shape = cells.max(0) + 2
        toward = points @ self.direction
        nearest = np.full(shape, -np.inf)
        np.maximum.at(nearest, tuple(cells[casts].T), toward[casts])
        shadow = np.zeros(len(points))
        for x in (-1, 0, 1):
            for y in (-1, 0, 1):
                above = nearest[cells[:, 0] + x, cells[:, 1] + y]
                shadow += (above > toward + 3 * self.cell) / 9
        return shadow


@dataclass(frozen=True, eq=False)
class Thing:
    """A body with its paint."""

    body: Body
    paint: np.ndarray  # [M, 3] sRGB
    spacing: float  # m between its points
    gloss: float  # 0..1, strength of what depends on the direction of view
    casts: bool  # a shadow


@dataclass(frozen=True, eq=False)
class World:
    """Everything in front of a rig. Rows of all its scenes are the same points, in order."""

    things: tuple[Thing, ...]
    light: Light

    def scene(self, time: float) -> GaussianScene:
        """The dense Gaussians at a time, SH of degree 1; what is not there is transparent."""
        points, frames = self.points(time)
        paint = np.concatenate([thing.paint for thing in self.things])
        casts = self._each([thing.casts and thing.body.present(time) for thing in self.things])
        spacing = self._each([thing.spacing for thing in self.things])
        gloss = self._each([thing.gloss for thing in self.things])
        light = self.light.at(time, points, frames[:, :, 2], casts)
        sh = np.zeros((len(points), 4, 3))
        sh[:, 0] = (np.clip(paint * light, 0, 1) - 0.5) / SH_C0
        # brighter where the view looks against the mirrored lamp: degree 1 is (-y, z, -x)
        mirrored = 2 * (frames[:, :, 2] @ self.light.direction)[:, None] * frames[:, :, 2] \
            - self.light.direction
        sh[:, 1:] = (-mirrored[:, [1, 2, 0]] * (-1, 1, -1) * gloss[:, None])[..., None]
        quats = Rotation.from_matrix(frames).as_quat()[:, [3, 0, 1, 2]]
        scales = spacing[:, None] * np.array([_SPREAD, _SPREAD, _FLAT])
        opacities = np.where(self._each([t.body.present(time) for t in self.things]), 0.96, 0.0)
        return GaussianScene(*(torch.from_numpy(np.ascontiguousarray(value, np.float32))
                               for value in (points, quats, scales, opacities, sh)))

    def points(self, time: float) -> tuple[np.ndarray, np.ndarray]:
        """World points [M, 3] m and frames [M, 3, 3] of all things at a time."""
        placed = [thing.body.at(time) for thing in self.things]
        return (np.concatenate([points for points, _ in placed]),
                np.concatenate([frames for _, frames in placed]))

    def present(self, time: float) -> np.ndarray:
        """[M] bool: whose thing is there at a time."""
        return self._each([thing.body.present(time) for thing in self.things])

    def _each(self, values) -> np.ndarray:
        return np.repeat(values, [len(thing.paint) for thing in self.things])


def random_world(rng: np.random.Generator, rig: Rig) -> World:
    """A room with 3 to 8 bodies where the cameras of `rig` look."""
    spacing = 1.3 * rig.pixel
    things = _room(rng, rig)
    pace = rng.choice([0.25, 1.0], p=(0.6, 0.4))  # most recordings are slow
    for _ in range(int(rng.integers(3, 9))):
        things.append(_thing(rng, rig, spacing, pace))
    tilt = np.array([rng.uniform(-0.8, 0.8), rng.uniform(-1.0, 0.2), 1.0])
    light = Light(tilt / np.linalg.norm(tilt), rng.uniform(0.35, 0.7),
                  rng.uniform(-0.01, 0.01, 3) * (rng.random() < 0.5), 3 * spacing)
    return World(tuple(things), light)


def _thing(rng, rig: Rig, spacing: float, pace: float) -> Thing:
    size = rig.distance * rng.uniform(0.06, 0.3)
    moves = rng.random() < 0.75
    speed = moves * pace * _FASTEST_PX * rng.random() ** 2 * rig.pixel  # m per frame
    turn = moves * pace * _FASTEST_TURN * rng.random() ** 2
    direction = _unit(rng.normal(size=3) * (1, 0.6, 0.5))
    drift = Drift(center=rng.uniform(-0.35, 0.35, 3) * (1, 1, 0.6) * rig.distance,
                  velocity=speed * direction,
                  acceleration=0.1 * speed * rng.normal(size=3),
                  attitude=rng.uniform(-np.pi, np.pi, 3),
                  spin=turn * _unit(rng.normal(size=3)))
    spacing = max(spacing, size * np.sqrt(3.0 / _BODY_GAUSSIANS))
    kind = rng.choice(4, p=(0.4, 0.2, 0.25, 0.15))
    if kind == 0:
        body = bodies.rigid(rng, size, spacing, drift)
    elif kind == 1:
        body = bodies.soft(rng, size, spacing, drift, moves * pace * 0.1 * rng.random())
    elif kind == 2:
        body = bodies.articulated(rng, 1.6 * size, spacing, drift,
                                  moves * pace * _FASTEST_TURN * rng.random())
    else:
        hanging = Drift(drift.center, 0.1 * drift.velocity, 0 * drift.acceleration,
                        np.array([np.pi / 2, 0, 0]) + rng.normal(0, 0.2, 3), 0 * drift.spin)
        body = bodies.cloth(rng, 1.6 * size, spacing, hanging, speed)
    fate = rng.random()
    born, gone = (rng.uniform(0, 4) if fate < 0.06 else -np.inf,
                  rng.uniform(1, 4) if 0.06 <= fate < 0.12 else np.inf)
    body = Body(body.surface, body.deform, born, gone)
    return Thing(body, _paint(rng, body, size), spacing,
                 rng.uniform(0, 0.15) * (rng.random() < 0.3), True)


def _room(rng, rig: Rig) -> list[Thing]:
    """Floor, ceiling and walls around the cameras; only what some camera sees is kept."""
    across, behind = rng.uniform(1.2, 1.6), rng.uniform(0.6, 1.2)
    if rig.kind == 'ring':
        behind = rng.uniform(1.15, 1.5)
    low = rig.distance * np.array([-across, -1.5, -rng.uniform(0.3, 0.6)])
    high = rig.distance * np.array([across, behind, rng.uniform(0.9, 1.1)])
    step = 0.05 * rig.distance
    area = step ** 2 * sum(len(_seen(wall, rig).points) for wall in _walls(low, high, step))
    spacing = np.sqrt(max(area, step ** 2) / _ROOM_GAUSSIANS)
    walls = [Body(_seen(wall, rig), _at_rest) for wall in _walls(low, high, spacing)]
    return [Thing(wall, _paint(rng, wall, rig.distance / 2), spacing, 0.0, False)
            for wall in walls if len(wall.surface.points)]


def _walls(low: np.ndarray, high: np.ndarray, spacing: float) -> list[surfaces.Surface]:
    """The six inner faces of a box between two corners [3] m."""
    faces, size = [], high - low
    for axis in range(3):
        one, other = (axis + 1) % 3, (axis + 2) % 3
        for sign, side in ((1.0, low), (-1.0, high)):
            middle = (low + high) / 2
            middle[axis] = side[axis]
            rotation = np.stack([np.eye(3)[one], sign * np.eye(3)[other],
                                 sign * np.eye(3)[axis]], 1)
            faces.append(surfaces.sheet(size[one], size[other], spacing).placed(rotation, middle))
    return faces


def _seen(surface: surfaces.Surface, rig: Rig) -> surfaces.Surface:
    seen = np.zeros(len(surface.points), bool)
    for camera in rig.cameras.values():
        seen |= _in_view(camera, surface.points)
    return surface.select(np.flatnonzero(seen))


def _in_view(camera: Camera, points: np.ndarray) -> np.ndarray:
    pixels, depth = camera.project(points)
    size = np.array([camera.width, camera.height])
    return (depth > 0.05) & (np.abs(pixels - size / 2) < 0.55 * size).all(1)


def _paint(rng, body: Body, size: float) -> np.ndarray:
    repeat = size * np.exp(rng.uniform(np.log(0.5), np.log(4.0)))
    return sampled(texture(rng), body.surface.uv / repeat)


def _at_rest(points: np.ndarray, time: float) -> np.ndarray:
    return points


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)
