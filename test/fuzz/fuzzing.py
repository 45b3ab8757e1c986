# SPDX-License-Identifier: Apache-2.0
"""The frame of the fuzzers: what comes from outside is used, or refused with one `InputError`.

In the suite each fuzzer has a few hundred cases, the same ones on every run, and nothing is timed.
`make fuzz` gives each of them 10,000 of a random seed that is printed (`make fuzz SEED=...`
repeats it) and measures CPU time and memory of every case.
"""
import functools
import os
import random
import re
import resource
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from igs_ros.core.errors import InputError

CASES = int(os.environ.get('IGS_FUZZ_CASES') or 0)  # 0 = a part of the suite
SEED = int(os.environ.get('IGS_FUZZ_SEED') or random.SystemRandom().randrange(2 ** 32))
MAX_S = 2.0  # CPU of one case
MAX_MB = 500.0  # that one case adds to the resident memory
STOPPED_S = 20.0  # CPU after which a case is stopped
ROOM = 4 * 2 ** 30  # bytes of address space that a case may add: more is a MemoryError
MESSAGE = 4000  # characters of a message for people

PACKAGE = Path(__file__).resolve().parents[2] / 'igs_ros'


class Stopped(BaseException):
    """A case that takes too long; no `Exception`, so that no reader takes it for bad input."""


@dataclass
class Record:
    """What the cases of one fuzzer did."""

    name: str
    cases: int = 0
    refused: int = 0
    slowest_s: float = 0.0
    max_mb: float = 0.0
    over_s: int = 0
    over_mb: int = 0
    tracebacks: Counter = field(default_factory=Counter)  # by place
    examples: dict[str, str] = field(default_factory=dict)  # first case by what was missed

    def missed(self) -> list[str]:
        """Which targets were missed, a line each."""
        lines = [f'{count} times {place}' for place, count in self.tracebacks.most_common()]
        lines += [f'{self.over_s} cases over {MAX_S:g} CPU s'] if self.over_s else []
        lines += [f'{self.over_mb} cases over {MAX_MB:g} MB'] if self.over_mb else []
        return lines + [f'    {what}: {case}' for what, case in self.examples.items()]


_records: list[Record] = []


def fuzzer(cases: int = 200, share: float = 1.0, **strategies):
    """The decorated function is one case: a test whose arguments are drawn from `strategies`
    (others are fixtures), which calls what is tested and may check what it returned.

    It fails on every exception other than an `InputError` of one line. cases: of the suite;
    share: of the cases of `make fuzz`, for what takes long by nature.
    """
    def decorate(case):
        record = Record(case.__name__)

        @functools.wraps(case)
        def guarded(**values):
            record.cases += 1
            with _measured(record, values) if CASES else _limited():
                try:
                    case(**values)
                except InputError as error:
                    record.refused += 1
                    _require_line(str(error))

        tested = settings(
            max_examples=max(1, round(CASES * share)) if CASES else cases, database=None,
            derandomize=not CASES, suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.generate] if CASES else list(Phase),
        )(given(**strategies)(guarded))
        if not CASES:
            return tested
        tested = seed(SEED)(tested)

        @functools.wraps(tested)
        def whole(*args, **kwargs):
            _records.append(record)
            tested(*args, **kwargs)
            if missed := record.missed():
                pytest.fail('\n'.join([f'{record.name}, seed {SEED}:', *missed]), pytrace=False)
        return whole
    return decorate


def _require_line(text: str) -> None:
    assert text and text.isprintable(), f'no line for people: {text!r:.{MESSAGE}}'
    assert len(text) <= MESSAGE, f'{len(text)} characters: {text:.200}...'


def report() -> Iterator[str]:
    """The table of `make fuzz`; nothing in the suite."""
    if not _records:
        return
    yield (f'seed {SEED} (make fuzz SEED={SEED} repeats it); targets: 0 tracebacks, 0 cases over '
           f'{MAX_S:g} CPU s or {MAX_MB:g} MB')
    yield f'{"fuzzer":32} {"cases":>7} {"refused":>8} {"tracebacks":>10} {"CPU s":>7} {"MB":>6}'
    for record in _records:
        yield (f'{record.name:32} {record.cases:7} {record.refused:8} '
               f'{record.tracebacks.total():10} {record.slowest_s:7.2f} {record.max_mb:6.0f}')


@contextmanager
def _limited():
    """Address space for one case: what allocates by a count that lies fails here, not the host."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_status('VmSize') + ROOM, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@contextmanager
def _measured(record: Record, values: dict):
    """CPU time and memory of one case; what it raises is counted, and the next case goes on."""
    Path('/proc/self/clear_refs').write_text('5')  # the peak counts from here
    before, start = _status('VmHWM'), time.process_time()
    old = signal.signal(signal.SIGPROF, _stop)
    signal.setitimer(signal.ITIMER_PROF, STOPPED_S)
    try:
        with _limited():
            yield
    except (Exception, Stopped) as error:
        if type(error).__module__.startswith('hypothesis'):
            raise  # its own way to end a case
        place = f'{type(error).__name__} ({str(error):.100}) at {_place(error)}'
        if not isinstance(error, Stopped):
            record.tracebacks[re.sub(r'\d{3,}', 'N', place)] += 1
            record.examples.setdefault(re.sub(r'\d{3,}', 'N', place), f'{values!r:.2000}')
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, old)
    took, grown = time.process_time() - start, (_status('VmHWM') - before) / 2 ** 20
    record.slowest_s, record.max_mb = max(record.slowest_s, took), max(record.max_mb, grown)
    for name, much in (('over_s', took > MAX_S), ('over_mb', grown > MAX_MB)):
        if much:
            setattr(record, name, getattr(record, name) + 1)
            record.examples.setdefault(f'{took:.1f} CPU s, {grown:.0f} MB', f'{values!r:.2000}')


def _stop(*_):
    raise Stopped


def _place(error: BaseException) -> str:
    """The innermost line of the package that `error` went through."""
    frames, found = error.__traceback__, 'the case itself'
    while frames is not None:
        path = Path(frames.tb_frame.f_code.co_filename)
        if PACKAGE in path.parents:
            found = f'{path.relative_to(PACKAGE.parent)}:{frames.tb_lineno}'
        frames = frames.tb_next
    return found


def _status(name: str) -> int:
    """A size of /proc/self/status in bytes."""
    text = Path('/proc/self/status').read_text()
    return 1024 * int(re.search(rf'{name}:\s+(\d+)', text)[1])
