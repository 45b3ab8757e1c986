# SPDX-License-Identifier: Apache-2.0
"""The main path at its own pace: what the node runs (docs/engine.md).

Three clocks. The motion clock takes the newest frame set, moves the key scene to it, and swaps in
refined keys. The refine clock works on a copy of a moved scene, at lower priority. Views are drawn
by whoever wants one, from the newest snapshot, without waiting for either. A budget chooses how
much each may do per turn.

What is shown never goes back in time: a refined key is first moved to the newest processed frame
set. Only when the stamps of the source itself jump back (a looping bag) does the scene follow.
"""
