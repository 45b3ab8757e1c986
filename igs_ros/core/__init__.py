# SPDX-License-Identifier: Apache-2.0
"""What every room shares: the data that is passed on, settings, errors, times."""
