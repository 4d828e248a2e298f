"""Studies by name, which one can start from the command line: the questions of the papers, and small twins of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from gradflow.data import Split, cifar10, cifar100, digits
from gradflow.models import resnet, resnet18
from gradflow.results import Study
from gradflow.training.recipes import Recipe, chapter_cifar100, he15_cifar10, lecture_digits
from gradflow.training.studying import Count, Grid, study


def cifar_net(depth: int, kind: str, width: int = 16) -> nn.Module:
    """The plain or residual 6n+2 net for CIFAR-10, option A (He15 §4.2)."""
    return resnet(depth, width=width, residual=kind == "residual")


def digits_net(depth: int, kind: str, **options: Any) -> nn.Module:
    """The same for the digits: one channel of 8×8 pixels, width 8; ``options`` of resnet."""
    return resnet(depth, width=8, in_channels=1, size=8, residual=kind == "residual", **options)


def chapter_net(kind: str, width: int = 64) -> nn.Module:
    """ResNet-18 for CIFAR-100 with the 3×3 stem (source chapter 15.6.3), or its plain twin."""
    return resnet18(stem="3x3", num_classes=100, width=width, residual=kind == "residual")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A study with a name: everything :func:`gradflow.study` needs but the machine it runs on."""

    title: str
    build: Callable[..., nn.Module]
    grid: Sequence[Grid]
    recipe: Recipe
    data: Callable[..., Split]


BOTH = ("plain", "residual")
_EXPONENTIAL: Grid = {"kind": ("residual",), "recipe": ("chapter-cifar100-exponential",)}

PLANS: dict[str, Plan] = {
    "he15-figure6": Plan(
        title="Plain and residual nets on CIFAR-10 by depth (He15 Fig. 6)",
        build=cifar_net,
        grid=(
            {"depth": (20, 32, 44, 56), "kind": BOTH, "seed": (0,)},
            {"depth": (110,), "kind": BOTH, "recipe": ("he15-cifar10-warmup",), "seed": (0,)},
        ),
        recipe=he15_cifar10,
        data=cifar10,
    ),
    "he15-figure6-small": Plan(
        title="He15 Fig. 6 at the size of a laptop: width 8, 6 epochs",
        build=cifar_net,
        grid=({"depth": (8, 20, 56), "kind": BOTH, "width": (8,), "seed": (0,)},),
        recipe=replace(he15_cifar10, epochs=6),
        data=cifar10,
    ),
    "chapter-resnet18": Plan(
        title="ResNet-18, its plain twin, and another schedule on CIFAR-100 (source chapter 15.6.3)",
        build=chapter_net,
        grid=({"kind": BOTH, "seed": (0,)}, {**_EXPONENTIAL, "seed": (0,)}),
        recipe=chapter_cifar100,
        data=cifar100,
    ),
    "chapter-resnet18-small": Plan(
        title="ResNet-18 on CIFAR-100 at the size of a laptop: width 8, 4 epochs",
        build=chapter_net,
        grid=(
            {"kind": BOTH, "width": (8,), "seed": (0,)},
            {**_EXPONENTIAL, "epochs": (4,), "width": (8,), "seed": (0,)},
        ),
        recipe=replace(chapter_cifar100, epochs=4),
        data=cifar100,
    ),
    "digits": Plan(
        title="Plain and residual nets on the embedded digits by depth (lecture recipe)",
        build=digits_net,
        grid=({"depth": (8, 20, 56), "kind": BOTH, "seed": (0,)},),
        recipe=lecture_digits,
        data=digits,
    ),
}
"""The named studies."""


def run_plan(
    name: str,
    *,
    folder: str | Path,
    data_folder: str | Path | None = None,
    device: str = "auto",
    jobs: Count = 1,
    threads: Count = 1,
    cluster: str | None = None,
    epochs: int | None = None,
    seeds: int | None = None,
    progress: bool = True,
) -> Study:
    """Carry out one of :data:`PLANS`, or go on with it, and keep its runs and ``study.json`` in ``folder``.

    data_folder: where the official files of CIFAR are; by default where :func:`gradflow.data.cifar10` looks for them.
    device, jobs, threads, cluster, progress: as for :func:`gradflow.study`; with a cluster each worker chooses its own
    device for "auto". epochs: another length for every run. seeds: so many runs of each setting, with seeds 0, 1, ….
    Raises ValueError for an unknown name and other bad choices, and what :func:`gradflow.study` raises.
    """
    if name not in PLANS:
        raise ValueError(f"plan must be one of {', '.join(PLANS)}; got {name!r}")
    plan = PLANS[name]
    if data_folder is not None and plan.data is digits:
        raise ValueError(f"the digits are embedded: leave out data_folder; got {data_folder=}")
    changes: dict[str, Any] = {}
    for option, value in (("epochs", epochs), ("seeds", seeds)):
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise ValueError(f"{option} must be a whole number of at least 1; got {option}={value!r}")
    if epochs is not None:
        changes["epochs"] = (epochs,)
    if seeds is not None:
        changes["seed"] = tuple(range(seeds))
    return study(
        plan.build,
        [{**grid, **changes} for grid in plan.grid],
        plan.data if data_folder is None else partial(plan.data, data_folder),
        plan.recipe,
        folder=folder,
        jobs=jobs,
        threads=threads,
        cluster=cluster,
        progress=progress,
        device=device,
    )
