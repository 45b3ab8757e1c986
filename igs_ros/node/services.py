# SPDX-License-Identifier: Apache-2.0
"""Services of the node; they answer in every state, and say what is wrong where they refuse."""
from __future__ import annotations

from collections.abc import Callable
from functools import partial

from rclpy.node import Node
from std_srvs.srv import Trigger

from igs_ros.core.errors import InputError
from igs_ros.live.pipeline import LivePipeline


class Services:
    """~/pause, ~/resume, ~/reset and ~/refine_now.

    Args:
        node: that offers them.
        running: the pipeline; where there is none, an `InputError` with what to do.
    """

    def __init__(self, node: Node, running: Callable[[], LivePipeline]):
        self._running = running
        for name, act in (('pause', _pause), ('resume', _resume), ('reset', _reset),
                          ('refine_now', _refine_now)):
            node.create_service(Trigger, f'~/{name}', partial(self._on_trigger, act))

    def _on_trigger(self, act: Callable[[LivePipeline], str], _: Trigger.Request,
                    response: Trigger.Response) -> Trigger.Response:
        try:
            response.message = act(self._running())
            response.success = True
        except InputError as error:
            response.message = str(error)
        return response


def _pause(pipeline: LivePipeline) -> str:
    pipeline.pause()
    return 'no frame set is taken until ~/resume; the scene and its views stay'


def _resume(pipeline: LivePipeline) -> str:
    was_paused = pipeline.paused
    pipeline.resume()
    return 'frame sets are taken again' if was_paused else 'it was not paused'


def _reset(pipeline: LivePipeline) -> str:
    pipeline.reset()
    return 'a new first scene is made from the next frame set'


def _refine_now(pipeline: LivePipeline) -> str:
    if pipeline.snapshot() is None:
        raise InputError('there is no scene yet to refine; expected one. ~/status says what is '
                         'waited for.')
    pipeline.refine_now()
    return 'the next frame set that is taken makes a key' \
        + (', once it is resumed' if pipeline.paused else '')
