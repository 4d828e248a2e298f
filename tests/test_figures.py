"""The committed book figures: their pictures follow from their numbers, their captions from both."""

import re
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.font_manager import findfont

import gradflow
from gradflow import figures, plots
from gradflow.figures import exporting
from gradflow.models import fc_stack

FOLDER = Path(__file__).parent.parent / "figures"


@pytest.fixture(params=figures.CATALOGUE)
def drawn(request):
    """Name, numbers and picture of each figure."""
    numbers = gradflow.load(FOLDER / "data" / f"{request.param}.json")
    with plots.style():
        yield request.param, numbers, figures.CATALOGUE[request.param].draw(numbers)


def test_the_committed_files_are_what_the_numbers_give(drawn):
    name, numbers, _ = drawn
    recorded = str(numbers.provenance.get("versions", {}).get("matplotlib", matplotlib.__version__))
    if recorded != matplotlib.__version__:
        pytest.skip(f"the same bytes are promised with matplotlib {recorded} only")
    figure, page = figures.CATALOGUE[name], exporting.STANDARD
    for file, content in exporting.contents(name, figure, numbers, figures.FORMATS, page, FOLDER).items():
        assert (FOLDER / file).read_bytes() == content, file


def test_drawing_twice_gives_the_same_bytes(drawn):
    name, numbers, picture = drawn
    with plots.style():
        again = figures.CATALOGUE[name].draw(numbers)
    for kind in figures.FORMATS:
        assert plots.render(picture, kind) == plots.render(again, kind)


def test_the_caption_is_filled_in_and_in_the_gallery(drawn):
    name, numbers, _ = drawn
    caption = figures.caption(name, numbers)
    assert not re.search(r"[{}]|nan|None", caption)
    assert caption in (FOLDER / "README.md").read_text()


def test_width_is_that_of_two_columns_and_fonts_are_embedded(drawn):
    _, _, picture = drawn
    assert picture.get_figwidth() * 25.4 == pytest.approx(plots.DOUBLE_MM)
    pdf = plots.render(picture, "pdf")
    assert b"/Type42" in pdf or b"/CIDFontType2" in pdf
    assert b"/Type3" not in pdf


def test_nothing_is_cut_off_or_squeezed(drawn):
    _, _, picture = drawn
    FigureCanvasAgg(picture).draw()
    frame = picture.bbox
    widths = [ax.get_position().width for ax in picture.axes]
    assert max(widths) < 1.3 * min(widths)
    for ax in picture.axes:
        for text in (ax.title, ax._left_title, ax.xaxis.label, ax.yaxis.label):
            box = text.get_window_extent()
            if text.get_text() and text.get_visible():
                assert frame.x0 - 1 <= box.x0, text.get_text()
                assert box.x1 <= frame.x1 + 1, text.get_text()
                assert frame.y0 - 1 <= box.y0, text.get_text()
                assert box.y1 <= frame.y1 + 1, text.get_text()


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
