# SPDX-License-Identifier: Apache-2.0
"""Each complaint is said once, and counted always."""
import logging

from igs_ros.core.timing import Drops
from igs_ros.node.logs import RosHandler, ThrottledWarnings, with_traceback


class RosLogger:
    def __init__(self):
        self.lines = []

    def __getattr__(self, severity):
        return lambda text: self.lines.append((severity, text))


def test_the_core_logs_to_ros():
    ros_logger = RosLogger()
    logger = logging.Logger('core')
    logger.addHandler(RosHandler(ros_logger))
    logger.debug('nothing')
    logger.info('a %d', 1)
    logger.warning('b')
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        logger.exception('c')
    assert ros_logger.lines[:2] == [('info', 'a 1'), ('warning', 'b')]
    severity, text = ros_logger.lines[2]
    assert severity == 'error' and 'ZeroDivisionError' in text


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


def test_an_unexpected_error_is_told_with_its_origin():
    try:
        {}['nowhere']
    except KeyError as error:
        text = with_traceback('view not rendered', error)
    assert text.startswith("view not rendered: KeyError('nowhere')\nTraceback")
    assert "{}['nowhere']" in text
