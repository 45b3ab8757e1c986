# SPDX-License-Identifier: Apache-2.0
"""Training of motion networks: what `igs prepare` and `igs train` do (docs/training.md).

    config.py    every setting
    sample.py    what a step learns from; sources.py, procedural/, recordings.py, igs_data.py
    models.py    what can be trained; agm.py, agm_small.py
    trainer.py   the loop; step.py, order.py, validation.py, checkpoint.py, journal.py

Losses, optimizer and schedule are the published ones (reference/igs_reference.md 6).
"""
