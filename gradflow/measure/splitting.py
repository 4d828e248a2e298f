"""What reaches each unit of a row through shortcuts alone, and what through branches: He16 eq. 5–8, measured.

x_{l+1} = post(h(x_l) + F(x_l)). Backward, the shortcut part of ∂E/∂x_l is (∏ h′_i)ᵀ ∂E/∂x_L, with the derivative of
every post between at the actual point; the residual part is all the rest. Forward, x_l is what shortcuts carry of x_0
plus the sum of what they carry of every F.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gradflow.data import gaussian
from gradflow.measure import norms
from gradflow.measure.lifted import Lifted
from gradflow.measure.provenance import describe
from gradflow.measure.rows import Link, Row
from gradflow.measure.task import Data, Loss, Model, Task, check_models, check_task, copies, measuring, naming
from gradflow.results import RATIO_EDGES, GradientSplit
from gradflow.seeding import derived_seed

STARTS = ("loss", "random")
_COTANGENT = 3
"""Stream of random numbers for a random ∂E/∂x_L, beside those of batch and target."""


def split_gradient(
    model: Model,
    data: Data,
    *,
    loss: Loss | None,
    start: str,
    repeats: int,
    mode: str,
    dtype: torch.dtype | None,
    seed: int,
    batch: int,
    predict: Callable[[nn.Module, Tensor], Mapping[str, np.ndarray]],
) -> GradientSplit:
    """What :func:`gradflow.split` says; ``predict`` gives the closed forms of a network on a batch, if any."""
    if start not in STARTS:
        raise ValueError(f"start must be one of {', '.join(STARTS)}; got start={start!r}")
    if start == "random" and loss is not None:
        raise ValueError('start="random" takes no loss: leave one of them out')
    check_task(mode, dtype, seed)
    check_models({"model": model}, repeats)
    started = time.perf_counter()
    draws: list[dict[str, Any]] = []
    closed_forms: Mapping[str, np.ndarray] = {}
    for repeat, network in enumerate(copies(model, repeats, seed, mode, dtype)):
        with measuring(seed + repeat):
            task = Task(network, data, loss=loss, batch=batch, seed=seed + repeat)
            if not repeat:
                closed_forms = predict(network, task.x)
            with naming(network, task):
                row = Row(network, task.input_for(network))
                cotangent = row.cotangent(task.loss(row.output)) if start == "loss" else _random(row, seed + repeat)
            lam = np.array([link.lam for link in row.links])
            draws.append({"lam": lam, **_backward(row, cotangent), **_forward(row)})
    if any(len(draw["log10_whole"]) != len(draws[0]["log10_whole"]) for draw in draws):
        raise ValueError("the function for model must build as many units each time")
    ratios = np.sum([draw.pop("ratio_counts") for draw in draws], axis=0)
    arrays: dict[str, Any] = {name: np.stack([draw[name] for draw in draws]) for name in draws[0]}
    return GradientSplit(
        units=tuple(link.name for link in row.links),
        posts=tuple(_name_of(link.unit.post) for link in row.links),
        gaps=tuple(link.gap is not None for link in row.links),
        ratio_counts=ratios,
        **arrays,
        theory=closed_forms,
        provenance=describe(
            network,
            seconds=time.perf_counter() - started,
            seed=seed,
            repeats=repeats,
            **task.facts(),
            start=start,
            **(task.loss_facts() if start == "loss" else {}),
        ),
    )


def _random(row: Row, seed: int) -> Tensor:
    """N(0, 1) numbers in place of ∂E/∂x_U."""
    shape = row.last.shape
    noise = gaussian(tuple(shape[1:]), batch=shape[0], seed=derived_seed(seed, _COTANGENT))
    return noise.to(row.last)


def _name_of(post: nn.Module) -> str:
    """What stands behind the addition, in words; nothing for the identity."""
    leaves = [module for module in post.modules() if not list(module.children())]
    return ", ".join(type(leaf).__name__ for leaf in leaves if not isinstance(leaf, nn.Identity))


def _backward(row: Row, cotangent: Tensor) -> dict[str, np.ndarray]:
    """Both parts of ∂E/∂x_l for l = U … 0, measured at each, first unit first."""
    through = Lifted(cotangent)
    rest = Lifted(torch.zeros_like(cotangent))
    found = [_measured(through, rest)]
    for link in reversed(row.links):
        through, rest = _unit_back(link, through, rest)
        found.append(_measured(through, rest))
        through, rest = (Lifted(link.through_gap(part.tensor), part.exponent) for part in (through, rest))
    return {name: np.array([one[name] for one in reversed(found)]) for name in found[0]}


def _unit_back(link: Link, through: Lifted, rest: Lifted) -> tuple[Lifted, Lifted]:
    """Shortcut part and residual part in front of a unit, from those behind it."""
    through, rest = (Lifted(link.through_post(part.tensor), part.exponent) for part in (through, rest))
    whole = through.plus(rest)
    branch = Lifted(link.through_branch(whole.tensor), whole.exponent)
    ahead = Lifted(torch.zeros_like(link.x))
    parts = []
    for part in (through, rest):
        kept = link.through_shortcut(part.tensor)
        parts.append(ahead if kept is None else Lifted(kept, part.exponent).settled())
    return parts[0], parts[1].plus(branch).settled()


def _measured(through: Lifted, rest: Lifted) -> dict[str, Any]:
    whole = through.plus(rest)
    share, cosine = math.nan, math.nan
    sizes = [part.log10_rms() for part in (through, rest, whole)]
    if sizes[0] == -math.inf and math.isfinite(sizes[2]):
        share = 0.0
    elif math.isfinite(sizes[0]) and math.isfinite(sizes[2]):
        share = _cosine(through.tensor, whole.tensor) * 10 ** min(sizes[0] - sizes[2], 300)
    if math.isfinite(sizes[0]) and math.isfinite(sizes[1]):
        cosine = _cosine(through.tensor, rest.tensor)
    counts, cancelled = _ratios(through, rest)
    return {
        "log10_shortcut": sizes[0],
        "log10_residual": sizes[1],
        "log10_whole": sizes[2],
        "cosine": cosine,
        "share": share,
        "ratio_counts": counts,
        "cancelled": cancelled,
    }


def _cosine(a: Tensor, b: Tensor) -> float:
    return float((a.double().flatten() / norms.l2(a)) @ (b.double().flatten() / norms.l2(b)))


def _ratios(through: Lifted, rest: Lifted) -> tuple[np.ndarray, float]:
    """Counts of residual part ÷ shortcut part over samples and coordinates, and the fraction within a tenth of −1."""
    usable = through.tensor != 0
    ratio = (rest.tensor[usable].double() / through.tensor[usable].double()).cpu().numpy()
    with np.errstate(over="ignore", under="ignore"):
        ratio = np.ldexp(ratio, rest.exponent - through.exponent)
    inside = np.clip(ratio[~np.isnan(ratio)], RATIO_EDGES[0], RATIO_EDGES[-1])
    near = float(np.mean(np.abs(ratio + 1) < 0.1)) if len(ratio) else math.nan
    return np.histogram(inside, RATIO_EDGES)[0], near


def _forward(row: Row) -> dict[str, np.ndarray]:
    """x_l as what shortcuts carry of x_0 plus the sum of what they carry of every F, for l = 0 … U."""
    first = row.signal(0)
    carried, summed = first, Lifted(torch.zeros_like(first.tensor))
    found = [(first, carried, summed)]
    terms, falling = [], []
    for place, link in enumerate(row.links):
        terms.append(link.branch_value.log10_rms())
        falling.append(_falling(link))
        kept = Lifted(link.carried(summed.tensor), summed.exponent).plus(link.branch_value)
        carried = Lifted(link.posted(link.carried(carried.tensor)), carried.exponent).settled()
        summed = Lifted(link.posted(kept.tensor), kept.exponent).settled()
        signal = row.signal(place + 1)
        if place + 1 < len(row.links) and row.links[place + 1].gap is not None:
            # What stands between units may do anything, so that behind it all starts anew.
            carried, summed = signal, Lifted(torch.zeros_like(signal.tensor))
        found.append((signal, carried, summed))
    # The signal may have been too large for its dtype, so what is left over is looked for at its own exponent.
    left = [
        Lifted(signal.tensor - carried.at(signal.exponent) - summed.at(signal.exponent), signal.exponent).log10_rms()
        for signal, carried, summed in found
    ]
    names = ("log10_signal", "log10_carried", "log10_summed")
    rows = {name: np.array([parts[place].log10_rms() for parts in found]) for place, name in enumerate(names)}
    return {**rows, "log10_left_over": np.array(left), "log10_branch": np.array(terms), "falling": np.array(falling)}


def _falling(link: Link) -> float:
    """The fraction of elements that a unit makes smaller; NaN where its output has another shape."""
    return float((link.output < link.x).double().mean()) if link.output.shape == link.x.shape else math.nan
