"""The command line: ``gradflow figures``, ``gradflow compare``, ``gradflow --version``."""

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
            written += book.make(name, out, kinds, from_data=from_data)
    written.append(book.gallery(out))
    _show("\n".join(str(path) for path in written))


def _check(what: str, wanted: Any, known: Any) -> None:
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ValueError(f"{what} must be among {', '.join(known)}; got {', '.join(map(repr, unknown))}")


@app.command()
def compare(
    stack: Annotated[str, typer.Option(help="fc, conv or resnet (6n+2 layers, BatchNorm).")] = "fc",
    depth: Annotated[int, typer.Option(help="Number of weighted layers.")] = 20,
    width: Annotated[int, typer.Option(help="Features or channels; those of the first stage of a resnet.")] = 64,
    init: Annotated[
        str, typer.Option(help="default, he, he_fan_out, xavier, orthogonal or normal(SIGMA).")
    ] = "default",
    activation: Annotated[str, typer.Option(help="relu, tanh, sigmoid, gelu or linear (fc and conv).")] = "relu",
    norm: Annotated[bool, typer.Option("--batch-norm", help="BatchNorm before each activation (fc and conv).")] = False,
    lam: Annotated[float, typer.Option(help="λ, the factor on every shortcut.")] = 1.0,
    seeds: Annotated[int, typer.Option(help="How many times to draw weights and batch.")] = 10,
    out: Annotated[Path, typer.Option(help="Picture (.pdf, .svg, .png) or numbers (.json) to write.")] = Path(
        "compare.png"
    ),
) -> None:
    """Compare the gradient by layer of a plain and a residual network; print the table, write a figure."""
    from gradflow.results import PICTURES

    if out.suffix not in (*PICTURES, ".json"):
        raise ValueError(f"--out must end in .pdf, .svg, .png or .json; got {out.name!r}")
    if seeds < 1:
        raise ValueError(f"--seeds must be at least 1; got {seeds}")
    build = _builder(stack, depth, width, init, activation, norm)
    result = gradflow.compare(build(None), build(lam), repeats=seeds)
    _show(repr(result.save(out)))
    _show(str(out))


def _builder(
    stack: str, depth: int, width: int, init: str, activation: str, norm: bool
) -> Callable[[float | None], Callable[[], nn.Module]]:
    """For a λ (None: no shortcut), a function that builds the network."""
    from gradflow.models import conv_stack, fc_stack, resnet

    _check("--stack", [stack], ("fc", "conv", "resnet"))
    if stack == "resnet":
        if activation != "relu" or norm:
            raise ValueError("a resnet always has ReLU and BatchNorm; leave out --activation and --batch-norm")
        return lambda lam: lambda: resnet(depth, width=width, init=init, shortcut=lam)
    make = fc_stack if stack == "fc" else conv_stack
    return lambda lam: lambda: make(depth, width, shortcut=lam, init=init, activation=activation, norm=norm)
