"""The command line: ``gradflow figures``, ``compare``, ``split``, ``paths``, ``lesion``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from tqdm import tqdm

import gradflow

if TYPE_CHECKING:
    from torch import nn

    from gradflow.results import Result

app = typer.Typer(
    help="How gradients travel through deep networks, with and without shortcuts.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


_INTERRUPTED = 130


def main() -> None:
    """Run the command line; a mistake of the user is one line on standard error and exit status 2."""
    try:
        status = app(standalone_mode=False)
    except (typer.Abort, KeyboardInterrupt):
        status = _INTERRUPTED
    except Exception as error:
        if isinstance(error, (ValueError, TypeError, OSError)) or hasattr(error, "format_message"):
            message = error.format_message() if hasattr(error, "format_message") else str(error)
            sys.exit(_complain(message, 2))
        raise
    if status == _INTERRUPTED:  # typer, too, turns Ctrl-C into this status
        _complain("interrupted; every file that was finished is whole", status)
    sys.exit(status if isinstance(status, int) else 0)


def _complain(message: str, status: int) -> int:
    sys.stderr.write(f"gradflow: {' '.join(message.split())}\n")
    return status


def _show(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _version(wanted: bool) -> None:
    if wanted:
        _show(gradflow.__version__)
        raise typer.Exit


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """How gradients travel through deep networks, with and without shortcuts."""
    if context.invoked_subcommand is None:
        _show(context.get_help())


@app.command()
def figures(
    names: Annotated[list[str] | None, typer.Argument(help="Figures to draw; all of them by default.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for pictures; numbers go to its data/ folder.")] = Path("figures"),
    formats: Annotated[str, typer.Option("--format", help="Comma-separated: pdf, svg, png.")] = "pdf,svg,png",
    from_data: Annotated[bool, typer.Option("--from-data", help="Redraw from OUT/data without computing.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Train with all the seeds of the book, not with a few.")] = False,
) -> None:
    """Compute and draw the book figures."""
    from gradflow import figures as book

    wanted = names or list(book.CATALOGUE)
    kinds = tuple(kind.strip() for kind in formats.split(","))
    _check("figure", wanted, book.CATALOGUE)
    _check("format", kinds, book.FORMATS)
    written: list[Path] = []
    with tqdm(wanted, unit="figure", dynamic_ncols=True) as bar:
        for name in bar:
            bar.set_description(f"{'drawing' if from_data else 'computing'} {name}")
            written += book.make(name, out, kinds, from_data=from_data, full=full)
    written.append(book.gallery(out))
    _show("\n".join(str(path) for path in written))


def _check(what: str, wanted: Any, known: Any) -> None:
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ValueError(f"{what} must be among {', '.join(known)}; got {', '.join(map(repr, unknown))}")


Stack = Annotated[str, typer.Option(help="fc, conv or resnet (6n+2 layers, BatchNorm).")]
Depth = Annotated[int, typer.Option(help="Number of weighted layers.")]
Width = Annotated[int, typer.Option(help="Features or channels; those of the first stage of a resnet.")]
Init = Annotated[str, typer.Option(help="default, he, he_fan_out, xavier, orthogonal or normal(SIGMA).")]
Activation = Annotated[str, typer.Option(help="relu, tanh, sigmoid, gelu or linear (fc and conv).")]
BatchNorm = Annotated[bool, typer.Option("--batch-norm", help="BatchNorm before each activation (fc and conv).")]
Shortcut = Annotated[str, typer.Option(help="λ, or a kind such as conv1x1 or exclusive-gate (He16 Table 1).")]
Seeds = Annotated[int, typer.Option(help="How many times to draw weights and batch.")]
Out = Annotated[Path, typer.Option(help="Picture (.pdf, .svg, .png) or numbers (.json) to write.")]


@app.command()
def compare(
    stack: Stack = "fc",
    depth: Depth = 20,
    width: Width = 64,
    init: Init = "default",
    activation: Activation = "relu",
    norm: BatchNorm = False,
    shortcut: Shortcut = "1",
    seeds: Seeds = 10,
    out: Out = Path("compare.png"),
) -> None:
    """Compare the gradient by layer of a plain and a residual network; print the table, write a figure."""
    _check_request(out, seeds=seeds)
    build = _builder(stack, depth, width, init, activation, norm)
    _answer(gradflow.compare(build(None), build(_kind(shortcut)), repeats=seeds), out)


@app.command()
def split(
    stack: Stack = "fc",
    depth: Depth = 52,
    width: Width = 64,
    init: Init = "he",
    activation: Activation = "relu",
    norm: BatchNorm = False,
    shortcut: Shortcut = "1",
    start: Annotated[str, typer.Option(help="loss, or random: N(0, 1) numbers behind the last unit.")] = "loss",
    seeds: Seeds = 10,
    out: Out = Path("split.png"),
) -> None:
    """Split the gradient at every unit into shortcut part and residual part; print the table, write a figure."""
    _check_request(out, seeds=seeds)
    build = _builder(stack, depth, width, init, activation, norm)
    _answer(gradflow.split(build(_kind(shortcut)), start=start, repeats=seeds), out)


@app.command()
def paths(
    stack: Stack = "fc",
    depth: Depth = 56,
    width: Width = 64,
    init: Init = "he",
    activation: Activation = "relu",
    norm: BatchNorm = False,
    shortcut: Shortcut = "1",
    seeds: Seeds = 3,
    out: Out = Path("paths.png"),
) -> None:
    """Measure the gradient carried by paths of each length; print the table, write a figure."""
    _check_request(out, seeds=seeds)
    build = _builder(stack, depth, width, init, activation, norm)
    _answer(gradflow.path_spectrum(build(_kind(shortcut)), repeats=seeds), out)


@app.command()
def lesion(
    depth: Annotated[int, typer.Option(help="Weighted layers, 6n+2, of a residual and a plain net.")] = 20,
    width: Annotated[int, typer.Option(help="Channels of the first stage.")] = 8,
    epochs: Annotated[int, typer.Option(help="Epochs of training on the embedded digits.")] = 15,
    draws: Annotated[int, typer.Option(help="Random sets of units, and orders, of each size.")] = 10,
    seed: Annotated[int, typer.Option(help="Seed of weights, batches and draws.")] = 0,
    out: Out = Path("lesion.png"),
) -> None:
    """Train a residual and a plain net on the digits, then remove and shuffle their units; print, draw."""
    from dataclasses import replace

    from gradflow.models import resnet
    from gradflow.seeding import seeded

    _check_request(out, draws=draws, epochs=epochs)
    digits, recipe, nets = gradflow.data.digits(), replace(gradflow.recipes.lecture_digits, epochs=epochs), []
    for residual in (True, False):
        with seeded(seed):
            nets.append(resnet(depth, width=width, in_channels=1, size=8, residual=residual))
        gradflow.fit(nets[-1], digits, recipe, seed=seed)
    _answer(gradflow.lesion(nets[0], digits.test, plain=nets[1], draws=draws, seed=seed, progress=True), out)


def _check_request(out: Path, **counts: int) -> None:
    from gradflow.results import PICTURES

    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"--{name} must be at least 1; got {count}")
    if out.suffix not in (*PICTURES, ".json"):
        raise ValueError(f"--out must end in .pdf, .svg, .png or .json; got {out.name!r}")


def _answer(result: Result, out: Path) -> None:
    _show(repr(result.save(out)))
    _show(str(out))


def _kind(shortcut: str) -> float | str:
    """λ where the text is a number, else the name of a kind of shortcut."""
    try:
        return float(shortcut)
    except ValueError:
        return shortcut


def _builder(
    stack: str, depth: int, width: int, init: str, activation: str, norm: bool
) -> Callable[[float | str | None], Callable[[], nn.Module]]:
    """For a shortcut (None: none), a function that builds the network."""
    from gradflow.models import conv_stack, fc_stack, resnet

    _check("--stack", [stack], ("fc", "conv", "resnet"))
    if stack == "resnet":
        if activation != "relu" or norm:
            raise ValueError("a resnet always has ReLU and BatchNorm; leave out --activation and --batch-norm")
        return lambda shortcut: lambda: resnet(depth, width=width, init=init, shortcut=shortcut)
    make = fc_stack if stack == "fc" else conv_stack
    return lambda shortcut: lambda: make(depth, width, shortcut=shortcut, init=init, activation=activation, norm=norm)
