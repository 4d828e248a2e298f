"""The committed book figures: their pictures follow from their numbers, their captions from both."""

import re
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
import pytest
from matplotlib.font_manager import findfont

import gradflow
from gradflow import figures, plots
from gradflow.figures import exporting
from gradflow.models import fc_stack
from gradflow.results import Result

FOLDER = Path(__file__).parent.parent / "figures"


class Drawn(NamedTuple):
    """A figure as recorded: its numbers, and the files that they give."""

    name: str
    numbers: Result
    files: dict[str, bytes]


def files_of(name: str, numbers: Result) -> dict[str, bytes]:
    return exporting.contents(name, figures.CATALOGUE[name], numbers, figures.FORMATS, exporting.STANDARD, FOLDER)


@pytest.fixture(scope="module", params=figures.CATALOGUE)
def drawn(request: pytest.FixtureRequest) -> Drawn:
    numbers = gradflow.load(FOLDER / "data" / f"{request.param}.json")
    return Drawn(request.param, numbers, files_of(request.param, numbers))


def test_drawing_again_gives_the_committed_files(drawn: Drawn) -> None:
    """With another matplotlib than that of the numbers pictures differ, and must only be the same each time."""
    name, numbers, files = drawn
    assert set(files) == {f"{name}.{kind}" for kind in (*figures.FORMATS, "csv", "tex")}
    comparable = numbers.provenance["versions"]["matplotlib"] == matplotlib.__version__
    again = {} if comparable else files_of(name, numbers)
    for file, content in files.items():
        is_picture = file.endswith(figures.FORMATS)
        before = again[file] if is_picture and not comparable else (FOLDER / file).read_bytes()
        assert content == before, file


def test_the_caption_is_filled_in_and_in_the_gallery(drawn: Drawn) -> None:
    caption = figures.caption(drawn.name, drawn.numbers)
    assert not re.search(r"[{}]|nan|None", caption)
    assert caption in (FOLDER / "README.md").read_text()


def test_fonts_are_embedded(drawn: Drawn) -> None:
    pdf = drawn.files[f"{drawn.name}.pdf"]
    assert b"/Type42" in pdf or b"/CIDFontType2" in pdf
    assert b"/Type3" not in pdf


def test_the_font_comes_with_matplotlib():
    with plots.style():
        assert Path(findfont(matplotlib.rcParams["font.sans-serif"][0])).is_relative_to(matplotlib.get_data_path())


def test_fc_flow_repeats_the_source_experiment():
    five = gradflow.load(FOLDER / "data" / "fc-flow.json")["5"]
    assert five.traces["plain"].median("output_grad") == pytest.approx([2e-4, 5e-4, 1.3e-3, 3.3e-3, 7.9e-3], rel=0.06)
    assert 5 < next(iter(five.ratio["residual"].values())) < 9


def test_conv_flow_vanishes_without_and_explodes_with_batchnorm():
    panels = gradflow.load(FOLDER / "data" / "conv-flow.json")
    assert panels["without"].verdicts["plain"].word == "vanishes"
    assert panels["with"].verdicts["plain"].word == "explodes"


@pytest.mark.slow
def test_a_fast_figure_computed_again_has_the_same_numbers(tmp_path):
    again = figures.CATALOGUE["why-rms"].compute()
    stored = gradflow.load(FOLDER / "data" / "why-rms.json")
    for norm, comparison in again.parts.items():
        for model in ("plain", "residual"):
            assert comparison.values(model) == pytest.approx(stored[norm].values(model), rel=1e-3)


def test_a_squared_error_gives_a_larger_factor_than_an_independent_cotangent():
    """What the caption of init-theory says of losses that contain the output."""

    def factor(loss):
        stacks = [lambda: fc_stack(40, 256, init="he")] * 2
        values = gradflow.compare(*stacks, repeats=3, loss=loss).values("plain")
        return np.median((values[:, 0] / values[:, -2]) ** (1 / 38))

    independent = factor(lambda output, y: (output * y).sum())
    assert independent == pytest.approx(1, abs=0.015)
    assert 1.02 < factor(None) / independent < 1.06
