"""Figures for any page: their size, their files, where these go, and whether they match their numbers."""

import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image
from test_cli import run

import gradflow
from gradflow import figures, plots
from gradflow.cli.pages import width_mm
from gradflow.figures import exporting
from gradflow.figures.book import BookFigure, Seeds
from gradflow.plots import fonts
from gradflow.plots.page import Page, turned_to
from gradflow.results import Table

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
def test_the_committed_table_and_environment_are_what_the_numbers_give(name):
    given = exporting.contents(name, figures.CATALOGUE[name], stored(name), (), exporting.STANDARD, FOLDER)
    assert set(given) == {f"{name}.csv", f"{name}.tex"}
    for file, content in given.items():
        assert (FOLDER / file).read_bytes() == content, file


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


# ── what is missing is said before anything is computed ──


@pytest.fixture
def one(monkeypatch):
    """A catalogue of one small figure; the list tells how often it was computed."""
    computed = []

    def compute(seeds):
        computed.append(seeds)
        return Table(columns={"number": np.arange(3.0) + 1e-9 * (len(computed) - 1)}, provenance={"threads": 1})

    def draw(numbers):
        picture = plots.new_figure()
        picture.subplots().plot(np.asarray(numbers["number"]).round(3))
        return picture

    facts = {"caption": "words"}
    monkeypatch.setattr(figures, "CATALOGUE", {"one": BookFigure(compute, draw, lambda _: facts, Seeds(3, 3))})
    return computed


def test_no_latex(monkeypatch, capsys, one, tmp_path):
    monkeypatch.setenv("PATH", "")
    status, _, err = run(monkeypatch, capsys, "figures", "one", "--format", "pdf,pgf", "--out", tmp_path)
    assert status == 2
    assert "install TeX Live" in err.splitlines()[-1]
    assert one == []
    assert files_in(tmp_path) == set()


@pytest.fixture
def no_fonts(monkeypatch):
    """matplotlib knows no font for Chinese, and none is in the system's folders."""
    manager = fonts.font_manager.fontManager
    known = [entry for entry in manager.ttflist if entry.name not in fonts.FAMILIES]
    monkeypatch.setattr(manager, "ttflist", known)
    monkeypatch.setattr(fonts.font_manager, "findSystemFonts", list)
    fonts.chinese_font.cache_clear()
    yield
    fonts.chinese_font.cache_clear()


def test_no_font_for_chinese(monkeypatch, capsys, one, no_fonts, tmp_path):
    status, _, err = run(monkeypatch, capsys, "figures", "one", "--lang", "zh", "--out", tmp_path)
    assert status == 2
    assert "fonts-noto-cjk" in err.splitlines()[-1]
    assert one == []
    assert files_in(tmp_path) == set()
    with pytest.raises(FileNotFoundError, match="no font with Chinese characters"), plots.style(language="zh"):
        pass


@pytest.fixture
def chinese():
    try:
        return fonts.chinese_font()
    except FileNotFoundError:
        pytest.skip("no font for Chinese is installed")


def test_a_font_that_matplotlib_has_not_seen_is_found(monkeypatch):
    """Tried with a font that is there everywhere, as if it had the characters and were just installed."""
    path = Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    manager = fonts.font_manager.fontManager
    monkeypatch.setattr(fonts, "FAMILIES", ("DejaVu Sans",))
    monkeypatch.setattr(fonts, "_NEEDED", "λ")
    monkeypatch.setattr(manager, "ttflist", [entry for entry in manager.ttflist if entry.name != "DejaVu Sans"])
    monkeypatch.setattr(fonts.font_manager, "findSystemFonts", lambda: ["/nowhere/broken.ttf", str(path)])
    fonts.chinese_font.cache_clear()
    try:
        monkeypatch.setattr(fonts, "_NEEDED", "梯")
        with pytest.raises(FileNotFoundError):
            fonts.chinese_font()
        monkeypatch.setattr(fonts, "_NEEDED", "λ")
        assert fonts.chinese_font() == fonts.ChineseFont("DejaVu Sans", True), "installed while the program runs"
    finally:
        fonts.chinese_font.cache_clear()


@pytest.mark.parametrize("kind", ["pdf", "svg", "png"])
def test_chinese_words_are_drawn_not_boxed(chinese, kind, caplog):
    def words(said):
        with plots.style(language="zh"):
            picture = plots.new_figure(60, 20)
            picture.text(0.1, 0.5, said)
            picture.text(0.1, 0.1, said, weight="bold")
        return plots.render(picture, kind)

    one, other = words("梯度 λ"), words("残差 λ")  # a glyph that is missing is a warning, and an error here
    assert one != other
    assert one == words("梯度 λ")
    assert "findfont" not in caplog.text
    if kind == "pdf":
        assert (b"/Type3" in one) is not chinese.truetype


def test_postscript_outlines_are_not_passed_off_as_type_42(monkeypatch, chinese):
    monkeypatch.setattr(fonts, "chinese_font", lambda: fonts.ChineseFont(chinese.name, False))
    with plots.style(language="zh"):
        assert mpl.rcParams["pdf.fonttype"] == 3
    with plots.style():
        assert mpl.rcParams["pdf.fonttype"] == 42
        assert mpl.rcParams["font.family"] == ["sans-serif"]


# ── --check ──


@pytest.fixture
def whole(monkeypatch, capsys, one, tmp_path):
    """A folder with everything of one figure, and a function that checks it."""
    assert run(monkeypatch, capsys, "figures", "one", "--out", tmp_path)[0] == 0

    def check(*options):
        before = {file: (tmp_path / file).stat().st_mtime_ns for file in files_in(tmp_path)}
        status, out, _ = run(monkeypatch, capsys, "figures", "--check", "--out", tmp_path, *options)
        assert {file: (tmp_path / file).stat().st_mtime_ns for file in files_in(tmp_path)} == before, (
            "nothing is written"
        )
        return status, out.strip()

    return check


def test_what_matches_is_said_in_one_line(whole, one):
    assert whole() == (0, "the figure matches")
    assert whole("one", "--format", "png") == (0, "the figure matches")
    assert one == [3]


@pytest.mark.parametrize(
    ("file", "damage", "words"),
    [
        ("one.png", lambda content: content + b"\0", "one.png is not what data/one.json gives with this code"),
        ("one.svg", lambda content: None, "one.svg is missing"),
        ("one.csv", lambda content: content.replace(b"1.0", b"1.5"), "one.csv is not what data/one.json gives"),
        ("one.tex", lambda content: content.replace(b"caption:one", b"other"), "one.tex is not what"),
        ("README.md", lambda content: content.replace(b"caption:one", b"other"), "the caption in README.md is not"),
        ("README.md", lambda content: None, "README.md is missing"),
        ("data/one.json", lambda content: content[:-20], "truncated"),
        ("data/one.json", lambda content: None, "one.json is missing: gradflow figures one --out "),
        ("data/one.json", lambda content: content.replace(b"2.0", b"2.5"), "one.pdf, one.svg and one.png are not what"),
    ],
)
def test_what_does_not_match_is_named(whole, tmp_path, file, damage, words):
    content = damage((tmp_path / file).read_bytes())
    if content is None:
        (tmp_path / file).unlink()
    else:
        assert content != (tmp_path / file).read_bytes()
        (tmp_path / file).write_bytes(content)
    status, out = whole()
    assert status == 1
    assert out.startswith("one: ")
    assert len(out.splitlines()) == 1
    assert words in out


def test_bytes_of_another_matplotlib_cannot_be_compared(whole, tmp_path):
    path = tmp_path / "data/one.json"
    path.write_bytes(re.sub(rb'"matplotlib": "[^"]*"', b'"matplotlib": "3.0"', path.read_bytes()))
    assert whole() == (0, "the figure matches"), "where they are the same, the version does not matter"
    (tmp_path / "one.png").write_bytes(b"other")
    assert "one.png is not to be compared: recorded with matplotlib 3.0, this is" in whole()[1]


def test_in_full_the_numbers_are_computed_anew(whole, one):
    status, out = whole("--full")
    assert status == 1
    assert re.fullmatch(
        r"one: computed anew columns/number by up to 5e-10 of the largest number differs \(torch .*\)", out
    )
    assert one == [3, 3], "with as many seeds as are recorded"


def test_in_full_equal_numbers_match_and_hours_are_not_spent(whole, one, monkeypatch):
    before = figures.CATALOGUE["one"]
    same = BookFigure(lambda seeds: Table(columns={"number": np.arange(3.0)}), before.draw, before.facts, before.seeds)
    monkeypatch.setattr(figures, "CATALOGUE", {"one": same})
    assert whole("--full") == (0, "the figure matches")
    recorded = BookFigure(before.compute, before.draw, before.facts, recorded="a-plan")
    monkeypatch.setattr(figures, "CATALOGUE", {"one": recorded})
    assert whole("--full") == (0, "the figure matches; not computed anew, as it takes hours: one")


def test_a_figure_is_checked_as_it_was_drawn(monkeypatch, capsys, one, tmp_path):
    folder = tmp_path / "mine"

    def check(*options):
        status, out, _ = run(monkeypatch, capsys, "figures", "--check", "--out", folder, "--format", "svg", *options)
        return status, out.strip()

    run(monkeypatch, capsys, "figures", "one", "--width", "single", "--grey", "--format", "svg", "--out", folder)
    assert check() == (0, "the figure matches")
    assert check("one") == (0, "the figure matches")
    assert check("--width", "84mm", "--grey") == (0, "the figure matches")
    drawn = "one: drawn by `gradflow figures one --from-data --width 84mm --grey`"
    assert check("--grey") == (1, f"{drawn}, checked with --grey")
    (folder / "data/one.json").unlink()
    hint = f"gradflow figures one --width 84mm --grey --out {folder} computes it"
    assert check() == (1, f"one: {folder}/data/one.json is missing: {hint}")


def test_standard_figures_must_be_standard_and_all_there(monkeypatch, capsys, one, tmp_path):
    monkeypatch.chdir(tmp_path)
    two = {**figures.CATALOGUE, "two": figures.CATALOGUE["one"]}
    monkeypatch.setattr(figures, "CATALOGUE", two)
    assert run(monkeypatch, capsys, "figures", "one", "--format", "svg", "--grey", "--out", "figures")[0] == 0
    _, out, _ = run(monkeypatch, capsys, "figures", "--check", "--format", "svg")
    drawn, missing = out.splitlines()
    assert drawn == "one: drawn by `gradflow figures one --from-data --grey`, checked without these options"
    assert missing == "two: figures/data/two.json is missing: gradflow figures two computes it"
    Path("figures").rename("mine")
    status, out, _ = run(monkeypatch, capsys, "figures", "--check", "--format", "svg", "--out", "mine")
    assert (status, out.strip()) == (0, "the figure matches"), "in one's own folder two is not expected"
    status, _, err = run(monkeypatch, capsys, "figures", "--check", "--out", "empty")
    assert status == 2
    assert "empty holds no figure to check" in err.splitlines()[-1]


def test_the_environment_is_right_for_the_pictures_that_were_drawn(monkeypatch, capsys, one, tmp_path):
    assert run(monkeypatch, capsys, "figures", "one", "--format", "png", "--out", tmp_path)[0] == 0
    _, out, _ = run(monkeypatch, capsys, "figures", "--check", "--out", tmp_path)
    assert out.strip() == "one: one.pdf and one.svg are missing"
    path = tmp_path / "one.tex"
    path.write_bytes(path.read_bytes().replace(b"caption:one", b"other"))
    assert "one.tex is not what" in run(monkeypatch, capsys, "figures", "--check", "--out", tmp_path)[1]


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
