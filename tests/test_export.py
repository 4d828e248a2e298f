"""Figures for any page: their size, their files, where these go, and whether they match their numbers."""

import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_cli import run

import gradflow
from gradflow import figures, plots
from gradflow.cli.pages import width_mm
from gradflow.figures import exporting
from gradflow.plots.page import Page, turned_to

FOLDER = Path(__file__).parent.parent / "figures"
NAME = "fc-flow"


def stored(name=NAME):
    return gradflow.load(FOLDER / "data" / f"{name}.json")


def drawn(page, name=NAME):
    with turned_to(page), plots.style():
        return figures.CATALOGUE[name].draw(stored(name))


# ── the page ──


@pytest.mark.parametrize(
    ("asked", "millimetres"),
    [
        (None, None),
        ("single", 84),
        ("double", 174),
        ("84mm", 84),
        ("8.4 cm", 84),
        ("3.5in", 88.9),
        ("240pt", 84.35),
        (".1in", 2.54),
    ],
)
def test_widths(asked, millimetres):
    assert width_mm(asked) == millimetres


@pytest.mark.parametrize("asked", ["", "84", "mm", "84 km", "1e2mm", "nanmm", "84mm 3", "-3cm", "single mm"])
def test_mistaken_widths(asked):
    with pytest.raises(ValueError, match=f"in mm, cm, in or pt, such as 84mm; got '{asked}'"):
        width_mm(asked)


@pytest.mark.parametrize("page", [Page(width_mm=84), Page(width_mm=120.5, grey=True), Page(context="lecture")], ids=str)
def test_every_format_has_exactly_the_size_asked_for(page):
    picture = drawn(page)
    width, height = 25.4 * picture.get_size_inches()
    assert width == pytest.approx(page.width(plots.DOUBLE_MM), abs=1e-9)
    box = re.search(rb"/MediaBox ?\[ ?0 0 ([\d.]+) ([\d.]+) ?\]", plots.render(picture, "pdf"))
    assert [float(side) * 25.4 / 72 for side in box.groups()] == pytest.approx([width, height], abs=1e-3)
    svg = plots.render(picture, "svg").decode()
    sides = re.search(
        r'<svg [^>]*?width="([\d.]+)pt" height="([\d.]+)pt"|height="([\d.]+)pt"[^>]*width="([\d.]+)pt"', svg
    )
    assert sorted(float(side) * 25.4 / 72 for side in sides.groups() if side) == pytest.approx(
        sorted((width, height)), abs=1e-3
    )
    pixels = Image.open(io.BytesIO(plots.render(picture, "png"))).size
    assert np.abs(np.array(pixels) - np.array([width, height]) / 25.4 * 300).max() <= 1


def test_fonts_are_type_42_and_nothing_is_a_bitmap():
    pdf = plots.render(drawn(Page(width_mm=84, grey=True)), "pdf")
    assert b"/Type3" not in pdf
    assert b"/CIDFontType2" in pdf
    assert b"/Image" not in re.sub(rb"/ProcSet \[[^\]]*\]|/ImageB|/ImageC|/ImageI", b"", pdf)
    svg = plots.render(drawn(Page(width_mm=84)), "svg")
    assert b"<image" not in svg
    assert b"<text" not in svg, "letters are outlines"


def test_grey_is_grey_and_colour_is_not():
    def saturated(page):
        svg = plots.render(drawn(page), "svg").decode()
        return {
            c
            for c in re.findall(r"#([0-9a-fA-F]{6})\b", svg)
            if len({c[:2].lower(), c[2:4].lower(), c[4:].lower()}) > 1
        }

    assert saturated(Page(grey=True)) == set()
    assert saturated(Page())


def test_render_names_the_kinds_it_knows():
    with pytest.raises(ValueError, match=r"pdf, svg, png, pgf; got 'eps'"):
        plots.render(plots.new_figure(), "eps")


# ── the files ──


@pytest.mark.parametrize("name", figures.CATALOGUE)
def test_every_caption_states_seeds_batch_mode_and_dtype(name):
    caption = figures.caption(name, stored(name))
    assert re.search(r"seeds?\b|draws|one (training )?run|orders", caption)
    assert re.search(r"\bB = \d|batch(es)? of", caption) or "in one batch" in caption or "inputs" in caption
    assert re.search(r"\b(train|eval) mode", caption)
    assert re.search(r"float(32|64)", caption)


_HASHES = """
import hashlib, sys
from pathlib import Path
import gradflow
from gradflow import figures
from gradflow.figures import exporting
from gradflow.plots.page import Page
name, folder, *kinds = sys.argv[1:]
numbers = gradflow.load(Path(folder) / "data" / f"{name}.json")
page = Page(width_mm=84, grey=True)
files = exporting.contents(name, figures.CATALOGUE[name], numbers, kinds, page, Path("nowhere"))
print(*(f"{file} {hashlib.md5(content).hexdigest()}" for file, content in files.items()), sep="\\n")
"""


@pytest.mark.parametrize("name", [NAME, "lambda-product"])
def test_a_second_run_gives_the_same_bytes_in_every_format(name):
    kinds = ("pdf", "svg", "png", *(["pgf"] if shutil.which("pdflatex") else []))

    def hashes(seed, order):
        command = [sys.executable, "-c", _HASHES, name, str(FOLDER), *order]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return dict(line.split() for line in done.stdout.splitlines())

    first = hashes("1", kinds)
    assert set(first) == {f"{name}.{kind}" for kind in (*kinds, "csv", "tex")}
    assert hashes("2", kinds[::-1]) == first, "whatever the order of formats"


# ── where they go ──


@pytest.fixture
def elsewhere(monkeypatch, tmp_path):
    """A folder of one's own, from which the repository's numbers are found as in a checkout."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(figures, "RECORDED", (Path("figures", "data"), FOLDER / "data"))
    return tmp_path


def files_in(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_recorded_numbers_are_found_and_put_beside_the_pictures(monkeypatch, capsys, elsewhere):
    options = ("figures", NAME, "--from-data", "--width", "single", "--grey", "--format", "pdf", "--out", "mine")
    status, out, err = run(monkeypatch, capsys, *options)
    assert status == 0
    expected = {f"{NAME}.pdf", f"{NAME}.csv", f"{NAME}.tex", f"data/{NAME}.json", "README.md"}
    assert files_in(elsewhere / "mine") == expected
    assert set(out.split()) == {f"mine/{file}" for file in expected}
    assert f"numbers from {FOLDER / 'data' / NAME}.json" in err
    assert (elsewhere / "mine/data" / f"{NAME}.json").read_bytes() == (FOLDER / "data" / f"{NAME}.json").read_bytes()
    assert "gradflow figures --width 84mm --grey" in (elsewhere / "mine/README.md").read_text()

    monkeypatch.setattr(figures, "RECORDED", ())
    before = {file: (elsewhere / "mine" / file).read_bytes() for file in expected}
    status, _, err = run(monkeypatch, capsys, *options)
    assert (status, "numbers from" in err) == (0, False), "the folder is whole by itself"
    assert {file: (elsewhere / "mine" / file).read_bytes() for file in expected} == before


def test_without_numbers_one_line_says_where_to_get_them(monkeypatch, capsys, elsewhere):
    monkeypatch.setattr(figures, "RECORDED", ())
    status, _, err = run(monkeypatch, capsys, "figures", NAME, "--from-data", "--out", "mine")
    assert status == 2
    assert "`gradflow figures fc-flow --out mine`" in err.splitlines()[-1]
    assert "figures/data of gradflow's repository" in err.splitlines()[-1]
    assert files_in(elsewhere) == set()


def test_figures_for_another_page_get_their_own_folder_and_never_replace_the_standard_ones(
    monkeypatch, capsys, elsewhere
):
    standard = ("figures", NAME, "--from-data", "--format", "png")
    assert run(monkeypatch, capsys, *standard)[0] == 0
    before = {file: (elsewhere / file).read_bytes() for file in files_in(elsewhere)}

    status, out, _ = run(monkeypatch, capsys, *standard, "--width", "84mm", "--grey")
    assert status == 0
    assert f"figures/84mm-grey/{NAME}.png" in out
    status, _, err = run(monkeypatch, capsys, *standard, "--width", "84mm", "--out", "figures")
    assert status == 2
    assert "--width 84mm" in err.splitlines()[-1]
    assert "figures/84mm" in err.splitlines()[-1]
    assert {file: (elsewhere / file).read_bytes() for file in before} == before

    for width in ("90mm", "100mm"):
        assert run(monkeypatch, capsys, *standard, "--width", width, "--out", "mine")[0] == 0
    assert "width=100mm" in (elsewhere / "mine" / f"{NAME}.tex").read_text(), "one's own folder may change its mind"


def test_a_figure_named_twice_is_drawn_once(monkeypatch, capsys, elsewhere):
    status, out, _ = run(monkeypatch, capsys, "figures", NAME, NAME, "--from-data", "--format", "svg", "--out", "mine")
    assert status == 0
    assert out.split().count(f"mine/{NAME}.svg") == 1


def test_the_named_folder_of_numbers_is_taken(monkeypatch, capsys, elsewhere):
    numbers = stored()
    type(numbers)(parts=numbers.parts, provenance={"mine": 1}).save(elsewhere / "other" / f"{NAME}.json")
    options = ("--from-data", "--data", "other", "--out", "mine", "--format", "png")
    assert run(monkeypatch, capsys, "figures", NAME, *options)[0] == 0
    assert gradflow.load(elsewhere / "mine/data" / f"{NAME}.json").provenance == {"mine": 1}


@pytest.mark.parametrize(
    ("page", "options", "folder"),
    [
        (Page(), "", "figures"),
        (Page(width_mm=84.34), "--width 84.34mm", "figures/84.34mm"),
        (
            Page("lecture", 300, True, "zh"),
            "--width 300mm --context lecture --grey --lang zh",
            "figures/300mm-lecture-grey-zh",
        ),
    ],
)
def test_a_page_has_options_and_a_folder(page, options, folder):
    assert " ".join(exporting.options_of(page)) == options
    assert exporting.folder_for(page) == Path(folder)


# ── the gallery ──


def section(folder, name):
    return (folder / "README.md").read_text().partition(f"## {name}\n")[2].partition("\n## ")[0]


def test_the_gallery_says_of_each_figure_how_it_was_drawn(tmp_path, chinese):
    pages = {NAME: Page("book", 84, True), "why-rms": Page("book"), "lambda-product": Page("lecture", language="zh")}
    for name, page in pages.items():
        figures.make(name, tmp_path, ("svg",), from_data=True, page=page, data=FOLDER / "data")
    for page in pages.values():  # whoever asks for the gallery
        head = figures.gallery(tmp_path, page).read_text().splitlines()[2]
        assert head.startswith("Drawn by `gradflow figures`, unless another command is named;")
        assert f"Drawn by `gradflow figures {NAME} --from-data --width 84mm --grey`." in section(tmp_path, NAME)
        assert "Drawn by" not in section(tmp_path, "why-rms")
        assert "--from-data --context lecture --lang zh`." in section(tmp_path, "lambda-product")
        with turned_to(pages["lambda-product"]):
            assert figures.caption("lambda-product", stored("lambda-product")) in section(tmp_path, "lambda-product")


def test_figures_drawn_alike_share_one_command(tmp_path):
    for name in (NAME, "why-rms"):
        figures.make(name, tmp_path, ("svg",), from_data=True, page=Page(width_mm=84.5), data=FOLDER / "data")
    written = figures.gallery(tmp_path).read_text()
    assert written.count("Drawn by") == 1
    assert "Drawn by `gradflow figures --width 84.5mm`; each caption" in written


@pytest.mark.parametrize(("kinds", "shown"), [(("pdf",), None), (("pdf", "svg"), "svg"), (("svg", "png"), "png")])
def test_the_gallery_shows_what_is_there(tmp_path, kinds, shown):
    figures.make(NAME, tmp_path, kinds, from_data=True, data=FOLDER / "data")
    figures.gallery(tmp_path)
    assert re.findall(r"!\[.*?\]\((.*?)\)", section(tmp_path, NAME)) == ([f"{NAME}.{shown}"] if shown else [])
    links = re.findall(r"(?<!!)\[\w+\]\((.*?)\)", section(tmp_path, NAME))
    assert {f"{NAME}.{kind}" for kind in kinds} < set(links)
    assert all((tmp_path / link).exists() for link in links)


@pytest.mark.parametrize("page", [Page(), Page("lecture", 300, True, "zh"), Page("book", 84.34), Page(grey=True)])
def test_a_page_comes_back_from_the_command(tmp_path, page):
    (tmp_path / "one.tex").write_text(f"% {exporting.command('one', page)}\n\\begin{{figure}}\n")
    assert exporting.options_of(exporting.recorded_page("one", tmp_path)) == exporting.options_of(page)


@pytest.mark.parametrize(
    "line",
    ["", "% other", "% gradflow figures two --from-data", "% gradflow figures one --from-data --width 5mm"]
    + [f"% gradflow figures one --from-data {wrong}" for wrong in ("--lang de", "--width 8.4.1mm", "--dark")],
)
def test_a_first_line_that_names_no_page(tmp_path, line):
    (tmp_path / "one.tex").write_text(f"{line}\n")
    assert exporting.recorded_page("one", tmp_path) is None


@pytest.mark.parametrize("kind", ["Comparison", "Table", "Lesion"])
def test_numbers_of_another_figure_are_one_line(monkeypatch, capsys, elsewhere, each_kind, kind):
    figures.make("why-rms", Path("mine"), ("svg",), from_data=True, data=FOLDER / "data")
    each_kind[kind].save(Path("other") / f"{NAME}.json")
    words = f"other/{NAME}.json does not hold the numbers of {NAME} ("
    options = ("--out", "mine", "--data", "other", "--format", "svg")
    status, _, err = run(monkeypatch, capsys, "figures", NAME, "--from-data", *options)
    assert status == 2
    assert err.splitlines()[-1].startswith(f"gradflow: {words}")
    assert not Path("mine/data", f"{NAME}.json").exists(), "they are not put beside the pictures"
    status, out, _ = run(monkeypatch, capsys, "figures", NAME, "--check", *options)
    assert status == 1
    assert out.startswith(f"{NAME}: {words}")

    each_kind[kind].save(Path("mine/data") / f"{NAME}.json")
    written = figures.gallery(Path("mine")).read_text()
    assert f"No caption: data/{NAME}.json does not hold the numbers of {NAME} (" in written
    assert "One gradient, four norms" in written, "those of the others are there"
