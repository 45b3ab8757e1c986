# SPDX-License-Identifier: Apache-2.0
"""The live pipeline on the CUDA device of fake_cuda.py.

There, a stream that reads what another one has not finished raises: each thread must wait for its
own before it hands something over.
"""
from dataclasses import replace

import numpy as np
import pytest
import torch
from running import begin, follow, settle

from igs_ros.live.pipeline import LivePipeline
from igs_ros.live.streams import Stream


def test_a_stream_runs_and_ends_the_work_of_its_block(cuda):
    stream = Stream(torch.device('cuda'), urgent=True)
    with stream.current():
        made = torch.ones(3, device='cuda') + 1
    with pytest.raises(RuntimeError, match='synchronize that one first'):
        made + 1
    with cuda.counted() as costs:
        stream.finish()
    assert costs.waits.total() == 1 and (made + 1).tolist() == [3, 3, 3]


@pytest.mark.parametrize('motion, adjust', [('geometric', 0), ('geometric', 2)])
def test_scenes_go_from_thread_to_thread(cuda, rig, config, sets, caplog, motion, adjust):
    config = replace(config, device='cuda', motion=motion,
                     motion_model=replace(config.motion_model, adjust_iterations=adjust))
    shown = []
    live = LivePipeline(config, rig, listeners=[shown.append])
    live.start()
    try:
        begin(live, sets)
        camera = next(iter(live.working_cameras.values()))
        for frame_set in sets[1:6]:
            follow(live, frame_set)
            view = live.view(camera)
            assert isinstance(view.rgb, np.ndarray) and view.rgb.any()
        settle(live)
        follow(live, sets[6])
        status = live.status()
    finally:
        live.stop()
    assert not [record for record in caplog.records if 'error' in record.message], caplog.text
    assert status.keys_refined > 0 and status.gpu_mb > 0
    assert not {'key_diverged', 'key_void', 'key_error'} & {
        cause for cause, count in status.drops.items() if count}
    assert all(one.scene.device.type == 'cuda' for one in shown)
