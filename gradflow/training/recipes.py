"""Training recipes: small frozen dataclasses one can read, and change with ``dataclasses.replace``."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import lr_scheduler

from gradflow.data import Augmentation, Erase, Flip, PadCrop, Resize, Rotate, Translate
from gradflow.data.normalisation import NORMALISATIONS

OPTIMIZERS = ("sgd", "adam")
SCHEDULES = ("one-cycle", "constant", "steps", "exponential")

Statistics = tuple[tuple[float, ...], tuple[float, ...]]
"""Means and standard deviations per channel, of pixels between 0 and 1."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train: optimiser, schedule of the learning rate, batch size, length, and what happens to images first.

    optimizer: "sgd" (with ``momentum``, ``nesterov``) or "adam" (which keeps its own momentum); ``weight_decay`` is an
    L2 penalty on all parameters. lr: the learning rate at the start, or the peak of "one-cycle".
    schedule: "one-cycle"; "constant"; "steps", which multiplies lr by ``factor`` at each of the ``milestones``;
    "exponential", which lowers it evenly on a logarithmic axis to ``factor`` times lr. Milestones are fractions of the
    run, so that a recipe with other ``epochs`` keeps its shape. max_steps: end there if the epochs are not over.
    warmup_lr: a learning rate to begin with, for ``warmup_steps`` steps or until the error on the last hundred training
    batches is below ``warmup_error``.
    normalise: for uint8 images: "channel" subtracts mean and divides by standard deviation of each channel of the
    training set; "pixel" subtracts the mean of each pixel (He15 §4.2); or (means, deviations) per channel. augment:
    what is done to each batch of images thereafter, in this order; see :mod:`gradflow.data`.
    Raises ValueError for choices and numbers that make no sense.
    """

    name: str
    optimizer: str = "sgd"
    lr: float = 0.1
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 1e-4
    batch: int = 128
    epochs: int = 15
    max_steps: int | None = None
    schedule: str = "one-cycle"
    milestones: tuple[float, ...] = ()
    factor: float | None = None
    warmup_lr: float | None = None
    warmup_steps: int | None = None
    warmup_error: float | None = None
    normalise: str | Statistics | None = None
    augment: tuple[Augmentation, ...] = ()

    def __post_init__(self) -> None:
        for field, choices in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
            if getattr(self, field) not in choices:
                raise ValueError(f"{field} must be one of {', '.join(choices)}; got {getattr(self, field)!r}")
        for field in ("batch", "epochs", "max_steps", "warmup_steps"):
            value = getattr(self, field)
            if value is None and field in ("max_steps", "warmup_steps"):
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{field} must be a whole number of at least 1; got {value!r}")
        if not 0 < self.lr < float("inf"):
            raise ValueError(f"lr must be positive; got {self.lr!r}")
        for field in ("momentum", "weight_decay"):
            if not 0 <= getattr(self, field) < float("inf"):
                raise ValueError(f"{field} must be a number of at least 0; got {getattr(self, field)!r}")
        if isinstance(self.normalise, str) and self.normalise not in NORMALISATIONS:
            raise ValueError(
                f"normalise must be {', '.join(NORMALISATIONS)}, or (means, deviations); got {self.normalise!r}"
            )
        self._check_schedule()

    def _check_schedule(self) -> None:
        if self.schedule in ("steps", "exponential") and not (self.factor is not None and 0 < self.factor < 1):
            raise ValueError(f'schedule "{self.schedule}" needs a factor between 0 and 1; got factor={self.factor!r}')
        milestones = self.milestones
        if (self.schedule == "steps") != bool(milestones) or sorted(milestones) != list(milestones):
            raise ValueError(f'milestones, in order, belong to schedule "steps"; got {self.schedule!r}, {milestones}')
        if not all(0 < place < 1 for place in milestones):
            raise ValueError(f"milestones are fractions of the run, between 0 and 1; got {milestones}")
        ends = (self.warmup_steps, self.warmup_error)
        if (self.warmup_lr is None) != (ends == (None, None)) or None not in ends:
            raise ValueError(
                "a warm-up needs warmup_lr and either warmup_steps or warmup_error; "
                f"got {self.warmup_lr!r}, {self.warmup_steps!r} and {self.warmup_error!r}"
            )
        if self.warmup_lr is not None and not 0 < self.warmup_lr < float("inf"):
            raise ValueError(f"warmup_lr must be positive; got {self.warmup_lr!r}")

    def steps(self, samples: int) -> int:
        """Optimiser steps of a run on so many training samples; the last batch of an epoch may be smaller."""
        steps = self.epochs * -(-samples // self.batch)
        return steps if self.max_steps is None else min(steps, self.max_steps)

    def make_optimizer(self, model: nn.Module, *, fused: bool = False) -> torch.optim.Optimizer:
        """The optimiser over all parameters of a model; ``fused`` takes one kernel, whose last bits differ."""
        shared: dict[str, Any] = {"lr": self.lr, "weight_decay": self.weight_decay, "fused": fused or None}
        if self.optimizer == "adam":
            return torch.optim.Adam(model.parameters(), **shared)
        return torch.optim.SGD(model.parameters(), momentum=self.momentum, nesterov=self.nesterov, **shared)

    def make_scheduler(self, optimizer: torch.optim.Optimizer, steps: int) -> lr_scheduler.LRScheduler:
        """The learning rate over ``steps`` optimiser steps, one call per step; the warm-up is not in it."""
        if self.schedule == "one-cycle":
            return lr_scheduler.OneCycleLR(optimizer, max_lr=self.lr, total_steps=steps)
        if self.schedule == "steps":
            places = [round(place * steps) for place in self.milestones]
            return lr_scheduler.MultiStepLR(optimizer, places, gamma=self.factor or 1.0)
        if self.schedule == "exponential":
            return lr_scheduler.ExponentialLR(optimizer, gamma=(self.factor or 1.0) ** (1 / steps))
        return lr_scheduler.ConstantLR(optimizer, factor=1.0, total_iters=0)

    def described(self) -> dict[str, Any]:
        """The fields as plain values, to be written down; those that ask for nothing are left out."""
        found = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        found["augment"] = tuple(repr(one) for one in self.augment)
        return {
            name: value for name, value in found.items() if not any(value is nothing for nothing in (None, False, ()))
        }


lecture_digits = Recipe(name="lecture-digits")
"""Fifteen epochs of SGD on the embedded digits: seconds on a laptop, enough to see degradation."""

he15_cifar10 = Recipe(
    name="he15-cifar10",
    epochs=182,
    max_steps=64_000,
    schedule="steps",
    milestones=(0.5, 0.75),
    factor=0.1,
    normalise="pixel",
    augment=(PadCrop(4), Flip(0.5)),
)
"""He15 §4.2: 64,000 steps of 128 images, lr 0.1 divided by ten after 32,000 and 48,000; pad 4, crop, flip.

That are 182 epochs of 45,000 images (with ``holdout=5000``) or 164 of all 50,000.
"""

he15_cifar10_warmup = dataclasses.replace(he15_cifar10, name="he15-cifar10-warmup", warmup_lr=0.01, warmup_error=0.8)
"""The same for ResNet-110: lr 0.01 until the training error is below 80 % (He15 §4.2)."""

he16_cifar10 = dataclasses.replace(he15_cifar10, name="he16-cifar10", warmup_lr=0.01, warmup_steps=400)
"""He16, appendix: as in He15, all nets with 400 steps of lr 0.01 first."""

chapter_cifar100 = Recipe(
    name="chapter-cifar100",
    weight_decay=5e-4,
    batch=64,
    epochs=100,
    schedule="steps",
    milestones=(0.3, 0.6, 0.8),
    factor=0.2,
    normalise=((0.5071, 0.4856, 0.4409), (0.2673, 0.2564, 0.2762)),
    augment=(Flip(0.1), Rotate(10.0), Translate(0.1), Erase(0.1), PadCrop(4)),
)
"""The source chapter 15.6.3: lr × 0.2 after 30, 60 and 80 of 100 epochs, five augmentations after normalising.

The means are the chapter's; that of green is 0.4865 in truth (two digits changed places).
"""

chapter_cifar100_224 = dataclasses.replace(
    chapter_cifar100, name="chapter-cifar100-224", augment=(Resize(224), *chapter_cifar100.augment)
)
"""The chapter's first trial: images enlarged from 32×32 to 224×224 for the ImageNet stem."""

chapter_cifar100_exponential = dataclasses.replace(
    chapter_cifar100, name="chapter-cifar100-exponential", schedule="exponential", milestones=(), factor=0.2**3
)
"""The schedule that the chapter found worse; it gives no rate, this one ends where the other does."""

wrn = Recipe(
    name="wrn",
    nesterov=True,
    weight_decay=5e-4,
    epochs=200,
    schedule="steps",
    milestones=(0.3, 0.6, 0.8),
    factor=0.2,
    normalise="channel",
    augment=(PadCrop(4, mode="reflect"), Flip(0.5)),
)
"""Zagoruyko & Komodakis 2016 (1605.07146) §3: lr × 0.2 after 60, 120 and 160 of 200 epochs, borders mirrored."""

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        lecture_digits,
        he15_cifar10,
        he15_cifar10_warmup,
        he16_cifar10,
        chapter_cifar100,
        chapter_cifar100_224,
        chapter_cifar100_exponential,
        wrn,
    )
}
"""The recipes by name."""
