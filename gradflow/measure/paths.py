"""The gradient carried by all paths of each length through a row of units, exactly (after Veit et al. 2016, §5).

A unit's backward map is hᵀ + Fᵀ, behind its post's. The gradient gets one slot per number k of branches passed:
G′_k = hᵀ v_k + Fᵀ v_{k−1} with v = postᵀ G. One way back through the row gives every slot; their sum is the gradient.
A path is a product in the network linearised at the batch: masks and batch statistics are those of the one forward
pass, and post, and pre where it is shared, belong to every path through them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gradflow.measure import norms
from gradflow.measure.provenance import describe
from gradflow.measure.rows import Link, Row
from gradflow.measure.task import Data, Loss, Model, Task, check_models, check_task, copies, measuring, naming
from gradflow.results import PathSpectrum
from gradflow.seeding import derived_seed

_PATHS = 4
"""Stream of random numbers for the choice of single paths."""


def gradient_by_length(
    model: Model,
    data: Data,
    *,
    loss: Loss | None,
    repeats: int,
    sampled: int,
    mode: str,
    dtype: torch.dtype | None,
    seed: int,
    batch: int,
    predict: Callable[[nn.Module, Tensor], np.ndarray | None],
) -> PathSpectrum:
    """What :func:`gradflow.path_spectrum` says; ``predict`` gives the closed form of a network on a batch, if any."""
    check_models({"model": model}, repeats)
    check_task(mode, dtype, seed)
    if not isinstance(sampled, int) or isinstance(sampled, bool) or sampled < 0:
        raise ValueError(f"sampled must be a whole number of at least 0; got sampled={sampled!r}")
    started = time.perf_counter()
    spectra, wholes, singles = [], [], []
    closed_form: np.ndarray | None = None
    for repeat, network in enumerate(copies(model, repeats, seed, mode, dtype)):
        with measuring(seed + repeat):
            task = Task(network, data, loss=loss, batch=batch, seed=seed + repeat)
            if not repeat:
                closed_form = predict(network, task.x)
            with naming(network, task):
                row = Row(network, task.input_for(network))
                cotangent = row.cotangent(task.loss(row.output))
            slots = by_length(row, cotangent)
            spectra.append([norms.rms(slots[k]) if k in slots else 0.0 for k in range(len(row.links) + 1)])
            wholes.append(norms.rms(sum_of(slots)))
            if sampled:
                choose = np.random.default_rng(derived_seed(seed + repeat, _PATHS))
                singles.append(_single_paths(row, cotangent, sampled, choose))
    if len({len(spectrum) for spectrum in spectra}) > 1:
        raise ValueError("the function for model must build as many units each time")
    return PathSpectrum(
        units=tuple(link.name for link in row.links),
        plain=sum(link.shortcut is None for link in row.links),
        values=np.array(spectra),
        whole=np.array(wholes),
        single=np.array(singles) if sampled else None,
        theory=closed_form,
        provenance=describe(
            network,
            seconds=time.perf_counter() - started,
            seed=seed,
            repeats=repeats,
            **task.facts(),
            **task.loss_facts(),
        ),
    )


def by_length(row: Row, cotangent: Tensor) -> dict[int, Tensor]:
    """The part of ∂E/∂x_0 by number of branches passed, for the lengths that occur."""
    slots = {0: cotangent}
    for link in reversed(row.links):
        slots = _one_unit_back(link, slots)
    return slots


def _one_unit_back(link: Link, slots: dict[int, Tensor]) -> dict[int, Tensor]:
    behind = {k: link.through_post(slot) for k, slot in slots.items()}
    ahead = {k + 1: link.through_branch(slot) for k, slot in behind.items()}
    if link.shortcut is not None:
        for k, slot in behind.items():
            kept = link.through_shortcut(slot)
            assert kept is not None
            ahead[k] = ahead[k] + kept if k in ahead else kept
    return {k: link.through_gap(slot) for k, slot in ahead.items()}


def sum_of(slots: dict[int, Tensor]) -> Tensor:
    """Σ_k G_k, the gradient itself."""
    return torch.stack(list(slots.values())).sum(0)


def _single_paths(row: Row, cotangent: Tensor, sampled: int, choose: np.random.Generator) -> Any:
    """RMS of ∂E/∂x_0 along random single paths, shape (U + 1, sampled); NaN for lengths that no path has."""
    free = [place for place, link in enumerate(row.links) if link.shortcut is not None]
    plain = len(row.links) - len(free)
    found = np.full((len(row.links) + 1, sampled), np.nan)
    for length in range(plain, len(row.links) + 1):
        for draw in range(sampled):
            skipped = set(choose.choice(free, len(row.links) - length, replace=False).tolist())
            part = cotangent
            for place in reversed(range(len(row.links))):
                link = row.links[place]
                part = link.through_post(part)
                kept = link.through_shortcut(part) if place in skipped else link.through_branch(part)
                assert kept is not None
                part = link.through_gap(kept)
            found[length, draw] = norms.rms(part)
    return found
