"""Commands that train: ``train`` one network, ``study`` many."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

import gradflow
from gradflow.cli.console import check, check_counts, show
from gradflow.cli.inventory import DataDir

if TYPE_CHECKING:
    import torch

    from gradflow.models import Architecture, Network
    from gradflow.results import History
    from gradflow.training.plans import Plan
    from gradflow.training.recipes import Recipe


@dataclass(frozen=True)
class _Data:
    """What a network has to fit, and the usual recipe."""

    channels: int
    size: int
    classes: int
    recipe: str


_DATA = {
    "digits": _Data(1, 8, 10, "lecture-digits"),
    "cifar10": _Data(3, 32, 10, "he15-cifar10"),
    "cifar100": _Data(3, 32, 100, "chapter-cifar100"),
}

Device = Annotated[str, typer.Option(help="auto (a GPU where there is one), cpu, cuda or cuda:N.")]


def train(
    name: Annotated[
        str, typer.Argument(metavar="ARCH", help="resnet20, plain56, resnet18, wrn-16-4, …; `gradflow models` has all.")
    ],
    data: Annotated[str, typer.Option(help="digits (embedded), cifar10 or cifar100.")] = "digits",
    data_dir: DataDir = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="By default lecture-digits, he15-cifar10 or chapter-cifar100; a wrong name lists all."),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs, instead of the recipe's.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate, instead of the recipe's.")] = None,
    batch: Annotated[int | None, typer.Option(help="Batch size, instead of the recipe's.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of weights, batches and augmentation.")] = 0,
    width: Annotated[int | None, typer.Option(help="Channels of the first stage (resnet and plain).")] = None,
    stem: Annotated[
        str | None,
        typer.Option(
            help="3x3 or imagenet (7×7 and max-pool); 3x3 by default where images are smaller than ImageNet's."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run.  [default: runs/ARCH-DATA-seedS]")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in OUT, if there is one.")] = False,
    trace_every: Annotated[
        int | None, typer.Option(help="Keep the gradient of each layer's weights at every n-th step.")
    ] = None,
    device: Device = "auto",
    precision: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    fused: Annotated[bool, typer.Option("--fused", help="One kernel for the optimiser.")] = False,
    compile: Annotated[bool, typer.Option("--compile", help="torch.compile the network.")] = False,
    threads: Annotated[int | None, typer.Option(help="Threads on the CPU.")] = None,
) -> None:
    """Train one network. Its curves go to history.json and history.png in OUT, its weights to checkpoint.pt.

    Ctrl-C stops after the step at hand; the same command with --resume goes on from there as if nothing had happened.
    On several GPUs, or as several processes: torchrun --nproc-per-node=2 -m gradflow train …. Each takes its share of
    every batch, and gradients are those of the whole batch; BatchNorm, which all networks here have, sees the share
    only, so the numbers are not quite those of one process.
    """
    from gradflow.models.architectures import architecture
    from gradflow.seeding import threads as use_threads
    from gradflow.training.processes import Processes

    check("--data", [data], _DATA)
    check_counts(epochs=epochs, batch=batch, width=width, trace_every=trace_every, threads=threads)
    if seed < 0:
        raise ValueError(f"--seed must be at least 0; got {seed}")
    _check_data_dir(data, data_dir)
    known, chosen = architecture(name), _recipe(recipe or _DATA[data].recipe, epochs, lr, batch)
    out = out or Path("runs") / f"{known.name}-{data}-seed{seed}"
    _check_out(out, resume)
    with _told(), _joined(device) as place, use_threads(threads) if threads else nullcontext():
        network = _network(known, data, chosen, width, stem, seed)
        split = gradflow.data.digits() if data == "digits" else getattr(gradflow.data, data)(data_dir)
        is_first = Processes().is_first
        if is_first:
            if resume and not (out / "checkpoint.pt").exists():
                show(f"{out} holds no run to go on with: this one begins at the start")
            show(_announced(known.name, network, data, chosen, chosen.steps(len(split.train[0])), place))
        history = gradflow.fit(
            network,
            split,
            chosen,
            seed=seed,
            device=place,
            checkpoint=out / "checkpoint.pt",
            resume=resume,
            trace_every=trace_every,
            precision=precision,
            fused=fused,
            compile=compile,
        )
        if is_first:
            _keep(history, out)


def _recipe(name: str, epochs: int | None, lr: float | None, batch: int | None) -> Recipe:
    """A recipe by name, with what was asked for instead; epochs that are asked for are trained to the end."""
    from gradflow.training.recipes import RECIPES

    check("--recipe", [name], RECIPES)
    recipe = RECIPES[name]
    return replace(
        recipe,
        epochs=epochs or recipe.epochs,
        max_steps=None if epochs else recipe.max_steps,
        lr=recipe.lr if lr is None else lr,
        batch=batch or recipe.batch,
    )


def _check_data_dir(data: str, folder: Path | None) -> None:
    if data == "digits" and folder is not None:
        raise ValueError(f"the digits are embedded: leave out --data-dir {folder}")


def _check_out(out: Path, resume: bool) -> None:
    checkpoint, history = out / "checkpoint.pt", out / "history.json"
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out must be a folder; {out} is a file")
    if checkpoint.exists() and not resume:
        raise ValueError(
            f"{out} holds a run already: --resume goes on with it; to begin anew choose another folder by --out, or "
            "delete this one"
        )
    if history.exists() and not checkpoint.exists():
        raise ValueError(f"{history} is of a run whose checkpoint.pt is gone; choose another folder by --out")


def _network(known: Architecture, data: str, recipe: Recipe, width: int | None, stem: str | None, seed: int) -> Network:
    """The architecture for this data.

    Where images are smaller than it was made for it gets the 3×3 stem, as ResNet-18 in the source chapter: from 32×32
    pixels the 7×7 stem and the stages leave one.
    """
    from gradflow.data import Resize
    from gradflow.seeding import seeded

    wanted = _DATA[data]
    size = next((one.size for one in recipe.augment if isinstance(one, Resize)), wanted.size)
    if stem is None and size < known.input_shape[-1]:
        stem = "3x3"
    options: dict[str, Any] = {"num_classes": wanted.classes, "in_channels": wanted.channels, "size": size}
    if width is not None:
        if not known.name.startswith(("resnet", "plain", "preresnet")):
            raise ValueError(f"{known.name} has its width in its name; choose another name instead of --width {width}")
        options["width"] = width
    if stem is not None:
        options["stem"] = stem
    with seeded(seed):
        return known.build(**options)


def _announced(name: str, network: Network, data: str, recipe: Recipe, steps: int, device: torch.device) -> str:
    """What is about to be trained, in one line."""
    parameters = sum(parameter.numel() for parameter in network.parameters())
    stem = "3×3" if network.built_from["stem"] == "3x3" else "7×7"
    return (
        f"{name} ({stem} stem, {parameters:,} parameters) on {data} by {recipe.name}: {steps:,} steps of "
        f"{recipe.batch} images on {device}"
    )


def _keep(history: History, out: Path) -> None:
    """Print the run's table, write numbers and picture, and say where they are."""
    show(repr(history))
    written = ["history.json", "history.png"]
    for name in written:
        history.save(out / name)
    if history.trace is not None:
        history.trace.save(out / "trace.png")
        written.append("trace.png")
    show("\n".join(str(out / name) for name in (*written, "checkpoint.pt")))


@contextmanager
def _joined(device: str) -> Iterator[torch.device]:
    """Inside the block this process belongs to torchrun's group, if there is one; gives its device."""
    import torch.distributed as dist

    from gradflow.training.processes import join_processes

    try:
        yield join_processes(device)
    finally:
        if dist.is_available() and dist.is_initialized():
            dist.destroy_process_group()


@contextmanager
def _told() -> Iterator[None]:
    """Hand on what a KeyboardInterrupt says about how to go on; typer would drop it."""
    try:
        yield
    except KeyboardInterrupt as stop:
        raise typer.Abort(str(stop)) from stop


def study(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="A study; without it they are listed.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the runs.  [default: studies/NAME]")] = None,
    data_dir: DataDir = None,
    device: Device = "auto",
    jobs: Annotated[
        str | None, typer.Option(help="Runs side by side, or auto, as many as fit.  [default: auto]")
    ] = None,
    threads: Annotated[str, typer.Option(help="Threads of each run, or auto; they decide the last bits.")] = "1",
    dask: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Dask scheduler that takes the runs.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs of every run, instead of the study's.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Runs of every setting, with seeds 0, 1, ….")] = None,
) -> None:
    """Train a whole study, or list the studies. Its runs and study.json go to OUT.

    Ctrl-C stops it. The same command goes on with what was interrupted and tries again what failed; several processes
    or machines that share OUT may do so at once. The exit status is 1 if some runs failed.
    """
    from gradflow.training.plans import PLANS, run_plan

    if name is None or name == "list":
        show(_listed(PLANS))
        return
    check("study", [name], PLANS)
    check_counts(epochs=epochs, seeds=seeds)
    _check_data_dir(PLANS[name].data.__name__, data_dir)
    out = out or Path("studies") / name
    with _told():
        found = run_plan(
            name,
            folder=out,
            data_folder=data_dir,
            device=device,
            jobs=_count("--jobs", jobs or ("auto" if dask is None else "1")),
            threads=_count("--threads", threads),
            cluster=dask,
            epochs=epochs,
            seeds=seeds,
        )
    show(f"{found!r}\n{out / 'study.json'}")
    if found.failures:
        raise typer.Exit(1)


def _listed(plans: Mapping[str, Plan]) -> str:
    """The studies as a table."""
    rows = [("name", "runs", "data", "recipe", "what it shows")]
    for name, plan in plans.items():
        runs = sum(prod(len(values) for values in grid.values()) for grid in plan.grid)
        recipes = dict.fromkeys(recipe for grid in plan.grid for recipe in grid.get("recipe", [plan.recipe.name]))
        rows.append((name, str(runs), plan.data.__name__, ", ".join(recipes), plan.title))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)


def _count(option: str, text: str) -> int | Literal["auto"]:
    if text == "auto":
        return "auto"
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"{option} must be auto or a whole number of at least 1; got {text!r}")
    return int(text)
