# SPDX-License-Identifier: Apache-2.0
"""Keep a live 3D Gaussian scene from calibrated cameras, or reconstruct a recording.

  igs import SOURCE --out DIR make a recording of another tool's calibration and pictures
  igs run DATA --out OUT      reconstruct a recording offline and score it
  igs play DATA               publish a recording on camera topics
  igs record OUT              record the node's inputs and outputs into a bag
  igs demo --out OUT          player and node on the recording that ships, scored
  igs bench WHAT              measure a part: BENCHES
  igs prepare DATA --out DIR  make a recording ready for training
  igs train --out OUT         learn the weights of a motion network
  igs check                   say what this machine can run, and what is wrong; with --rig DATA,
                              whether the cameras of a recording fit together
  igs calibrate DATA --out RIG.json
                              adjust their poses to what they see
  igs --version

Each command has its own --help. Completion of commands and options, for bash (or zsh, tcsh):
  igs --tyro-print-completion bash > ~/.local/share/bash-completion/completions/igs

Exit codes:
  0    done
  1    it ran and failed: igs check found something needed missing, or a camera that is wrong,
       igs demo scored too few frames
  2    unusable input or options; one line on stderr says which
  3    igs check --rig and igs calibrate cannot tell
  130  interrupted
"""
from __future__ import annotations

import logging
import os
import sys
import textwrap
import threading

import tyro
from rich.console import Console
from rich.logging import RichHandler

from igs_ros import __version__
from igs_ros.apps.cli.bench import Bench, bench_names
from igs_ros.apps.cli.calibrate import Calibrate
from igs_ros.apps.cli.check import Check
from igs_ros.apps.cli.import_rig import Import
from igs_ros.apps.cli.prepare import Prepare
from igs_ros.apps.cli.ros import Demo, Play, Record
from igs_ros.apps.cli.run import Run
from igs_ros.apps.cli.train import Train
from igs_ros.core.errors import InputError
from igs_ros.core.machine import tune_process
from igs_ros.core.signals import interrupts

log = logging.getLogger(__name__)


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and run the subcommand; exits with the code (above)."""
    logging.basicConfig(level=logging.INFO, format='%(message)s', handlers=[
        RichHandler(console=Console(stderr=True), show_path=False, show_time=False)])
    logging.getLogger('matplotlib').setLevel(logging.WARNING)
    if (sys.argv[1:] if arguments is None else arguments) == ['--version']:
        print(f'igs {__version__}')
        sys.exit(0)
    command = tyro.extras.subcommand_cli_from_dict(
        {'import': Import, 'run': Run, 'play': Play, 'record': Record, 'demo': Demo,
         'bench': Bench, 'prepare': Prepare, 'train': Train, 'check': Check,
         'calibrate': Calibrate},
        prog='igs', args=arguments,
        description=(__doc__ or '').replace('BENCHES', _wrapped(bench_names())))
    tune_process()
    before, threading.excepthook = threading.excepthook, _thread_failed
    try:
        with interrupts():
            code = _code_of(command)
    finally:
        threading.excepthook = before
    sys.exit(code)


def _code_of(command) -> int:
    """Run a subcommand; its exit code, after one line about why it did not end well."""
    try:
        code = command.main()
        sys.stdout.flush()  # a disk that is full, or a reader that has gone, is said here
        return code or 0
    except InputError as error:
        print(f'igs: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('igs: interrupted', file=sys.stderr)
        return 130
    except OSError as error:
        log.debug('', exc_info=True)
        where = error.filename or 'the standard output, or a file'
        print(f'igs: {where}: {error.strerror or error}. Check the path, its permissions and the '
              f'room on its disk.', file=sys.stderr)
        if error.filename is None:
            # Python flushes it once more when it ends
            sys.stdout = open(os.devnull, 'w')  # noqa: SIM115
        return 2


def _thread_failed(args: threading.ExceptHookArgs) -> None:
    """What a thread of a library cannot write (TensorBoard's), the main thread is told as well."""
    if isinstance(args.exc_value, OSError):
        log.error('%s: %s', args.thread and args.thread.name, args.exc_value)
    else:
        threading.__excepthook__(args)


def _wrapped(names: tuple[str, ...]) -> str:
    return textwrap.fill(', '.join(names), 98, initial_indent=' ' * 46,
                         subsequent_indent=' ' * 30).strip()


if __name__ == '__main__':
    main()
