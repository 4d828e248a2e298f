"""Trainings on CIFAR beside published ones: He15 Fig. 6, and the source chapter's ResNet-18.

Their numbers are recorded by a plan of :mod:`gradflow.training.plans`, which takes hours; both figures draw whatever
depths, seeds and budget a study has, and their titles and captions say how far that is from the published nets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gradflow import plots
from gradflow.figures.book import BookFigure, mode_and_dtype
from gradflow.plots.labels import listed, text
from gradflow.results import History, Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEST_IMAGES = 10_000
"""Test images of CIFAR-10 and of CIFAR-100."""

# ── published numbers ──

HE15_WIDTH, HE15_STEPS = 16, 64_000
"""He15 §4.2: channels of the first stage, and optimiser steps of 128 images."""

HE15_ERRORS: Mapping[str, Mapping[int, float]] = {
    "plain": {20: 9.5, 32: 9.92, 44: 11.35, 56: 12.76},
    "residual": {20: 8.75, 32: 7.51, 44: 7.17, 56: 6.97, 110: 6.43},
}
"""Final test error (%) on CIFAR-10 by depth: residual He15 Table 6, plain a public reproduction of it."""

HE15_ABOVE: Mapping[str, Mapping[int, float]] = {"plain": {110: 60.0}, "residual": {}}
"""What plain-110 does not get below, He15 Fig. 6 (error in %)."""

CHAPTER_WIDTH, CHAPTER_EPOCHS = 64, 100
CHAPTER_STAGES = ((30.0, 50.0), (60.0, 60.0), (80.0, 70.0), (100.0, 75.63))
"""Source chapter 15.6.3: test accuracy (%) of ResNet-18 with the 3×3 stem on CIFAR-100, by part (%) of the run."""

CHAPTER_STEM = 67.8
"""The same with the ImageNet stem on images of 224×224 pixels, source chapter 15.6.3."""

REPOSITORY = 75.61
"""ResNet-18 with the 3×3 stem on CIFAR-100, test accuracy (%) of a public repository."""


def _trained(plan: str, folder: Path) -> Study:
    """The study of a plan, whose runs are kept in a folder; what is there is not trained again."""
    from gradflow.training.plans import run_plan

    return run_plan(plan, folder=folder, jobs="auto")


# ── he15-figure6: plain and residual nets by depth ──


_SHORT: dict[str, Any] = {"handlelength": 1.3, "handletextpad": 0.5, "borderpad": 0.1}
"""Legends that leave the room to the curves."""


def _draw_he15_figure6(numbers: Study) -> Figure:
    figure, axes = plots.panel_grid(3, row_mm=78, tallest=1.4, sharey=True)
    for ax, kind in zip(axes, plots.KINDS, strict=False):
        plots.errors_by_step(numbers, kind, published=HE15_ERRORS, above=HE15_ABOVE, ax=ax)
        ax.legend(loc="lower left", **_SHORT)
        ax.set_title(text(f"he15-figure6:{kind}"))
    plots.final_errors_by_depth(numbers, published=HE15_ERRORS, above=HE15_ABOVE, ax=axes[2])
    axes[2].legend(**_SHORT)
    axes[2].tick_params(axis="x", labelsize=plots.points(6))
    axes[2].set_title(text("he15-figure6:final"))
    plots.error_legend(figure, text(f"he15-figure6:{_he15_size(numbers)}", **_budget(numbers, HE15_WIDTH)))
    return plots.fitted(figure)


def _he15_size(numbers: Study) -> str:
    run = _budget(numbers, HE15_WIDTH)
    return "whole" if (run["width"], run["steps"]) == (HE15_WIDTH, HE15_STEPS) else "other"


def _he15_figure6_facts(numbers: Study) -> dict[str, object]:
    plain, residual = (
        {depth: _final(part, "train_error") for depth, part in _by_depth(numbers, kind)} for kind in plots.KINDS
    )
    deepest = max(plain.keys() & residual.keys())
    (above,) = HE15_ABOVE["plain"].items()
    return {
        **_run_facts(numbers, f"he15-figure6:{_he15_size(numbers)}_budget", HE15_WIDTH),
        **_error_facts(numbers),
        "plain_verdict": _depth_verdict("plain", plain),
        "residual_verdict": _depth_verdict("residual", residual),
        "agreement": _agreement(plain, residual),
        "noise": text("counts_as_none", images=TEST_IMAGES),
        "deepest": deepest,
        "gap": _gap(plain[deepest], residual[deepest]),
        "above_depth": above[0],
        "above": above[1],
    }


def _error_facts(numbers: Study) -> dict[str, object]:
    """The depths and final test errors of each kind, recorded and published, as lists."""
    found: dict[str, object] = {}
    for kind in plots.KINDS:
        test = {depth: _final(part, "test_error") for depth, part in _by_depth(numbers, kind)}
        found |= {f"{kind}_depths": _list(test, "g"), f"{kind}_test": _list(test.values(), ".1f", " / ")}
        published = HE15_ERRORS[kind]
        found[f"published_{kind}_depths"] = _list(published, "g")
        found[f"published_{kind}"] = _list(published.values(), "g", " / ")
    return found


def _by_depth(numbers: Study, kind: str) -> list[tuple[int, Study]]:
    return [(depth, numbers.subset(kind=kind, depth=depth)) for depth in plots.depths(numbers, kind=kind)]


def _change(errors: Mapping[int, float]) -> float:
    """Error of the deepest net minus that of the shallowest, 0 where that is noise."""
    return _difference(errors[max(errors)], errors[min(errors)])


def _depth_verdict(kind: str, errors: Mapping[int, float]) -> str:
    shallow, deep = min(errors), max(errors)
    if shallow == deep:
        return text("he15-figure6:single", kind=text(kind))
    change = _change(errors)
    word = "worse" if change > 0 else "better" if change < 0 else "alike"
    facts = {"kind": text(kind), "deep": deep, "shallow": shallow}
    return text(f"he15-figure6:{word}", deep_error=errors[deep], shallow_error=errors[shallow], **facts)


def _agreement(plain: Mapping[int, float], residual: Mapping[int, float]) -> str:
    """Whether depth does what it does in the paper; nothing where there is but one depth."""
    if min(len(plain), len(residual)) < 2:
        return ""
    words = {(True, True): "both", (True, False): "plain_only", (False, True): "residual_only"}
    return text(f"he15-figure6:{words.get((_change(plain) > 0, _change(residual) < 0), 'neither')}")


def _gap(plain: float, residual: float) -> str:
    difference = _difference(residual, plain)
    word = "lower" if difference < 0 else "higher" if difference > 0 else "same"
    return text(f"he15-figure6:{word}", difference=abs(difference))


# ── resnet18-cifar100: the source chapter's training ──


def _draw_resnet18(numbers: Study) -> Figure:
    figure, axes = plots.panel_grid(3, row_mm=70, sharex=True)
    test, train, rate = axes
    parts = {text(f"resnet18:{name}"): part for name, part in _entries(numbers).items()}
    looks = {text(f"resnet18:{name}"): plots.look_of(place) for place, name in enumerate(_ENTRIES)}
    for ax, curve in ((test, "test_error"), (train, "train_error")):
        plots.accuracy_by_progress(parts, curve, looks=looks, ax=ax)
    plots.rate_by_progress({name: part.histories[0] for name, part in parts.items()}, looks=looks, ax=rate)
    marks = plots.published_marks(test, _chapter_marks())
    train.set_ylim(0, 100)
    test.set_ylim(0, 100)
    for ax, panel in zip(axes, ("test", "train", "rate"), strict=True):
        plots.stage_lines(ax, _recipe(_stepped(numbers))["milestones"])
        ax.set_title(text(f"resnet18-cifar100:{panel}"))
    title = text(f"resnet18-cifar100:{_chapter_size(numbers)}", **_budget(numbers, CHAPTER_WIDTH))
    plots.legend_in_rows(figure, train.get_legend_handles_labels()[0], marks, title=title)
    return plots.fitted(figure)


def _chapter_marks() -> dict[str, list[tuple[float, float]]]:
    return {
        text("resnet18:chapter"): list(CHAPTER_STAGES),
        text("resnet18:stem"): [(100.0, CHAPTER_STEM)],
        text("resnet18:repository"): [(100.0, REPOSITORY)],
    }


def _chapter_size(numbers: Study) -> str:
    run = _budget(numbers, CHAPTER_WIDTH)
    return "whole" if (run["width"], run["epochs"]) == (CHAPTER_WIDTH, CHAPTER_EPOCHS) else "other"


_ENTRIES = ("plain-steps", "residual-steps", "residual-exponential", "plain-exponential")
"""Kind of net and schedule of the learning rate, in the order of their looks."""


def _entries(numbers: Study) -> dict[str, Study]:
    """The parts of the study by kind and schedule, the residual net first."""
    found: dict[str, list[tuple[Mapping[str, Any], History]]] = {}
    for setting, history in zip(numbers.settings, numbers.histories, strict=True):
        found.setdefault(f"{setting['kind']}-{_recipe(history)['schedule']}", []).append((setting, history))
    order = sorted(found, key=lambda name: (name != "residual-steps", _ENTRIES.index(name)))
    return {
        name: Study(settings=tuple(s for s, _ in found[name]), histories=tuple(h for _, h in found[name]))
        for name in order
    }


def _resnet18_facts(numbers: Study) -> dict[str, object]:
    parts = _entries(numbers)
    final = {name: _final(part, "test_error") for name, part in parts.items()}
    return {
        **_run_facts(numbers, f"resnet18-cifar100:{_chapter_size(numbers)}_budget", CHAPTER_WIDTH),
        "factor": _recipe(_stepped(numbers))["factor"],
        "milestones": _list([100 * place for place in _recipe(_stepped(numbers))["milestones"]], "g"),
        "finals": listed(
            text("resnet18:final", net=text(f"resnet18:{name}"), accuracy=100 - error) for name, error in final.items()
        ),
        "comparisons": "".join(_comparisons(final)),
        "chapter": _list([accuracy for _, accuracy in CHAPTER_STAGES], "g", " / "),
        "stem": CHAPTER_STEM,
        "repository": REPOSITORY,
    }


def _comparisons(error: Mapping[str, float]) -> list[str]:
    """What a plain net and an exponential schedule change, where both sides were trained."""
    found = []
    if {"residual-steps", "plain-steps"} <= error.keys():
        compared = _compared(error["residual-steps"], error["plain-steps"])
        found.append(text("resnet18:twin", compared=compared))
    if {"residual-steps", "residual-exponential"} <= error.keys():
        worse = _difference(error["residual-exponential"], error["residual-steps"]) > 0
        compared = _compared(error["residual-exponential"], error["residual-steps"])
        agreement = text(f"resnet18:{'as' if worse else 'unlike'}_chapter")
        found.append(text("resnet18:schedule", compared=compared, agreement=agreement))
    return [*found, text("counts_as_none", images=TEST_IMAGES)] if found else []


def _compared(error: float, other: float) -> str:
    difference = _difference(error, other)
    word = "more" if difference < 0 else "less" if difference > 0 else "alike"
    return text(f"resnet18:{word}", difference=abs(difference))


def _stepped(numbers: Study) -> History:
    """A run whose learning rate falls in steps."""
    return next(part for name, part in _entries(numbers).items() if name.endswith("-steps")).histories[0]


# ── both ──


def _recipe(history: History) -> Mapping[str, Any]:
    return history.provenance["recipe"]


def _final(study: Study, curve: str) -> float:
    """The median of the last value of a curve in percent."""
    return 100 * float(np.median(study.final(curve)))


def _difference(one: float, other: float) -> float:
    """Difference of two errors (%), or 0 within two standard errors as of shares of the test images."""
    shares = np.array([one, other]) / 100
    noise = 200 * float(np.sqrt(np.sum(shares * (1 - shares)) / TEST_IMAGES))
    return one - other if abs(one - other) > noise else 0.0


def _budget(numbers: Study, usual_width: int) -> dict[str, Any]:
    """What titles and captions say of the runs, whose nets have one width: that of the plans unless a setting says."""
    run = numbers.histories[0]
    (width,) = {setting.get("width", usual_width) for setting in numbers.settings}
    return {"width": width, "epochs": run.epochs, "steps": int(run.steps[-1])}


def _run_facts(numbers: Study, budget: str, usual_width: int) -> dict[str, object]:
    run, seeds = numbers.histories[0], len({setting["seed"] for setting in numbers.settings})
    schedule = text(f"schedule:{_recipe(run)['schedule']}")
    runs = text("median_and_range", seeds=seeds) if seeds > 1 else text("one_run")
    return {
        "budget": text(budget, **_budget(numbers, usual_width), schedule=schedule),
        "runs": runs + (text("failed_runs", failures=len(numbers.failures)) if numbers.failures else ""),
        "batch": run.provenance["batch"],
        "dtype": mode_and_dtype(run.provenance)["dtype"],
        "train_curve": text(f"train_curve:{'batches' if 'train_curve' in run.provenance else 'whole'}"),
    }


def _list(values: Iterable[float], form: str, between: str = "/") -> str:
    return between.join(f"{value:{form}}" for value in values)


FIGURES = {
    "he15-figure6": BookFigure(_trained, _draw_he15_figure6, _he15_figure6_facts, recorded="he15-figure6-small"),
    "resnet18-cifar100": BookFigure(_trained, _draw_resnet18, _resnet18_facts, recorded="chapter-resnet18-small"),
}
