# SPDX-License-Identifier: Apache-2.0
"""Flags that several commands share: defaults, where they end up, what is refused."""
from dataclasses import fields, replace

import pytest
import tyro

from igs_ros.cli.options import SceneOptions, frame_range
from igs_ros.config import Config
from igs_ros.errors import InputError


def test_no_flags_are_the_defaults_of_the_configuration():
    assert tyro.cli(SceneOptions, args=[]).config() == Config()


def test_flags_reach_the_configuration():
    flags = ('--width 320 --motion static --key-interval 3 --refine-iterations 7 '
             '--max-gaussians 123 --sh-degree 2 --bootstrap images --bootstrap-iterations 9 '
             '--bootstrap-seconds 1.5 --device cpu --threads 3 --seed 4').split()
    made, start = tyro.cli(SceneOptions, args=flags).config(), Config()
    assert made == replace(
        start, width=320, motion='static', key_interval=3, max_gaussians=123, sh_degree=2,
        device='cpu', threads=3, seed=4, refine=replace(start.refine, iterations=7),
        bootstrap=replace(start.bootstrap, method='images', iterations=9, seconds=1.5))


CHANGED = {bool: lambda value: not value, int: lambda value: value + 1,
           float: lambda value: value + 1, str: lambda value: value + 'x'}


@pytest.mark.parametrize('name', [field.name for field in fields(SceneOptions)])
def test_every_flag_changes_something(name):
    value = getattr(SceneOptions(), name)
    changed = {'sh_degree': 2}.get(name, CHANGED[type(value)](value))
    assert SceneOptions(**{name: changed}).config() != Config()


@pytest.mark.parametrize('flag, value, name', [
    ('--width', -1, 'width'), ('--key-interval', -1, 'key_interval'),
    ('--refine-iterations', -1, 'refine.iterations'), ('--max-gaussians', 0, 'max_gaussians'),
    ('--bootstrap-iterations', -1, 'bootstrap.iterations'), ('--threads', 0, 'threads'),
    ('--sh-degree', 4, 'sh_degree'), ('--sh-degree', -1, 'sh_degree')])
def test_values_that_cannot_work_are_refused_by_name(flag, value, name):
    options = tyro.cli(SceneOptions, args=[flag, str(value)])
    with pytest.raises(InputError, match=f'{name} .*{value}; expected'):
        options.config()


@pytest.mark.parametrize('text, expected', [('0:11', (0, 11)), ('5:', (5, None)),
                                            (':4', (0, 4)), (':', (0, None))])
def test_frame_ranges(text, expected):
    assert frame_range(text) == expected


@pytest.mark.parametrize('text', ['', '5', 'a:b', '1:2:3', '3:3', '4:2', '-1:3', '1.5:2'])
def test_frame_ranges_that_are_refused(text):
    with pytest.raises(InputError, match='--frames'):
        frame_range(text)
