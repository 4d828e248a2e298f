"""What trained nets still know without some of their units, and with units swapped (Veit16 §4)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from gradflow import plots
from gradflow.figures.book import BookFigure, Seeds, mode_and_dtype
from gradflow.figures.training import digits_net, trained_nets
from gradflow.plots.labels import text
from gradflow.results import Lesion, Panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import nn

RESIDUAL_DEPTH, PLAIN_DEPTH = 56, 20
"""Plain-56 does not learn the digits in the budget of the recipe, and what knows nothing loses nothing."""
_NETS = ((RESIDUAL_DEPTH, "residual"), (PLAIN_DEPTH, "plain"), (PLAIN_DEPTH, "residual"))


def _lesions(seeds: int) -> Panels:
    from joblib import Parallel, delayed

    settings = [{"depth": depth, "kind": kind, "seed": seed} for depth, kind in _NETS for seed in range(seeds)]
    nets = [net for net, _ in trained_nets(digits_net, settings, evaluate_every=15)]
    deep, plain, small = (nets[place : place + seeds] for place in range(0, len(nets), seeds))
    wanted = [*zip(deep, plain, range(seeds), strict=True), *((net, None, seed) for seed, net in enumerate(small))]
    found = Parallel(n_jobs=min(2, os.cpu_count() or 1))(delayed(_lesion)(*one) for one in wanted)
    names = [f"{name}-{seed}" for name in ("beside", "small") for seed in range(seeds)]
    return Panels(parts=dict(zip(names, found, strict=True)))


def _lesion(net: nn.Module, plain: nn.Module | None, seed: int) -> Lesion:
    """The lesions of one net on the test digits, with one thread."""
    from gradflow import data, lesion
    from gradflow.seeding import threads

    with threads(1):
        return lesion(net, data.digits().test, plain=plain, seed=seed)


def _of(numbers: Panels, name: str) -> list[Lesion]:
    """The lesions of one net by training seed."""
    return [part for key, part in numbers.parts.items() if key.startswith(f"{name}-")]


def _draw_lesions(numbers: Panels) -> Figure:
    figure, axes = plots.panel_grid(3, row_mm=66, sharey=True)
    shown = (plots.lesion_by_unit, plots.lesion_by_count, plots.lesion_by_order)
    for ax, draw, panel in zip(axes, shown, "abc", strict=True):
        draw(_of(numbers, "beside"), ax=ax)
        ax.set_title(text(f"lesions:{panel}"))
    plots.shared_legend(figure, axes)
    return plots.fitted(figure)


def _facts_of(name: str, lesions: list[Lesion]) -> dict[str, Any]:
    """What the caption says of one net, errors in percent, medians over the training seeds."""
    one = 100 * np.median([lesion.without_one for lesion in lesions], axis=0)
    several = 100 * np.median(np.concatenate([lesion.without_several for lesion in lesions], axis=1), axis=1)
    intact = 100 * float(np.median([lesion.error for lesion in lesions]))
    half = 1 + int(np.argmax(several >= (intact + 100 * lesions[0].chance) / 2))
    swaps, tau, reordered = (
        np.concatenate([getattr(lesion, field) for lesion in lesions]) for field in ("swaps", "tau", "reordered")
    )
    first, last = swaps == swaps.min(), swaps == swaps.max()
    found = {
        "units": len(one),
        "intact": intact,
        "one": float(np.median(one)),
        "least": float(one.min()),
        "worst": float(one.max()),
        "worst_unit": int(np.argmax(one)),
        "changing": float(one[lesions[0].changes_size].max()),
        "half": half,
        "half_part": 100 * half / len(one),
        "swap": 100 * float(np.median(reordered[first])),
        "swaps": int(swaps.max()),
        "swapped": 100 * float(np.median(reordered[last])),
        "tau": float(np.median(tau[last])),
    }
    return {f"{name}_{key}": value for key, value in found.items()}


def _lesions_facts(numbers: Panels) -> dict[str, object]:
    beside = _of(numbers, "beside")
    found = {
        **_facts_of("residual", beside),
        **_facts_of("plain", [lesion.plain for lesion in beside if lesion.plain is not None]),
        **_facts_of("small", _of(numbers, "small")),
    }
    # What Veit16 found: Fig. 5a against Fig. 3, and in Fig. 3 the units that change size stand out.
    gradual = found["plain_half"] == 1 < found["residual_half"]
    sizes = found["residual_changing"] >= found["residual_worst"]
    facts = beside[0].provenance
    return {
        **found,
        "gradual": text(f"lesions:{'gradual' if gradual else 'sudden'}"),
        "sizes": text(f"lesions:{'sizes' if sizes else 'others'}"),
        "chance": 100 * beside[0].chance,
        "image": 100 / facts["samples"],
        "seeds": len(beside),
        **{name: facts[name] for name in ("samples", "draws", "batch")},
        **mode_and_dtype(facts),
    }


FIGURES = {"lesions": BookFigure(_lesions, _draw_lesions, _lesions_facts, Seeds(3, 2))}
