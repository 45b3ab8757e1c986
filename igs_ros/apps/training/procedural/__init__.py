# SPDX-License-Identifier: Apache-2.0
"""Endless dynamic scenes to learn motion from, each made from its number alone.

    textures.py, surfaces.py   what things look like, and their shapes as Gaussians
    bodies.py                  how they move: rigid, articulated, soft, cloth
    rigs.py                    cameras
    world.py                   a room full of bodies under a light, at any time
    keys.py                    the imperfect key scene that a reconstruction would have
    source.py, kept.py         samples for `igs train`, and their files

No picture comes from a camera, and none from a recording: they only validate.
"""
