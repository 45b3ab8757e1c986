# SPDX-License-Identifier: Apache-2.0
"""agm-small: a small network that corrects what geometry alone gets wrong, trained by us.

    geometric motion -> the moved key, drawn in the input views -> what is still wrong there
    what each Gaussian could do about it -> network -> corrected scene, and again, a few times

A learned optimizer of few steps in the manner of G3R (Chen et al., ECCV 2024): it is given the
photometric gradients of the input views and answers with updates of position, orientation, size,
opacity and color. docs/training.md says how its weights were made.
"""
