# SPDX-License-Identifier: Apache-2.0
"""Each complaint is said once, or once in a while, and counted always."""
import logging

from igs_ros.core.logs import Throttle, ThrottledWarnings, log_once
from igs_ros.core.timing import Drops


def test_a_line_is_logged_once_for_each_logger_and_level(caplog):
    here, there = logging.getLogger('test.here'), logging.getLogger('test.there')
    with caplog.at_level(logging.INFO):
        for log in (here, there, here):
            for level in (logging.INFO, logging.WARNING):
                log_once(log, level, '100 % once')
    assert [(r.name, r.levelname, r.message) for r in caplog.records] == [
        (name, level, '100 % once') for name in ('test.here', 'test.there')
        for level in ('INFO', 'WARNING')]


def test_each_key_comes_through_again_exactly_after_the_time():
    seconds = [0.0]
    throttle = Throttle(10, now=lambda: seconds[0])
    assert throttle.take('a') == 0 and throttle.take('b') == 0
    seconds[0] = 9.999
    assert throttle.take('a') is None and throttle.take('a') is None
    seconds[0] = 10.0
    assert throttle.take('b') == 0
    assert throttle.take('a') == 2
    seconds[0] = 20.0
    assert throttle.take('a') == 0


def test_what_was_silent_for_long_is_forgotten():
    seconds = [0.0]
    throttle = Throttle(10, now=lambda: seconds[0])
    for number in range(1000):
        seconds[0] = float(number)
        throttle.take(f'error {number}')
    assert len(throttle._let_through_s) <= 11


def test_a_complaint_is_repeated_only_after_a_while():
    seconds, lines, drops = [0.0], [], Drops()
    warnings = ThrottledWarnings(lines.append, drops, every_s=10, now=lambda: seconds[0])
    for number in range(15):
        seconds[0] = float(number)
        warnings.add('bad', 'cam00', f'message {number}')
    warnings.add('bad', 'cam01', 'another camera')
    warnings.add('worse', 'cam00', 'another cause')
    assert lines == ['message 0', 'message 10 (9 more like this since)', 'another camera',
                     'another cause']
    assert drops.snapshot() == {'bad:cam00': 15, 'bad:cam01': 1, 'worse:cam00': 1}


def test_another_fault_of_the_same_topic_is_said_at_once_and_numbers_make_no_other():
    lines, drops = [], Drops()
    warnings = ThrottledWarnings(lines.append, drops, every_s=10, now=lambda: 0.0)
    for message in ("/a: 11 bytes; the camera's are 12", "/a: 9 bytes; the camera's are 12",
                    "/a: 'it\\'s 7' is no encoding", "/a: 'other' is no encoding",
                    '/a: "don\'t" is no encoding'):
        warnings.add('bad_message', 'a', message)
    assert lines == ["/a: 11 bytes; the camera's are 12", "/a: 'it\\'s 7' is no encoding"]
    assert drops.snapshot() == {'bad_message:a': 5}
