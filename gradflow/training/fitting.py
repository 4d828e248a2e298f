"""fit(): train one model by a recipe and write down what happened."""

from __future__ import annotations

import dataclasses
import time
from contextlib import ExitStack, nullcontext
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from gradflow.data import Samples, Split
from gradflow.measure.provenance import describe
from gradflow.measure.selection import Layers
from gradflow.measure.tracing import trace
from gradflow.results import History
from gradflow.seeding import seeded
from gradflow.training.recipes import Recipe, lecture_digits

_EVALUATION_BATCH = 512


def fit(
    model: nn.Module,
    data: Split | tuple[Samples, Samples],
    recipe: Recipe = lecture_digits,
    *,
    seed: int = 0,
    trace_every: int | None = None,
    quantities: tuple[str, ...] | str = ("weight_grad",),
    layers: Layers = "weighted",
    evaluate_every: int = 1,
    progress: bool = True,
) -> History:
    """Train ``model`` in place with cross-entropy, and return loss and error on train and test after every epoch.

    data: ((x, y), (x, y)) for train and test, x (N, …) and integer y (N,). Batches are reshuffled each epoch with
    ``seed``; the last one may be smaller. The curves are taken in eval mode over whole sets. trace_every: record
    ``quantities`` of ``layers`` (see :func:`gradflow.trace`) at every n-th step. evaluate_every: take the curves after
    every n-th epoch and the last. progress: show a bar.
    Raises TypeError or ValueError for data that does not fit; FloatingPointError when the loss is no longer finite.
    """
    (x, y), test = _checked(data)
    for name, every in (("trace_every", trace_every), ("evaluate_every", evaluate_every)):
        if every is not None and (not isinstance(every, int) or every < 1):
            raise ValueError(f"{name} must be a whole number of at least 1; got {name}={every!r}")
    steps_per_epoch = -(-len(x) // recipe.batch)
    optimizer = recipe.make_optimizer(model)
    scheduler = recipe.make_scheduler(optimizer, recipe.epochs * steps_per_epoch)
    started, was_training = time.perf_counter(), model.training
    curves, epochs, rates = [_evaluate(model, (x, y), test)], [0], []
    watched = None
    if trace_every is not None:
        watched = trace(model, layers=layers, quantities=quantities, every=trace_every)
    shuffle = torch.Generator().manual_seed(seed)
    bar = tqdm(total=recipe.epochs, desc=recipe.name, unit="epoch", disable=not progress)
    with seeded(seed), watched or nullcontext(), bar, ExitStack() as at_the_end:
        at_the_end.callback(model.train, was_training)
        for epoch in range(1, recipe.epochs + 1):
            model.train()
            for chosen in torch.randperm(len(x), generator=shuffle).split(recipe.batch):
                optimizer.zero_grad(set_to_none=True)
                loss = F.cross_entropy(model(x[chosen]), y[chosen])
                loss.backward()
                optimizer.step()
                rate = float(optimizer.param_groups[0]["lr"])
                scheduler.step()
            rates.append(rate)
            bar.update()
            if epoch % evaluate_every and epoch != recipe.epochs:
                continue
            with watched.paused() if watched is not None else nullcontext():
                curves.append(_evaluate(model, (x, y), test))
            epochs.append(epoch)
            if not np.isfinite(curves[-1][0]):
                raise FloatingPointError(
                    f"the training loss is {curves[-1][0]} after epoch {epoch}; try a smaller lr than {recipe.lr}"
                )
            bar.set_postfix(loss=f"{curves[-1][0]:.3f}", test_error=f"{curves[-1][3]:.1%}")
    train_loss, train_error, test_loss, test_error = np.array(curves).T
    return History(
        epoch=np.array(epochs),
        steps=np.array(epochs) * steps_per_epoch,
        train_loss=train_loss,
        train_error=train_error,
        test_loss=test_loss,
        test_error=test_error,
        learning_rate=np.array(rates),
        trace=watched.result if watched is not None else None,
        traced_steps=np.arange(recipe.epochs * steps_per_epoch)[::trace_every] if watched is not None else None,
        provenance=describe(
            model,
            seconds=time.perf_counter() - started,
            seed=seed,
            recipe=dataclasses.asdict(recipe),
            batch=recipe.batch,
            loss="cross-entropy",
            reduction="mean",
        ),
    )


def _checked(data: Any) -> tuple[Samples, Samples]:
    """The (train, test) pairs, or an error that shows the shapes."""
    try:
        (x, y), (x_test, y_test) = data
        shapes = [tuple(part.shape) for part in (x, y, x_test, y_test)]
    except (TypeError, ValueError, AttributeError) as error:
        raise TypeError(
            "data must be ((x, y), (x, y)) of tensors for train and test, e.g. gradflow.data.digits()"
        ) from error
    if (
        len(x) != len(y)
        or len(x_test) != len(y_test)
        or not len(x)
        or not len(x_test)
        or y.is_floating_point()
        or y_test.is_floating_point()
    ):
        raise ValueError(f"each set needs inputs and as many integer labels; got shapes {shapes} and labels {y.dtype}")
    return (x, y), (x_test, y_test)


@torch.no_grad()
def _evaluate(model: nn.Module, *sets: Samples) -> tuple[float, ...]:
    """Mean loss and error of each set in eval mode, one after the other."""
    model.eval()
    found: list[float] = []
    for x, y in sets:
        output = torch.cat([model(part) for part in x.split(_EVALUATION_BATCH)])
        found += [float(F.cross_entropy(output, y)), float((output.argmax(1) != y).double().mean())]
    return tuple(found)
