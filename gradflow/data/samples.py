"""What every data set is: inputs with labels, to train on and to test on."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

Samples = tuple[Tensor, Tensor]
"""Inputs (N, …) and labels (N,)."""


class Split(NamedTuple):
    """A training and a test set, each a pair of inputs (N, …), float32 or uint8 images, and labels (N,) int64."""

    train: Samples
    test: Samples
