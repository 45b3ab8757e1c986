# SPDX-License-Identifier: Apache-2.0
"""What people start: the `igs` command, benchmarks, evaluation of recordings, training."""
