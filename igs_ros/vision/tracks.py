# SPDX-License-Identifier: Apache-2.0
"""Matches joined over cameras, and what three of them say that two cannot."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from igs_ros.core.camera import Camera
from igs_ros.vision.epipolar import depths
from igs_ros.vision.rig_pairs import Pair, Verdict, focal, limit_px, relative

_LEAST = 15  # points that three cameras see, to judge by
_MIN_ANGLE = np.radians(2.0)  # between the rays of two cameras, for a point
_SAMPLE = 150  # points of a triple

Node = tuple[int, str, int]  # frame, camera, feature


@dataclass(frozen=True, eq=False)
class Track:
    """One thing at one instant, seen by two and more cameras."""

    pixels: Mapping[str, np.ndarray]  # [2] raw, centers at +0.5, by camera


@dataclass(frozen=True, eq=False)
class Triple:
    """Three cameras, judged together."""

    names: tuple[str, str, str]
    points: int
    error_px: float  # how far what two see is off in the third, median
    verdict: Verdict


def tracks_of(pairs: Sequence[Pair], cameras: Mapping[str, Camera]) -> list[Track]:
    """Fitting matches of pairs, joined; those that lead to two features of a camera left out.

    What stands still counts once, not in every frame.
    """
    group: dict[Node, Node] = {}

    def root(node: Node) -> Node:
        while group.setdefault(node, node) != node:
            group[node] = node = group[group[node]]
        return node
    place: dict[Node, np.ndarray] = {}
    for pair in pairs:
        (one, other), matches = pair.names, pair.matches
        for row in np.flatnonzero(pair.fitting & matches.fresh):
            frame, i, j = (int(value) for value in matches.rows[row])
            a, b = (frame, one, i), (frame, other, j)
            place[a], place[b] = matches.pixels[row], matches.other_pixels[row]
            group[root(a)] = root(b)
    members: dict[Node, list[Node]] = {}
    for node in place:
        members.setdefault(root(node), []).append(node)
    order = {name: number for number, name in enumerate(cameras)}
    return [Track({name: place[node] for node in sorted(nodes, key=lambda n: order[n[1]])
                   for name in (node[1],)})
            for nodes in members.values() if len({node[1] for node in nodes}) == len(nodes)]


def triples(tracks: Sequence[Track], cameras: Mapping[str, Camera]) -> list[Triple]:
    """All threes of cameras that see enough together.

    Args:
        tracks: what they see.
        cameras: of the rig, by name.
    """
    owned: dict[tuple[str, ...], list[Track]] = {}
    for track in tracks:
        for names in combinations(track.pixels, 3):
            owned.setdefault(names, []).append(track)
    found = []
    for names, own in owned.items():
        one, two, three = names
        rays = {name: cameras[name].rays(np.array([track.pixels[name] for track in own[:_SAMPLE]]))
                for name in names}
        errors = _transfer_errors(rays, {name: cameras[name] for name in names})
        if len(errors) >= _LEAST:
            error, limit = float(np.median(errors)), limit_px(*(cameras[n] for n in names))
            found.append(Triple((one, two, three), len(errors), error,
                                Verdict.GOOD if error <= limit else Verdict.WRONG))
    return found


def _transfer_errors(rays: Mapping[str, np.ndarray], cameras: Mapping[str, Camera]) -> np.ndarray:
    """[P] px: what the two cameras farthest apart see, in the third; of points near enough."""
    pair = max(combinations(rays, 2), key=lambda two: np.linalg.norm(
        cameras[two[0]].center - cameras[two[1]].center))
    third = next(name for name in rays if name not in pair)
    a, b = (cameras[name] for name in pair)
    near, _, angle = depths(rays[pair[0]], rays[pair[1]], relative(a, b))
    good = (near > 0) & (angle > _MIN_ANGLE)
    local = np.concatenate([rays[pair[0]], np.ones((len(near), 1))], 1)[good] * near[good, None]
    motion = relative(a, cameras[third])
    there = local @ motion[:3, :3].T + motion[:3, 3]
    ahead = there[:, 2] > 0
    drawn = there[ahead, :2] / there[ahead, 2:]
    return np.linalg.norm(drawn - rays[third][good][ahead], axis=1) * focal(cameras[third])
