"""compare(): the same batch through two or more models, and the gradient of each by layer."""

from __future__ import annotations

import dataclasses
import gc
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from gradflow.data import gaussian
from gradflow.measure import norms
from gradflow.measure.provenance import describe
from gradflow.measure.selection import Layers
from gradflow.measure.signals import FORWARD
from gradflow.measure.task import Data, Loss, Model, Task, check_models, check_task, copies, given
from gradflow.measure.tracing import QUANTITIES, trace
from gradflow.models import share_weights as copy_weights
from gradflow.prediction import predict
from gradflow.results import Comparison, Trace
from gradflow.seeding import seeded

MEASURED = tuple(quantity for quantity in QUANTITIES if quantity not in ("update_ratio", "drift"))


def compare(
    plain: Model,
    residual: Model,
    data: Data = None,
    *,
    loss: Loss | None = None,
    quantity: str = "output_grad",
    norm: str = "rms",
    layers: Layers = "weighted",
    repeats: int = 1,
    share_weights: bool = True,
    mode: str = "train",
    dtype: torch.dtype | None = None,
    seed: int = 0,
    batch: int = 32,
    models: Mapping[str, Model] | None = None,
    **more_models: Model,
) -> Comparison:
    """Send one batch through each model and back, and compare the gradient layer by layer.

    By default the numbers are the RMS over B × D of ∂loss/∂output, loss = batch mean: they fall as 1/B with the batch.

    plain, residual, further models by keyword (or in ``models`` where the name is taken): modules, which are copied and
    never changed, or functions without arguments that build one.
    data: ``(x, y)``, or ``x`` with a N(0,1) target of the first model's output shape, or None for a batch of ``batch``
    N(0,1) samples that fit the first model.
    loss: takes (output, y); by default cross-entropy for integer y, mean squared error for real y, both batch means.
    quantity, norm, layers: as in :func:`gradflow.trace`. repeats: how often to draw fresh weights (and batches, if no
    data is given), with seeds ``seed``, ``seed`` + 1, …; needs builders.
    share_weights: give every model the first one's weights where names and shapes agree.
    mode: "train" or "eval", for the copies. dtype: for example torch.float64, which shows the line below float32's
    floor.

    Raises ValueError or TypeError before any work for arguments that cannot be used; RuntimeError, naming the model
    and the last layer reached, when a model fails.
    """
    started = time.perf_counter()
    named = _named(plain, residual, models or {}, more_models)
    _check(named, quantity, norm, repeats, mode, dtype, seed)
    is_given = given(data) is not None
    if not is_given:
        gaussian((1,), batch=batch)  # refuses a bad batch before any work
    traces: dict[str, list[Trace]] = {name: [] for name in named}
    predicted: dict[str, np.ndarray] = {}
    for repeat in range(repeats):
        with _collector_off():
            networks = _prepare(named, seed + repeat, mode, dtype, share_weights)
            task = Task(next(iter(networks.values())), data, loss=loss, batch=batch, seed=seed + repeat)
            if repeat == 0:
                predicted = _predictions(networks, task.x, quantity, norm, layers)
            watched = {
                name: trace(network, layers=layers, quantities=quantity, norm=norm)
                for name, network in networks.items()
            }
            for name, network in networks.items():
                with seeded(seed + repeat):
                    _run(task, name, network, watched[name], backward=quantity not in FORWARD)
                traces[name].append(watched[name].result)
    facts = traces[next(iter(traces))][0].provenance
    return Comparison(
        traces={name: _joined(name, parts) for name, parts in traces.items()},
        quantity=quantity,
        norm=norm,
        theory=predicted,
        provenance=describe(
            seconds=time.perf_counter() - started,
            seed=seed,
            repeats=repeats,
            mode=mode,
            share_weights=share_weights,
            data="given" if is_given else "Gaussian",
            **{fact: facts[fact] for fact in ("batch", "dtype", "device")},
            **(task.loss_facts() if quantity not in FORWARD else {}),
        ),
    )


def _named(plain: Model, residual: Model, models: Mapping[str, Model], more: Mapping[str, Model]) -> dict[str, Model]:
    named = {"plain": plain, "residual": residual}
    for name, model in (*models.items(), *more.items()):
        if name in named:
            raise ValueError(f"two models are called {name!r}; give each a name of its own")
        named[name] = model
    return named


def _check(
    named: Mapping[str, Model],
    quantity: str,
    norm: str,
    repeats: int,
    mode: str,
    dtype: torch.dtype | None,
    seed: int,
) -> None:
    check_models(named, repeats)
    check_task(mode, dtype, seed)
    if quantity not in MEASURED:
        raise ValueError(f"quantity must be one of {', '.join(MEASURED)}; got {quantity!r}")
    norms.check_norm(norm)


@contextmanager
def _collector_off() -> Iterator[None]:
    """No cyclic garbage collection inside: a repeat makes many objects, and looking through them costs more than it."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _prepare(
    named: Mapping[str, Model], seed: int, mode: str, dtype: torch.dtype | None, share: bool
) -> dict[str, nn.Module]:
    """The modules to measure: copies, or freshly built from one seed; in the wanted mode and dtype, weights shared."""
    # What a builder returns may be somebody's, too, so it is copied as well.
    networks = {name: next(copies(model, 1, seed, mode, dtype, name)) for name, model in named.items()}
    if share:
        first, *others = networks.values()
        for other in others:
            copy_weights(first, other)
    return networks


def _run(task: Task, name: str, network: nn.Module, watched: trace, *, backward: bool) -> None:
    """Forward and, if wanted, backward through one model under its trace."""
    with torch.inference_mode(False), torch.enable_grad(), watched:
        try:
            output = network(task.input_for(network))
            if backward:
                task.loss(output).backward()
        except Exception as error:
            where = f"after layer {watched.reached}" if watched.reached else "before its first layer"
            wants_more = isinstance(error, TypeError) and "required positional argument" in str(error)
            hint = " (a model gets one tensor: wrap one that takes more in a module that splits it)" * wants_more
            raise RuntimeError(
                f"{name} ({type(network).__name__}) failed {where} on a batch of shape {tuple(task.x.shape)}: "
                f"{error}{hint}"
            ) from error


def _joined(name: str, traces: list[Trace]) -> Trace:
    """One trace with a step per repeat."""
    if len(traces) == 1:
        return traces[0]
    if any(one.layers != traces[0].layers for one in traces):
        raise ValueError(f"the function for {name} must build the same layers each time")
    return dataclasses.replace(
        traces[0],
        values=np.concatenate([one.values for one in traces]),
        nonfinite=np.concatenate([one.nonfinite for one in traces]),
    )


def _predictions(
    networks: Mapping[str, nn.Module], x: Tensor, quantity: str, norm: str, layers: Layers
) -> dict[str, np.ndarray]:
    """The closed form for each model that has one."""
    if (quantity, norm, layers) != ("output_grad", "rms", "weighted"):
        return {}
    found = {name: predict(network, x) for name, network in networks.items()}
    return {name: profile for name, profile in found.items() if profile is not None}
