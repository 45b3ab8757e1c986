# SPDX-License-Identifier: Apache-2.0
"""The node `igs` (executable `reconstruct`): camera topics in, a live scene and its views out.

`ReconstructNode` is a lifecycle node; what it does while it is configured is `Reconstruction`.
Three kinds of threads: the executor's (callbacks, which only queue), the pipeline's two (motion,
refinement), and those of the outputs (views, state, diagnostics). Topics, QoS: docs/topics.md.
"""
from __future__ import annotations

import sys
from typing import Any

from igs_ros.node.environment import exit_without_ros

if __name__ == '__main__':
    exit_without_ros('reconstruct')  # the import below may end the process

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.logging import get_logger
from rclpy.signals import SignalHandlerOptions

from igs_ros.core.config import Config, check_change
from igs_ros.core.errors import InputError
from igs_ros.core.machine import tune_process
from igs_ros.core.signals import ShutdownFlag
from igs_ros.live.pipeline import LivePipeline
from igs_ros.node import params
from igs_ros.node.lifecycle import ManagedNode
from igs_ros.node.param_changes import watch_changes
from igs_ros.node.params import NodeConfig, Views
from igs_ros.node.reconstruction import Reconstruction
from igs_ros.node.scene_files import SceneFiles
from igs_ros.node.services import Services


class ReconstructNode(ManagedNode[Reconstruction]):
    """The node `igs`; any number of them may share a process.

    `start` configures and activates it, `close` ends it; in between somebody spins it.

    Raises:
        InputError: parameters of another type or out of range.
    """

    def __init__(self, **node_options: Any):  # of rclpy's Node
        super().__init__('igs', **node_options)
        self.settings, self.config = params.declare(self)
        watch_changes(self, self._check, self._change)
        Services(self, self._running)
        SceneFiles(self, self._running, lambda: self.settings)

    def make_work(self) -> Reconstruction:
        """See `ManagedNode`."""
        return Reconstruction(self, self.settings, self.config)

    def _check(self, settings: NodeConfig, config: Config, views: Views) -> None:
        check_change(self.config, config)
        if self.work is not None:
            self.work.check(settings, config, views)

    def _change(self, settings: NodeConfig, config: Config, views: Views) -> None:
        self.settings, self.config = settings, config
        if self.work is not None:
            self.work.change(settings, config, views)

    def failed(self, error: Exception) -> None:
        """A callback failed: that costs one message, once the node is at work."""
        if self.work is None:
            raise error
        self.work.failed(error)

    def _running(self) -> LivePipeline:
        """The pipeline; raises `InputError` where there is none, with what to do."""
        if self.work is None:
            raise InputError(f'{self.get_fully_qualified_name()} is {self.state}; expected '
                             f'active. Configure and activate it.')
        if self.work.pipeline is None:
            raise InputError('there is nothing yet: still waiting for calibrations of the '
                             'cameras. ~/status says which.')
        return self.work.pipeline


def main(arguments: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM; 1 when its parameters cannot work.

    With the parameter autostart it is active at once; else it waits to be configured. At the end,
    the work in hand is called off, which takes an optimization step or so; a second signal, a
    second later, ends the process at once.
    """
    tune_process()
    rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    stop = ShutdownFlag()
    node = None
    try:
        node = ReconstructNode()
        if node.settings.autostart:
            node.start()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        while not stop:
            try:
                executor.spin_once(timeout_sec=0.2)
            except InputError:
                raise
            except Exception as error:
                node.failed(error)
        return 0
    except InputError as error:
        get_logger('igs').fatal(str(error))
        return 1
    finally:
        if node is not None:
            node.close()
            node.destroy_node()
        rclpy.try_shutdown()


if __name__ == '__main__':
    sys.exit(main())
