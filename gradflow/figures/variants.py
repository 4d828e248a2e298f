"""What kinds of shortcut and what orders of activation do to training: He16 on the embedded digits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from gradflow import plots
from gradflow.figures.book import BookFigure, Seeds, mode_and_dtype
from gradflow.figures.training import digits_net, digits_study
from gradflow.plots.labels import listed, text
from gradflow.results import Panels, Study, Table, quantile

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import nn

DEPTH, _GAIN_BATCH = 56, 64


def _trained(build: Callable[..., nn.Module], seeds: int, **grid: Any) -> Study:
    return digits_study(build, {**grid, "evaluate_every": (3,), "seed": tuple(range(seeds))})


def _failures(study: Study, **wanted: Any) -> int:
    return int(np.sum(study.final("test_error", **wanted) > plots.FAILURE))


def _run_facts(study: Study) -> dict[str, object]:
    """What all captions here say of the runs."""
    history = study.histories[0]
    return {
        "depth": DEPTH,
        "seeds": len({setting["seed"] for setting in study.settings}),
        "epochs": history.epoch[-1],
        "steps": int(history.steps[-1]),
        "batch": history.provenance["batch"],
        **mode_and_dtype(history.provenance),
    }


def _medians(study: Study, curve: str, key: str) -> dict[str, float]:
    """The median final error in percent by one setting."""
    values = dict.fromkeys(setting[key] for setting in study.settings)
    return {str(value): 100 * float(np.median(study.final(curve, **{key: value}))) for value in values}


# ── lambda-training: λ on every shortcut, and 1 − λ on every branch ──

LAMBDAS = (0.5, 0.9, 1.0, 1.1)


def scaled_net(lam: float, scaled: bool) -> nn.Module:
    """ResNet-56 for digits with λ on every shortcut and, if ``scaled``, 1 − λ on every branch (He16 §3.1)."""
    from gradflow.models import scaled as constant_scaling

    return digits_net(DEPTH, "residual", shortcut=constant_scaling(lam, branch=1 - lam if scaled else 1.0))


def _lambda_training(seeds: int) -> Study:
    return _trained(scaled_net, seeds, lam=LAMBDAS, scaled=(False, True))


def _draw_lambda_training(numbers: Study) -> Figure:
    figure, axes = plots.panel_grid(3, row_mm=66)
    names = {lam: text("lambda_panel", lam=f"{lam:g}") for lam in LAMBDAS}
    for ax, scaled in zip(axes[:2], (False, True), strict=True):
        part = numbers.subset(scaled=scaled)
        plots.curves_by(part, "lam", "train_error", ax=ax, names=names)
        ax.set_title(text(f"lambda-training:{'scaled' if scaled else 'whole'}"))
        for place, lam in enumerate(LAMBDAS):
            for side, curve in ((-0.1, "train_error"), (0.1, "test_error")):
                final = 100 * part.final(curve, lam=lam)
                x = place + side + (0.4 if scaled else 0) - 0.2
                plots.median_and_range(axes[2], x, final, plots.look_of(place), filled=curve == "test_error")
    axes[2].axhline(100 * plots.FAILURE, color="#777777", linestyle=":", linewidth=plots.points(0.8))
    axes[2].set_xticks(range(len(LAMBDAS)), [f"{lam:g}" for lam in LAMBDAS])
    # From below zero, where errors of 0 % are seen whole.
    axes[2].set(xlabel=text("lam_pairs"), ylabel=text("error"), ylim=(-4, 100), title=text("lambda-training:final"))
    plots.shared_legend(figure, [axes[0]])
    return plots.fitted(figure)


def _lambda_training_facts(numbers: Study) -> dict[str, object]:
    found: dict[str, object] = _run_facts(numbers)
    for scaled, word in ((False, "whole"), (True, "scaled")):
        part = numbers.subset(scaled=scaled)
        errors = _medians(part, "test_error", "lam")
        for lam in LAMBDAS:
            key = f"{word}_{lam:g}".replace(".", "_")
            worst = 100 * np.max(part.final("test_error", lam=lam))
            found |= {key: errors[str(lam)], f"{key}_worst": worst, f"{key}_fails": _failures(part, lam=lam)}
    return found


# ── shortcut-variants: He16 Table 1 ──

TABLE_1: Mapping[str, float] = {
    "original": 6.61,
    "scaled-0": np.inf,
    "scaled-0.5": np.inf,
    "scaled-0.5-0.5": 12.35,
    "exclusive-gate": 8.70,
    "shortcut-only-gate-0": 12.86,
    "shortcut-only-gate": 6.91,
    "conv1x1": 12.22,
    "dropout": np.inf,
}
"""Test error (%) of ResNet-110 on CIFAR-10, median of five runs, He16 Table 1; infinite where it says "fail"."""


def shortcut_net(shortcut: str) -> nn.Module:
    """ResNet-56 for digits with a shortcut of He16 Table 1."""
    return digits_net(DEPTH, "residual", shortcut=shortcut)


def _shortcut_variants(seeds: int) -> Panels:
    return Panels(
        parts={
            "training": _trained(shortcut_net, seeds, shortcut=tuple(TABLE_1)),
            "gain": _shortcut_gains(seeds),
        }
    )


def _shortcut_gains(seeds: int) -> Table:
    """log10 of the RMS of the shortcut part at the first unit over that of ∂E/∂x behind the last, at the start."""
    from gradflow import data, split

    x, y = data.digits().train
    gains = []
    for name in TABLE_1:
        parts = split(partial(shortcut_net, name), (x[:_GAIN_BATCH], y[:_GAIN_BATCH]), repeats=seeds, dtype=None)
        gains.append([quantile(parts.relative("shortcut")[:, 0], q) for q in (0.5, 0, 1)])
    middle, low, high = np.array(gains).T
    return Table(columns={"shortcut": tuple(TABLE_1), "log10_gain": middle, "low": low, "high": high})


def _draw_shortcut_variants(numbers: Panels) -> Figure:
    # Nine rows need their height, whatever the width.
    figure, (errors, gain) = plots.panel_grid(2, row_mm=84, panel_mm=50, tallest=2, sharey=True)
    names = {name: text(f"shortcut:{name}") for name in TABLE_1}
    plots.error_rows(numbers["training"], "shortcut", names, ax=errors, published=TABLE_1)
    plots.gain_rows(numbers["gain"], ax=gain)
    errors.set_title(text("shortcut-variants:errors"))
    gain.set_title(text("shortcut-variants:gain"))
    plots.shared_legend(figure, [errors])
    return plots.fitted(figure)


def _shortcut_variants_facts(numbers: Panels) -> dict[str, object]:
    study: Study = numbers["training"]
    test = _medians(study, "test_error", "shortcut")
    failed = [name for name in TABLE_1 if test[name] > 100 * plots.FAILURE]
    agree = [name for name in TABLE_1 if (name in failed) == (not np.isfinite(TABLE_1[name]))]
    others = [text(f"shortcut:{name}") for name in TABLE_1 if name not in agree]
    gains = dict(zip(numbers["gain"]["shortcut"], numbers["gain"]["log10_gain"], strict=True))
    closed = [name for name, gain in gains.items() if not np.isfinite(gain) and name != "scaled-0"]
    slower = all(np.isfinite(TABLE_1[name]) for name in TABLE_1 if name not in agree)
    return {
        **_run_facts(study),
        **{f"test_{name.replace('-', '_').replace('.', '')}": value for name, value in test.items()},
        "gain_original": 10 ** gains["original"],
        "gain_conv1x1": 10 ** gains["conv1x1"],
        "blocked": listed((text(f"shortcut:{name}") for name in closed), "semicolon"),
        "gain_batch": _GAIN_BATCH,
        "rows": len(TABLE_1),
        "agree": len(agree),
        "others": listed(others, "semicolon") or text("none"),
        "difference": text(
            f"shortcut-variants:{'slower' if slower else 'otherwise'}", steps=int(study.histories[0].steps[-1])
        ),
    }


# ── placements: He16 Table 2 ──

TABLE_2: Mapping[str, float] = {
    "original": 6.61,
    "norm-after-addition": 8.17,
    "activation-before-addition": 7.84,
    "activation-only-preactivation": 6.71,
    "preactivation": 6.37,
}
"""Test error (%) of ResNet-110 on CIFAR-10, He16 Table 2."""


def placed_net(placement: str) -> nn.Module:
    """ResNet-56 for digits with an order of activation of He16 Table 2."""
    return digits_net(DEPTH, "residual", placement=placement)


def _placements(seeds: int) -> Study:
    return _trained(placed_net, seeds, placement=tuple(TABLE_2))


def _draw_placements(numbers: Study) -> Figure:
    figure, (curves, errors) = plots.panel_grid(2, row_mm=70, panel_mm=60)
    names = {name: text(f"placement:{name}") for name in TABLE_2}
    plots.curves_by(numbers, "placement", "train_error", ax=curves, names=names)
    plots.error_rows(numbers, "placement", names, ax=errors, published=TABLE_2)
    curves.set_title(text("placements:training"))
    errors.set_title(text("placements:errors"))
    plots.shared_legend(figure, [curves, errors])
    return plots.fitted(figure)


def _placements_facts(numbers: Study) -> dict[str, object]:
    test, train = (_medians(numbers, curve, "placement") for curve in ("test_error", "train_error"))
    short = {name: name.replace("-", "_") for name in TABLE_2}
    return {
        **_run_facts(numbers),
        **{f"test_{short[name]}": value for name, value in test.items()},
        **{f"train_{short[name]}": value for name, value in train.items()},
    }


FIGURES = {
    "lambda-training": BookFigure(_lambda_training, _draw_lambda_training, _lambda_training_facts, Seeds(5, 1)),
    "shortcut-variants": BookFigure(_shortcut_variants, _draw_shortcut_variants, _shortcut_variants_facts, Seeds(5, 1)),
    "placements": BookFigure(_placements, _draw_placements, _placements_facts, Seeds(5, 1)),
}
