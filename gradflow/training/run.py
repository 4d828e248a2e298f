"""A training run between two steps: everything that decides what comes next, and how to take the next step."""

from __future__ import annotations

import math
import time
from collections import deque
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradflow.data import Normalise, Resize, Samples, augmented, normaliser
from gradflow.measure.tracing import trace
from gradflow.seeding import derived_seed, generator_states, set_generator_states
from gradflow.training.divergence import explain
from gradflow.training.engine import Engine
from gradflow.training.recipes import Recipe

_EVALUATION_BATCH = 512
_AUGMENTATION = 7
"""The stream of random numbers for augmentation."""

_RECENT = 100
"""He15's warm-up ends by the training error; here that of the last hundred batches."""


class Run:
    """One training run: model, optimiser, order of the samples, generators, and the curves so far.

    ``state_dict`` between two steps holds all of it; a run that loads it goes on as if nothing had happened.
    """

    def __init__(
        self,
        model: nn.Module,
        data: tuple[Samples, Samples],
        recipe: Recipe,
        *,
        engine: Engine,
        seed: int,
        watched: trace | None,
        evaluate_train: bool,
    ) -> None:
        (x, y), (x_test, y_test) = data
        self.model, self.recipe, self.engine = model, recipe, engine
        self.forward, device = engine.bring(model), engine.device
        self.x, self.y = x.to(device), y.to(device)
        self.test = x_test.to(device), y_test.to(device)
        self.normalise = _normaliser(recipe, x, device)
        self.at_all_times = tuple(one for one in recipe.augment if isinstance(one, Resize))
        self.watched, self.evaluate_train = watched, evaluate_train
        self.steps_per_epoch = -(-len(x) // recipe.batch)
        self.total = recipe.steps(len(x))
        self.scaler = engine.scaler()
        self.optimizer = recipe.make_optimizer(model, fused=engine.fused)
        self.scheduler = recipe.make_scheduler(self.optimizer, self.total)
        self.shuffle = torch.Generator().manual_seed(seed)
        self.augmenting = torch.Generator(device).manual_seed(derived_seed(seed, _AUGMENTATION))
        self.step, self.order = 0, torch.empty(0, dtype=torch.int64)
        self.loss_sum, self.wrong, self.seen = 0.0, 0.0, 0
        self.warming, self.recent = recipe.warmup_lr is not None, deque[float](maxlen=_RECENT)
        self.curves: list[tuple[float, ...]] = []
        self.rates: list[float] = []
        self.rate = recipe.lr
        self.seconds, self._since = 0.0, time.perf_counter()

    @torch.no_grad()
    def check(self) -> None:
        """Send a few samples through the model. Raises ValueError for another size or too few classes."""
        self.model.eval()
        try:
            with self.engine.autocast():
                output = self.model(self._plain(self.x[:2]))
            if output.ndim != 2 or len(output) != len(self.x[:2]):
                raise ValueError(f"it gives {tuple(output.shape)}, not a row of class scores for each sample")
        except Exception as error:
            raise ValueError(
                f"{type(self.model).__name__} does not fit samples of shape {tuple(self.x.shape[1:])}, "
                f"{str(self.x.dtype).removeprefix('torch.')}: {error}"
            ) from error
        labels = torch.cat([self.y, self.test[1]])
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= output.shape[1]:
            raise ValueError(
                f"labels run from {low} to {high}, but {type(self.model).__name__} has {output.shape[1]} classes; "
                f"build it with {high + 1} outputs"
            )

    # ── a step ──

    @property
    def epoch(self) -> int:
        """Epochs begun so far; the last may have ended early."""
        return -(-self.step // self.steps_per_epoch)

    @property
    def at_epoch_end(self) -> bool:
        """Whether the step just taken was the last of an epoch, or of the run."""
        return self.step % self.steps_per_epoch == 0 or self.step == self.total

    @property
    def is_finite(self) -> bool:
        """Whether all weights are finite numbers."""
        return all(bool(weight.isfinite().all()) for weight in self.model.parameters())

    def take_step(self) -> None:
        """Train on the next batch. Raises FloatingPointError if its loss is not finite."""
        place = self.step % self.steps_per_epoch
        if place == 0:
            self.order = torch.randperm(len(self.x), generator=self.shuffle)
            self.loss_sum, self.wrong, self.seen = 0.0, 0.0, 0
        chosen = self.order[place * self.recipe.batch : (place + 1) * self.recipe.batch].to(self.engine.device)
        size, processes = len(chosen), self.engine.processes
        rows = processes.rows(size)
        inputs, labels = self._inputs(self.x[chosen], rows), self.y[chosen][rows]
        with self.engine.autocast():
            output = self.forward(inputs)
            loss = F.cross_entropy(output, labels)
        wrong_here = (output.detach().argmax(1) != labels).sum()
        value, wrong = processes.sums(loss.detach() * len(labels), wrong_here)
        if not math.isfinite(value):
            raise FloatingPointError(explain(self.model, self.step, value / size, inputs, self.recipe.lr))
        # The processes' gradients are averaged: shares of different size count by their size.
        self._update(loss if processes.count == 1 else loss * (len(labels) * processes.count / size))
        self.loss_sum, self.wrong, self.seen = self.loss_sum + value, self.wrong + wrong, self.seen + size
        self.recent.append(wrong / size)
        self.step += 1

    def _update(self, loss: Tensor) -> None:
        """The backward pass and one step of the optimiser, at the warm-up's rate while that lasts."""
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        scheduled = [group["lr"] for group in self.optimizer.param_groups]
        self.warming = self.warming and not self._is_warm()
        if self.warming:
            for group in self.optimizer.param_groups:
                group["lr"] = self.recipe.warmup_lr
        self.rate = float(self.optimizer.param_groups[0]["lr"])
        scale = self.scaler.get_scale()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        for group, rate in zip(self.optimizer.param_groups, scheduled, strict=True):
            group["lr"] = rate
        if self.scaler.get_scale() >= scale:  # else the gradient overflowed and the scaler left the step out
            self.scheduler.step()

    def _is_warm(self) -> bool:
        if self.recipe.warmup_steps is not None:
            return self.step >= self.recipe.warmup_steps
        limit = self.recipe.warmup_error or 0.0
        return len(self.recent) == _RECENT and sum(self.recent) / _RECENT < limit

    def _inputs(self, x: Tensor, rows: slice) -> Tensor:
        """What the model gets of a batch: its rows of the images, normalised and augmented."""
        size = len(x)
        x = x[rows]
        if self.normalise is not None:
            x = self.normalise(x)
        if self.recipe.augment:
            x = augmented(x, self.recipe.augment, self.augmenting, rows=rows, batch=size)
        return x

    def _plain(self, x: Tensor) -> Tensor:
        """What the model gets of samples that are only looked at: normalised, and enlarged if the recipe says so."""
        x = x if self.normalise is None else self.normalise(x)
        return augmented(x, self.at_all_times, self.augmenting) if self.at_all_times else x

    # ── the curves ──

    def note(self) -> None:
        """Add a point to each curve: the training set as the epoch's batches saw it or as a whole, and the test set.

        Raises FloatingPointError if the weights, or the loss over the whole training set, are not finite.
        """
        if not self.is_finite:  # behind the last step no other would find out
            raise FloatingPointError(explain(self.model, self.step, math.nan, self._plain(self.x[:2]), self.recipe.lr))
        self.model.eval()
        if self.evaluate_train:
            loss, error = self._evaluate(self.x, self.y)
            if not math.isfinite(loss):
                raise FloatingPointError(
                    f"the training loss is {loss} after epoch {self.epoch}, in eval mode; "
                    f"try a smaller lr than {self.recipe.lr:g}"
                    if self.step
                    else explain(self.model, 0, loss, self._plain(self.x[:_EVALUATION_BATCH]), self.recipe.lr)
                )
        else:
            loss, error = (self.loss_sum / self.seen, self.wrong / self.seen) if self.seen else (math.nan, math.nan)
        self.curves.append((self.epoch, self.step, loss, error, *self._evaluate(*self.test)))
        self.model.train()

    @torch.no_grad()
    def _evaluate(self, x: Tensor, y: Tensor) -> tuple[float, float]:
        """Mean loss and error of a set in eval mode."""
        parts = []
        for part in x.split(_EVALUATION_BATCH):
            with self.engine.autocast():
                parts.append(self.model(self._plain(part)).float())
        output = torch.cat(parts)
        return float(F.cross_entropy(output, y)), float((output.argmax(1) != y).double().mean())

    def elapsed(self) -> float:
        """Seconds of training so far, those before an interruption included."""
        return self.seconds + time.perf_counter() - self._since

    # ── to a checkpoint and back ──

    def state_dict(self) -> dict[str, Any]:
        """All that decides what comes next, and the history so far: tensors, numbers and text only."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "scaler": self.scaler.state_dict(),
            "step": self.step,
            "order": self.order,
            "generators": {
                "global": generator_states(),
                "shuffle": self.shuffle.get_state(),
                "augmenting": self.augmenting.get_state(),
            },
            "sums": [self.loss_sum, self.wrong, self.seen],
            "warming": [self.warming, list(self.recent)],
            "curves": self.curves,
            "rates": self.rates,
            "seconds": self.elapsed(),
            "trace": self.watched.state_dict() if self.watched is not None else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where ``state_dict`` was called."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.scaler.load_state_dict(state["scaler"])
        self.step, self.order = state["step"], state["order"]
        set_generator_states(state["generators"]["global"])
        self.shuffle.set_state(state["generators"]["shuffle"])
        self.augmenting.set_state(state["generators"]["augmenting"])
        self.loss_sum, self.wrong, self.seen = state["sums"]
        self.warming = state["warming"][0]
        self.recent.extend(state["warming"][1])
        self.curves, self.rates = [tuple(point) for point in state["curves"]], list(state["rates"])
        self.seconds, self._since = state["seconds"], time.perf_counter()
        if self.watched is not None and state["trace"] is not None:
            self.watched.load_state_dict(state["trace"])


def _normaliser(recipe: Recipe, images: Tensor, device: torch.device) -> Normalise | None:
    """The normalisation of uint8 images; other inputs are taken as they are."""
    if images.dtype != torch.uint8:
        return None
    return normaliser(recipe.normalise or "channel", images).to(device)
