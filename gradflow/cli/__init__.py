"""The command line: ``gradflow figures``, ``compare``, ``split``, ``train``, ``study``, ``data``, ``models`` …"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

import gradflow
from gradflow.cli import inventory, pictures, training
from gradflow.cli.console import complain, show

_INTERRUPTED = 130
_PLAIN: dict[str, Any] = {"add_completion": False, "rich_markup_mode": None, "pretty_exceptions_enable": False}

app = typer.Typer(help="How gradients travel through deep networks, with and without shortcuts.", **_PLAIN)
data = typer.Typer(help="Fetch the official files of CIFAR-10 and CIFAR-100, and check them.", **_PLAIN)


def main() -> None:
    """Run the command line.

    A mistake of the user is one line on standard error and exit status 2, a training that failed one line and status 1.
    """
    try:
        status = app(standalone_mode=False)
    except (typer.Abort, KeyboardInterrupt) as stop:
        sys.exit(_interrupted(str(stop)))
    except Exception as error:
        if isinstance(error, (ValueError, TypeError, OSError, ImportError)) or hasattr(error, "format_message"):
            message = error.format_message() if hasattr(error, "format_message") else str(error)
            sys.exit(complain(message, 2))
        if isinstance(error, (FloatingPointError, RuntimeError)):
            sys.exit(complain(str(error), 1))
        raise
    if status == _INTERRUPTED:  # typer, too, turns Ctrl-C into this status
        _interrupted()
    sys.exit(status if isinstance(status, int) else 0)


def _interrupted(message: str = "") -> int:
    return complain(message or "interrupted; every file that was finished is whole", _INTERRUPTED)


def _version(wanted: bool) -> None:
    if wanted:
        show(gradflow.__version__)
        raise typer.Exit


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """How gradients travel through deep networks, with and without shortcuts."""
    _help_without_command(context)


@data.callback(invoke_without_command=True)
def _help_without_command(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        show(context.get_help())


for draw in (pictures.figures, pictures.compare, pictures.split, pictures.paths, pictures.lesion):
    app.command()(draw)
app.command()(training.train)
app.command()(training.study)
app.command()(inventory.models)
app.add_typer(data, name="data")
data.command()(inventory.fetch)
data.command()(inventory.check)
