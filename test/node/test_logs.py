# SPDX-License-Identifier: Apache-2.0
"""What Python logs goes to ROS."""
import logging

from igs_ros.node.logs import RosHandler, with_traceback


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


def test_an_unexpected_error_is_told_with_its_origin():
    try:
        {}['nowhere']
    except KeyError as error:
        text = with_traceback('view not rendered', error)
    assert text.startswith("view not rendered: KeyError('nowhere')\nTraceback")
    assert "{}['nowhere']" in text
