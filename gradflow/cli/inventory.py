"""Commands that tell what there is: ``models``, ``data fetch``, ``data check``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import gradflow
from gradflow.cli.console import show

if TYPE_CHECKING:
    from gradflow.results import Cost

DataDir = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the CIFAR files; by default that in GRADFLOW_DATA (environment), else a cache folder."
    ),
]


def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="cifar10 or cifar100.")],
    data_dir: DataDir = None,
) -> None:
    """Download an official archive and verify it. A download that broke off goes on where it stopped."""
    show(str(gradflow.data.fetch(name, data_dir)))


def check(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="cifar10, cifar100; both by default.")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Compare the files with their published checksums. The exit status is 1 if one is missing or altered."""
    found = [gradflow.data.check(name, data_dir) for name in names or ("cifar10", "cifar100")]
    for one in found:
        show(repr(one))
    if not all(one.ok for one in found):
        raise typer.Exit(1)


def models(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Count this one layer by layer: resnet50, wrn-16-2, vgg16, …")
    ] = None,
) -> None:
    """List the architectures and what they cost. With a name: layer by layer.

    Names of the same pattern work, too: resnet8, plain14, resnet50-3x3, preresnet56, wrn-16-2, resnext29-4x32d. VGG is
    there for reference only and cannot be trained.
    """
    from gradflow.models.architectures import architecture

    rows = _architectures() if name is None else _layers(architecture(name).cost())
    for row in rows:
        show(row)
    show("FLOPs are two for each multiply-add of convolutions, 2·C_in·K²·H·W·C_out, and of matrix products.")


def _architectures() -> Iterator[str]:
    """The table by architecture; each row as soon as it is counted, since the deepest nets take seconds."""
    yield _row(["name", "input", *_COUNTED, "from"])
    for name, one in gradflow.models.ARCHITECTURES.items():
        cost = one.cost()
        note = f"{one.source}{'; for reference, not trained' if one.listed_only else ''}"
        yield _row([name, _by(cost.input_shape), *_totals(cost), note])


def _layers(cost: Cost) -> Iterator[str]:
    """The table by layer."""
    width = max(map(len, cost.layers))
    yield _row(["layer", "output", *_COUNTED, "type"], width)
    columns = (cost.layers, map(_by, cost.shapes), cost.parameters, cost.multiply_adds, cost.flops, cost.types)
    for name, shape, *numbers, kind in zip(*columns, strict=True):
        yield _row([name, shape, *(f"{value:,}" for value in numbers), kind], width)
    yield _row(["total", "", *_totals(cost), f"for one sample of {_by(cost.input_shape)}"], width)


_COUNTED = ("parameters", "multiply-adds", "FLOPs")


def _totals(cost: Cost) -> list[str]:
    return [f"{total:,}" for total in (cost.total_parameters, cost.total_multiply_adds, cost.total_flops)]


def _row(cells: list[str], width: int = 16) -> str:
    first, shape, parameters, multiply_adds, flops, last = cells
    return f"{first:<{width}}  {shape:>11}  {parameters:>11}  {multiply_adds:>14}  {flops:>14}  {last}"


def _by(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))
