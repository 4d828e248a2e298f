"""Commands that draw: ``figures``, ``compare``, ``split``, ``paths``, ``lesion``."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from tqdm import tqdm

import gradflow
from gradflow.cli.console import check as check_known
from gradflow.cli.console import check_counts, show
from gradflow.cli.pages import WIDTH, page_of

if TYPE_CHECKING:
    from torch import nn

    from gradflow.results import Result

_OUT = "Folder for all files, numbers in its data/; by default figures, for another page one inside, as figures/84mm."
_DATA = "Folder with the numbers to draw; by default OUT/data, else the recorded ones in figures/data."
_CHECK = (
    "Write nothing; say which figures are not what their numbers give, in another folder than figures of those that "
    "are there, each as it was drawn unless options say how. With --full compute the numbers anew, too. Exit status 1 "
    "where something does not match."
)


def figures(
    names: Annotated[list[str] | None, typer.Argument(help="Figures to draw; all of them by default.")] = None,
    out: Annotated[Path | None, typer.Option(help=_OUT, show_default=False)] = None,
    formats: Annotated[str, typer.Option("--format", help="Comma-separated: pdf, svg, png, pgf.")] = "pdf,svg,png",
    width: Annotated[str | None, typer.Option(help=WIDTH, show_default=False)] = None,
    context: Annotated[str, typer.Option(help="Size of the type: book, notebook (a screen) or lecture.")] = "book",
    grey: Annotated[bool, typer.Option("--grey", help="Without colour.")] = False,
    lang: Annotated[str, typer.Option(help="Language of labels and captions: en or zh.")] = "en",
    from_data: Annotated[bool, typer.Option("--from-data", help="Redraw from numbers without computing.")] = False,
    data: Annotated[Path | None, typer.Option(help=_DATA, show_default=False)] = None,
    full: Annotated[bool, typer.Option("--full", help="Train with all the seeds of the book, not with a few.")] = False,
    check: Annotated[bool, typer.Option("--check", help=_CHECK)] = False,
) -> None:
    """Compute and draw the book figures: pictures, the numbers as .csv and .json, and a .tex to put into a book.

    Those of trainings that take hours are drawn from recorded numbers; only by name and with --full are they trained
    anew. For an article of two columns, in grey, from the recorded numbers: gradflow figures fc-flow --from-data
    --width single --grey --out mine.
    """
    from gradflow import figures as book
    from gradflow.figures.exporting import STANDARD, folder_for
    from gradflow.plots.look import KINDS_OF_FILE

    page = page_of(width, context, grey, lang)
    kinds = tuple(dict.fromkeys(kind.strip() for kind in formats.split(",")))
    names = list(dict.fromkeys(names or []))
    check_known("figure", names, book.CATALOGUE)
    if full and from_data:
        raise ValueError("--full computes and --from-data does not; give one of them")
    check_known("format", kinds, KINDS_OF_FILE)
    folder = out or folder_for(page)
    _check_folder(folder, written=not check)
    if check:
        asked = None if out and page == STANDARD else page
        _check_figures(names or _expected(folder), folder, kinds, full=full, page=asked, data=data)
        return
    written: list[Path] = []
    at_hand = [name for name in book.CATALOGUE if book.is_at_hand(name, folder, data)]
    try:
        with tqdm(names or at_hand, unit="figure", dynamic_ncols=True) as bar:
            for name in bar:
                drawn = from_data or (not names and book.CATALOGUE[name].recorded is not None)
                bar.set_description(f"{'drawing' if drawn else 'computing'} {name}")
                source = data or (None if out else _standard_data(name, folder))
                written += book.make(name, folder, kinds, from_data=drawn, full=full, page=page, data=source)
    finally:
        if written:
            written.append(book.gallery(folder, page))
    show("\n".join(str(path) for path in written))


def _check_folder(folder: Path, *, written: bool) -> None:
    """Raise ValueError where files cannot go into a folder, or cannot be there; nothing is left behind."""
    place = folder / "data"
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise ValueError(f"--out must be a folder; {place} is {'a file' if place.is_file() else 'none'}")
    if written:
        try:
            with tempfile.TemporaryDirectory(dir=place, prefix=".gradflow."):
                pass
        except OSError as error:
            raise ValueError(f"--out must be a folder to write into; {place} is none: {error.strerror}") from error


def _expected(folder: Path) -> list[str]:
    """Which figures must be in a folder: all in that of the standard ones, in another those that are there."""
    from gradflow import figures as book

    if folder.absolute() == Path("figures").absolute():
        return list(book.CATALOGUE)
    there = book.drawn_in(folder)
    if not there:
        raise ValueError(f"{folder} holds no figure to check; --out must name a folder with figures")
    return there


def _standard_data(name: str, folder: Path) -> Path | None:
    """The numbers of the standard figures, where the folder is one for another page beside them."""
    standard = Path("figures", "data")
    return standard if folder.parent == Path("figures") and (standard / f"{name}.json").exists() else None


def _check_figures(names: list[str], folder: Path, kinds: tuple[str, ...], *, full: bool, **options: Any) -> None:
    from gradflow import figures as book

    wrong: list[str] = []
    with tqdm(names, unit="figure", dynamic_ncols=True, desc="checking") as bar:
        for name in bar:
            found = book.check(name, folder, kinds, full=full, **options)
            wrong += [f"{name}: {'; '.join(found)}"] if found else []
    skipped = [name for name in names if full and book.CATALOGUE[name].recorded]
    if not wrong:
        many = "the figure matches" if len(names) == 1 else f"all {len(names)} figures match"
        show(f"{many}; not computed anew, as it takes hours: {', '.join(skipped)}" if skipped else many)
        return
    show("\n".join(wrong))
    raise typer.Exit(1)


Stack = Annotated[str, typer.Option(help="fc, conv or resnet (6n+2 layers, BatchNorm).")]
Depth = Annotated[int, typer.Option(help="Number of weighted layers.")]
Width = Annotated[int, typer.Option(help="Features or channels; those of the first stage of a resnet.")]
Init = Annotated[str, typer.Option(help="default, he, he_fan_out, xavier, orthogonal or normal(SIGMA).")]
Activation = Annotated[str, typer.Option(help="relu, tanh, sigmoid, gelu or linear (fc and conv).")]
BatchNorm = Annotated[bool, typer.Option("--batch-norm", help="BatchNorm before each activation (fc and conv).")]
Shortcut = Annotated[str, typer.Option(help="λ, or a kind such as conv1x1 or exclusive-gate (He16 Table 1).")]
Seeds = Annotated[int, typer.Option(help="How many times to draw weights and batch.")]
Out = Annotated[Path, typer.Option(help="Picture (.pdf, .svg, .png), page (.html) or numbers (.json) to write.")]


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
    from gradflow.results import ENDINGS

    check_counts(**counts)
    if out.suffix not in ENDINGS:
        raise ValueError(f"--out must end in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}; got {out.name!r}")


def _answer(result: Result, out: Path) -> None:
    show(repr(result.save(out)))
    show(str(out))


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

    check_known("--stack", [stack], ("fc", "conv", "resnet"))
    if stack == "resnet":
        if activation != "relu" or norm:
            raise ValueError("a resnet always has ReLU and BatchNorm; leave out --activation and --batch-norm")
        return lambda shortcut: lambda: resnet(depth, width=width, init=init, shortcut=shortcut)
    make = fc_stack if stack == "fc" else conv_stack
    return lambda shortcut: lambda: make(depth, width, shortcut=shortcut, init=init, activation=activation, norm=norm)
