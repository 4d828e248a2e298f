"""Training recipes: small frozen dataclasses one can read, and change with ``dataclasses.replace``."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

OPTIMIZERS = ("sgd", "adam")
SCHEDULES = ("one-cycle", "constant")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train: optimiser, learning rate (the peak, for "one-cycle"), weight decay, batch size, epochs, schedule.

    ``momentum`` is SGD's; Adam keeps its own. Raises ValueError for choices and numbers that make no sense.
    """

    name: str
    optimizer: str = "sgd"
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4
    batch: int = 128
    epochs: int = 15
    schedule: str = "one-cycle"

    def __post_init__(self) -> None:
        for field, choices in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
            if getattr(self, field) not in choices:
                raise ValueError(f"{field} must be one of {', '.join(choices)}; got {getattr(self, field)!r}")
        for field in ("batch", "epochs"):
            if not isinstance(getattr(self, field), int) or getattr(self, field) < 1:
                raise ValueError(f"{field} must be a whole number of at least 1; got {getattr(self, field)!r}")
        if not self.lr > 0:
            raise ValueError(f"lr must be positive; got {self.lr!r}")

    def make_optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """The optimiser over all parameters of a model."""
        if self.optimizer == "adam":
            return torch.optim.Adam(model.parameters(), lr=self.lr, weight_decay=self.weight_decay)
        return torch.optim.SGD(model.parameters(), lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay)

    def make_scheduler(self, optimizer: torch.optim.Optimizer, steps: int) -> LRScheduler:
        """The learning rate over ``steps`` optimiser steps, one call per step."""
        if self.schedule == "one-cycle":
            return torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=self.lr, total_steps=steps)
        return torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0, total_iters=0)


lecture_digits = Recipe(name="lecture-digits")
"""Fifteen epochs of SGD on the embedded digits: seconds on a laptop, enough to see degradation."""
