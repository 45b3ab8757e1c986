# SPDX-License-Identifier: Apache-2.0
"""The `igs` command: one file per subcommand, options generated from dataclasses by tyro."""
