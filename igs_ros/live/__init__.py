# SPDX-License-Identifier: Apache-2.0
"""The pipeline at the pace of its cameras: frame sets, threads, budget, health.

Three threads (docs/engine.md). The motion thread takes the newest frame set, moves the key scene
to it, and takes refined keys. The refine thread works on a copy of a moved scene, at lower
priority. Views are drawn by whoever wants one, from the newest snapshot, without waiting for
either. A budget chooses how much each may do per frame set, key and view.

What is shown never goes back in time: a refined key is first moved to the newest processed frame
set. Only when the stamps of the source itself jump back (a looping bag) does the scene follow.
"""
