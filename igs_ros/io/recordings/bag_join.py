# SPDX-License-Identifier: Apache-2.0
"""Which pictures of a recording belong to one instant, by their stamps.

All stamps are known here, so the best answer is found, not the best so far as in
`live/assemble.py`: of all ways to cut the pictures, in order of their stamps, into sets of at most
one per camera and at most `max_spread_ns` wide, the one of the least cost, where a set costs its
spread and `max_spread_ns`. So sets are few, and of the pictures that are nearest to each other.
"""
from __future__ import annotations

from collections.abc import Collection, Mapping


def joined(stamps: Mapping[str, Collection[int]], max_spread_ns: int) -> list[dict[str, int]]:
    """The sets in order of time, each with the stamps of its pictures by camera.

    Args:
        stamps: ns by camera, in any order; of equal ones of a camera, one counts.
        max_spread_ns: greatest difference of the stamps in one set.

    Returns:
        Every stamp in exactly one set; a set may be of one picture.
    """
    pictures = sorted((stamp, name) for name, own in stamps.items() for stamp in set(own))
    cheapest, begins = [0], [0]  # of the first n pictures: cost, where their last set begins
    for end in range(1, len(pictures) + 1):
        last_ns, names, best = pictures[end - 1][0], set(), None
        begin = end
        while begin > 0:
            stamp, name = pictures[begin - 1]
            if name in names or last_ns - stamp > max_spread_ns:
                break
            names.add(name)
            begin -= 1
            cost = cheapest[begin] + max_spread_ns + 1 + last_ns - stamp
            if best is None or cost <= best[0]:
                best = cost, begin
        assert best is not None
        cheapest.append(best[0])
        begins.append(best[1])
    sets, end = [], len(pictures)
    while end > 0:
        sets.append({name: stamp for stamp, name in pictures[begins[end]:end]})
        end = begins[end]
    return sets[::-1]


def usable(sets: list[dict[str, int]], cameras: int) -> list[dict[str, int]]:
    """The frame sets that are worth one: from the first complete one on, with half of the cameras.

    Where none is complete, from the first of the fullest on.

    Args:
        sets: in order of time, stamps by camera.
        cameras: how many there are.
    """
    enough = [one for one in sets if 2 * len(one) >= cameras]
    most = max(map(len, enough), default=0)
    begin = next((number for number, one in enumerate(enough) if len(one) == most), 0)
    return enough[begin:]
