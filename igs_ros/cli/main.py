# SPDX-License-Identifier: Apache-2.0
"""The `igs` command.

igs run DATA --out OUT      reconstruct a recording offline and score it
igs play DATA               publish a recording on camera topics
igs demo --out OUT          player and node on the recording that ships, joined and scored
igs bench raster            time the rasteriser
igs check                   say what this machine can run
"""
from __future__ import annotations

import logging
import sys

import tyro
from rich.console import Console
from rich.logging import RichHandler

from igs_ros.cli.bench import Bench
from igs_ros.cli.check import Check
from igs_ros.cli.demo import Demo
from igs_ros.cli.play import Play
from igs_ros.cli.run import Run
from igs_ros.errors import InputError


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and run the subcommand; exits with 2 on unusable input."""
    logging.basicConfig(level=logging.INFO, format='%(message)s', handlers=[
        RichHandler(console=Console(stderr=True), show_path=False, show_time=False)])
    logging.getLogger('matplotlib').setLevel(logging.WARNING)
    command = tyro.extras.subcommand_cli_from_dict(
        {'run': Run, 'play': Play, 'demo': Demo, 'bench': Bench, 'check': Check},
        prog='igs', description=__doc__, args=arguments)
    try:
        code = command.main()
    except InputError as error:
        print(f'igs: {error}', file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        code = 130
    sys.exit(code or 0)


if __name__ == '__main__':
    main()
