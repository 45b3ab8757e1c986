# SPDX-License-Identifier: Apache-2.0
"""Parameters that change while the node runs."""
from __future__ import annotations

from collections.abc import Callable, Sequence

from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from igs_ros.core.config import Config
from igs_ros.core.errors import InputError
from igs_ros.node import params
from igs_ros.node.params import NodeConfig, Views


def watch_changes(node: Node, check: Callable[[NodeConfig, Config, Views], None],
                  apply: Callable[[NodeConfig, Config, Views], None]) -> None:
    """Have parameters of `node` change while it runs.

    Args:
        node: whose parameters are declared.
        check: refuses settings that cannot be, by an `InputError`; its text is the reason given.
        apply: called with settings that were checked, once they are set.
    """
    names = [one.name for one in _all_parameters(node)]

    def configs(changed: Sequence[Parameter]) -> tuple[NodeConfig, Config, Views]:
        values = {name: node.get_parameter(name).value for name in names}
        values.update({one.name: one.value for one in changed})
        settings, config = params.configs_from(values)
        return settings, config, params.view_configs_from(values, settings)

    def on_set(changed: list[Parameter]) -> SetParametersResult:
        try:
            if any(one.name in names for one in changed):
                check(*configs(changed))
        except InputError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def after_set(changed: list[Parameter]) -> None:
        if any(one.name in names for one in changed):  # others have parameters here, too
            apply(*configs(changed))

    node.add_on_set_parameters_callback(on_set)
    node.add_post_set_parameters_callback(after_set)


def _all_parameters(node: Node) -> list[params.Parameter]:
    """Those that are declared on `node`, with those of its views."""
    views = [one for one in node.get_parameter('views').value or () if one]
    return [*params.parameters(), *(one for view in views for one in params.view_parameters(view))]
