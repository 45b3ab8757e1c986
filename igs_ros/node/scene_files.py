# SPDX-License-Identifier: Apache-2.0
"""~/save_scene and ~/load_scene: 3DGS PLY files below one folder, in a thread beside the executor.

Who may call services is not known, so no caller names a place: `scene_folder` is fixed when the
node starts, and `scene_file` cannot leave it.
"""
from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.task import Future
from std_srvs.srv import Trigger

from igs_ros.core.errors import InputError, shown
from igs_ros.io.codec.ply import load_ply, save_ply
from igs_ros.live.pipeline import LivePipeline
from igs_ros.node.logs import with_traceback
from igs_ros.node.params import NodeConfig


class SceneFiles:
    """The two services; files are written whole or not at all.

    Args:
        node: that offers them.
        running: the pipeline; where there is none, an `InputError` with what to do.
        settings: those of now.
    """

    def __init__(self, node: Node, running: Callable[[], LivePipeline],
                 settings: Callable[[], NodeConfig]):
        self._log = node.get_logger()
        self._running = running
        self._settings = settings
        # one after the other, and nothing else waits for them
        group = MutuallyExclusiveCallbackGroup()
        for name, act in ('save_scene', self._save), ('load_scene', self._load):
            # rclpy awaits coroutines, but its annotations do not say so
            node.create_service(
                Trigger, f'~/{name}',
                partial(self._on_trigger, act),  # pyright: ignore[reportArgumentType]
                callback_group=group)

    async def _on_trigger(self, act: Callable[[LivePipeline, Path], str], _: Trigger.Request,
                          response: Trigger.Response) -> Trigger.Response:
        done: Future[tuple[bool, str]] = Future()
        threading.Thread(target=self._work, args=(act, done), name='scene file').start()
        result = await done
        assert result is not None  # `_work` sets one, whatever happens
        response.success, response.message = result
        return response

    def _work(self, act: Callable[[LivePipeline, Path], str],
              done: Future[tuple[bool, str]]) -> None:
        try:
            settings = self._settings()
            path = checked_path(settings.scene_folder, settings.scene_file)
            done.set_result((True, act(self._running(), path)))
        except InputError as error:
            done.set_result((False, str(error)))
        except Exception as error:
            self._log.error(with_traceback('internal error with a scene file, please report it',
                                           error))
            done.set_result((False, f'internal error: {error!r}'))

    def _save(self, pipeline: LivePipeline, path: Path) -> str:
        snapshot = pipeline.snapshot()
        if snapshot is None:
            raise InputError('there is no scene yet to save; expected one. ~/status says what is '
                             'waited for.')
        save_ply(snapshot.scene, path)
        return f'{len(snapshot.scene)} Gaussians written to {path}'

    def _load(self, pipeline: LivePipeline, path: Path) -> str:
        scene = load_ply(path)
        pipeline.load(scene)
        most = pipeline.config.max_gaussians
        cut = f', of which the {most} most important are kept' if len(scene) > most else ''
        return f'{len(scene)} Gaussians of {path}{cut}: the scene from the next frame set on'


def checked_path(folder: str, name: str) -> Path:
    """Where a scene is kept.

    Args:
        folder: '' = nowhere.
        name: of a PLY file, relative to it.

    Raises:
        InputError: what is not below `folder`, links followed.
    """
    if not folder:
        raise InputError('parameter scene_folder is empty; expected the folder that scenes are '
                         'saved to and loaded from. Start the node with '
                         '--ros-args -p scene_folder:=PATH.')
    base = Path(folder).resolve()
    try:
        path = (base / name).resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f'parameter scene_file is {shown(name)}; expected the name of a .ply '
                         f'file below scene_folder ({error}).') from error
    if path.suffix != '.ply' or not path.is_relative_to(base):
        raise InputError(f'parameter scene_file is {shown(name)}; expected the name of a .ply '
                         f'file below scene_folder, {base}.')
    return path
