"""lesion(): what a trained network still knows when units are taken out or change places (Veit et al. 2016, §4)."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from gradflow.measure.provenance import describe
from gradflow.measure.rows import Row
from gradflow.measure.task import Task, check_task, copy_of, given, measuring
from gradflow.measure.tracing import unwrap
from gradflow.models.shortcuts import NoShortcut
from gradflow.models.units import Unit
from gradflow.results import Lesion
from gradflow.seeding import derived_seed, seeded

_COUNTS, _ORDERS = 5, 6
"""Streams of random numbers for the units removed together and for the pairs swapped."""

Order = tuple[int | None, ...]
"""Which unit works at each of the U places; None where one is removed."""
Step = Callable[[Tensor], Tensor]


def lesion(
    model: nn.Module,
    data: tuple[Tensor, Tensor],
    *,
    plain: nn.Module | None = None,
    draws: int = 10,
    mode: str = "eval",
    seed: int = 0,
    batch: int = 512,
    progress: bool = False,
) -> Lesion:
    """Error of a trained network without each of its U units, without k random ones, and with units swapped.

    In place of a removed unit stands the identity. One that changes size loses only its branch: its shortcut stays,
    with what stands behind the addition, and before both; a plain one gets zero padding instead (see :func:`resized`).
    Removed together are k = 1 … U random units, ``draws`` times each. Reordered is by m = 1, 2, 4, … U or more swaps of
    two random units of equal shape, ``draws`` times each; units that change size never move. How far an order is from
    the original is Kendall's τ over all units, those that cannot move included; Veit16 does not say over which it is.

    model: a network with units in a row; it is copied, never changed. data: (x, y) of N samples, x (N, …), integer y
    (N,), in parts of ``batch``. plain: another net, measured likewise and drawn beside. mode: "eval" as in the paper;
    in "train" BatchNorm takes the statistics of each part of the data. progress: show a bar.
    Raises TypeError or ValueError for arguments that cannot be used, and for units that are not passed once each, one
    after the other. Veit16 §4.1–4.3.
    """
    parts = _checked(model, plain, data, draws, mode, seed, batch)
    started = time.perf_counter()
    bench = _Bench(unwrap(model), parts, mode, seed)
    beside = None
    if plain is not None:
        beside = lesion(plain, data, draws=draws, mode=mode, seed=seed, batch=batch, progress=progress)
    sets, swaps = _random_sets(bench, draws, seed), _random_swaps(bench, draws, seed)
    orders = [bench.intact, *(bench.without(place) for place in range(bench.units))]
    orders += [bench.without(*removed) for several in sets for removed in several]
    orders += [order for _, order in swaps]
    errors = np.array([bench.error(order) for order in tqdm(orders, desc="lesions", leave=False, disable=not progress)])
    single, together, swapped = np.split(errors[1:], [bench.units, bench.units * (1 + draws)])
    return Lesion(
        units=bench.names,
        changes_size=np.array(bench.changes_size),
        has_shortcut=np.array([not unit.is_plain for unit in bench.modules]),
        error=float(errors[0]),
        chance=_chance(parts),
        without_one=single,
        without_several=together.reshape(bench.units, draws),
        swaps=np.array([count for count, _ in swaps], dtype=int),
        tau=np.array([kendall_tau(order) for _, order in swaps], dtype=float),
        reordered=swapped,
        plain=beside,
        provenance=describe(
            bench.network,
            seconds=time.perf_counter() - started,
            seed=seed,
            draws=draws,
            batch=batch,
            samples=sum(len(part.x) for part in parts),
        ),
    )


class _Bench:
    """A copy of a network whose places can be manned by any of its units, or by none; errors are measured once."""

    def __init__(self, model: nn.Module, parts: list[Task], mode: str, seed: int) -> None:
        self.network, self._parts, self._seed = copy_of(model, mode), parts, seed
        with measuring(seed):
            self.names, self.shapes = _chain(copy_of(model, "eval"), parts)
        self.modules = [_unit(self.network, name) for name in self.names]
        self.units = len(self.names)
        self.intact: Order = tuple(range(self.units))
        self.changes_size = [before != after for before, after in self.shapes]
        self._stand_ins = [_stand_in(*each) for each in zip(self.names, self.modules, self.shapes, strict=True)]
        # Not modules are exchanged but what they do: a module may be known to the network under several names.
        self._working: list[Step] = [unit.forward for unit in self.modules]
        self._now = list(self._working)
        for place, unit in enumerate(self.modules):
            unit.forward = partial(self._at, place)  # type: ignore[method-assign]
        self._known: dict[Order, float] = {}

    def without(self, *places: int) -> Order:
        """The order with the units at some places removed."""
        return tuple(None if place in places else place for place in range(self.units))

    def error(self, order: Order) -> float:
        """Fraction of wrong answers with the units in that order."""
        if order not in self._known:
            self._now = [
                self._stand_ins[place] if unit is None else self._working[unit] for place, unit in enumerate(order)
            ]
            with torch.no_grad(), seeded(self._seed):  # the same dropout masks each time
                wrong = sum(_wrong(self.network(part.input_for(self.network)), part.y) for part in self._parts)
            self._known[order] = wrong / sum(len(part.x) for part in self._parts)
        return self._known[order]

    def _at(self, place: int, x: Tensor) -> Tensor:
        return self._now[place](x)


def resized(x: Tensor, before: tuple[int, ...], after: tuple[int, ...]) -> Tensor:
    """x (B, C, …) brought from shape ``before`` to ``after`` (both without B) without a parameter.

    Every n-th position along each further axis, zeros as new channels or features on both sides: option A of He15 §3.3,
    as :class:`gradflow.models.ZeroPad` has it. Where they become fewer, the middle ones stay. Raises ValueError for
    shapes that cannot be matched so.
    """
    strides = [-(-old // new) for old, new in zip(before[1:], after[1:], strict=False)]
    taken = tuple(-(-old // stride) for old, stride in zip(before[1:], strides, strict=False))
    if len(before) != len(after) or taken != after[1:]:
        raise ValueError(f"no zero padding turns {before} into {after}")
    extra = after[0] - before[0]
    chosen = x[(slice(None), slice(None), *(slice(None, None, stride) for stride in strides))]
    return F.pad(chosen, (*(0, 0) * len(strides), extra // 2, extra - extra // 2))


def kendall_tau(order: Order) -> float:
    """Kendall's τ between an order of two or more units and 0, 1, 2, …: 1 − 2·(pairs out of order)/(all pairs)."""
    ranks = np.array(order)
    first, second = np.triu_indices(len(ranks), 1)
    return 1 - 2 * float(np.mean(ranks[first] > ranks[second]))


def swapped(order: Order, pairs: list[tuple[int, int]]) -> Order:
    """An order after the units at the two places of each pair have changed places, one pair after the other."""
    row = list(order)
    for one, other in pairs:
        row[one], row[other] = row[other], row[one]
    return tuple(row)


def _random_sets(bench: _Bench, draws: int, seed: int) -> list[list[list[int]]]:
    """For k = 1 … U, ``draws`` sets of k different places."""
    choose = np.random.default_rng(derived_seed(seed, _COUNTS))
    return [
        [choose.choice(bench.units, count, replace=False).tolist() for _ in range(draws)]
        for count in range(1, bench.units + 1)
    ]


def _random_swaps(bench: _Bench, draws: int, seed: int) -> list[tuple[int, Order]]:
    """Numbers of swaps and the orders they give; none where no two units have the same shape."""
    choose = np.random.default_rng(derived_seed(seed, _ORDERS))
    pairs = [
        (one, other)
        for other in range(bench.units)
        for one in range(other)
        if bench.shapes[one] == bench.shapes[other] and not bench.changes_size[one]
    ]
    counts = [2**power for power in range((bench.units - 1).bit_length() + 1)] if pairs else []
    return [
        (count, swapped(bench.intact, [pairs[place] for place in choose.integers(len(pairs), size=count)]))
        for count in counts
        for _ in range(draws)
    ]


Shapes = tuple[tuple[int, ...], tuple[int, ...]]
"""The shape of one sample before and behind a unit."""


def _chain(network: nn.Module, parts: list[Task]) -> tuple[tuple[str, ...], list[Shapes]]:
    """Names and shapes of the units in the order in which a batch passes them, or an error that says what is not so.

    ``network`` must be a copy.
    """
    row = Row(network, parts[0].input_for(network)[:2])
    times = Counter(link.name for link in row.links)
    for name, count in times.items():
        if count > 1:
            raise ValueError(f"each unit must be passed once; {name} is passed {count} times")
    _check_scores(row.output, _labels(parts))
    if not row.exponent:
        row.cotangent(row.output.sum())  # finds ways round the last unit
    shapes = [(tuple(link.x.shape[1:]), tuple(link.output.shape[1:])) for link in row.links]
    return tuple(times), shapes


def _unit(network: nn.Module, name: str) -> Unit:
    unit = network.get_submodule(name)
    assert isinstance(unit, Unit)
    return unit


def _stand_in(name: str, unit: Unit, shapes: Shapes) -> Step:
    """What works at a unit's place when it is removed."""
    before, after = shapes
    if before == after:
        return _identity
    if unit.is_plain:
        try:
            resized(torch.zeros(1, *before), before, after)
        except ValueError as error:
            raise ValueError(f"unit {name} cannot be removed: {error}, and it has no shortcut of its own") from error
    return partial(_without_branch, unit, shapes)


def _identity(x: Tensor) -> Tensor:
    return x


def _without_branch(unit: Unit, shapes: Shapes, x: Tensor) -> Tensor:
    source = unit.pre(x) if unit.share_pre else x
    return unit.post(resized(source, *shapes) if isinstance(unit.shortcut, NoShortcut) else unit.shortcut(source))


def _wrong(output: Tensor, y: Tensor | None) -> int:
    """How many answers are wrong; the largest of scores that are not numbers means nothing, so it is wrong."""
    assert y is not None
    return int(((output.argmax(1) != y.to(output.device)) | output.isnan().any(1)).sum())


def _labels(parts: list[Task]) -> Tensor:
    return torch.cat([part.y for part in parts if part.y is not None])


def _chance(parts: list[Task]) -> float:
    """The error of the one answer that is right most often."""
    counts = _labels(parts).unique(return_counts=True)[1]
    return 1 - float(counts.max()) / float(counts.sum())


def _check_scores(output: Any, labels: Tensor) -> None:
    if not isinstance(output, Tensor) or output.dim() != 2:
        what = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
        raise TypeError(f"the model must return one row of scores a sample, shape (B, classes); it returned {what}")
    lowest, highest, classes = int(labels.min()), int(labels.max()), output.shape[1]
    if lowest < 0 or highest >= classes:
        raise ValueError(
            f"y must hold labels 0 … {classes - 1} for a model of {classes} scores; got {lowest} … {highest}"
        )


def _networks(model: Any, plain: Any) -> Iterator[tuple[str, nn.Module]]:
    for name, network in (("model", model), ("plain", plain)):
        if name == "plain" and network is None:
            continue
        if not isinstance(network, nn.Module):
            raise TypeError(f"{name} must be a trained torch.nn.Module with units; got {network!r}")
        yield name, unwrap(network)


def _checked(model: Any, plain: Any, data: Any, draws: Any, mode: str, seed: int, batch: Any) -> list[Task]:
    """The data in parts, or an error that says what is wrong with an argument."""
    check_task(mode, None, seed)
    for name, value in (("draws", draws), ("batch", batch)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1; got {name}={value!r}")
    for name, network in _networks(model, plain):
        if not any(isinstance(module, Unit) for module in network.modules()):
            raise TypeError(
                f"{name} must have units (gradflow.models.Unit) to remove, e.g. resnet(…) or fc_stack(…); "
                f"{type(network).__name__} has none"
            )
    x, y = given(data) or (None, None)
    if x is None or y is None:
        raise TypeError("data must be a pair (x, y) of tensors: an error needs labels; got no y")
    if y.dtype.is_floating_point or y.dtype.is_complex or y.dtype == torch.bool or y.dim() != 1:
        raise TypeError(f"y must hold one integer label a sample, shape (N,); got {y.dtype} of shape {tuple(y.shape)}")
    pieces = zip(x.split(batch), y.split(batch), strict=True)
    return [Task(model, piece, loss=None, batch=1, seed=seed) for piece in pieces]
