"""Words and figures for LaTeX: what is written compiles with every engine that is installed here."""

import os
import re
import shutil
import string
import subprocess
from pathlib import Path

import matplotlib as mpl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_cli import run
from test_export import files_in

import gradflow
from gradflow import figures, plots
from gradflow.figures import exporting
from gradflow.plots import latex
from gradflow.plots.latex import in_latex, label_in_latex
from gradflow.plots.page import Page, turned_to

FOLDER = Path(__file__).parent.parent / "figures"
ENGINES = ("pdflatex", "xelatex", "lualatex")


def needs(*engines):
    missing = [engine for engine in engines if not shutil.which(engine)]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} is not installed")


def typeset(engine, folder, body, *packages):
    """The log of a document, which must compile, with every character in some font."""
    preamble = "".join(f"\\usepackage{{{package}}}" for package in ("graphicx", "pgf", *packages))
    document = f"\\documentclass[twocolumn]{{article}}{preamble}\\begin{{document}}{body}\\end{{document}}\n"
    (folder / "main.tex").write_text(document, encoding="utf-8")
    command = [engine, "-interaction=nonstopmode", "-halt-on-error", "main.tex"]
    where = {**os.environ, "TEXINPUTS": f"{folder}:{FOLDER}:", "SOURCE_DATE_EPOCH": "0"}
    done = subprocess.run(command, cwd=folder, env=where, capture_output=True, timeout=300)
    log = (folder / "main.log").read_text(errors="replace")
    assert done.returncode == 0, log[-1500:]
    assert "Missing character" not in log
    return log


# ── words ──


@pytest.mark.parametrize(
    ("words", "written"),
    [
        ("90 % of A_B & C#1", r"90 \% of $A_{B}$ \& C\#1"),
        ("∂loss/∂output", r"$\partial$loss/$\partial$output"),
        ("λ⁵⁰ − 9.5 × 10⁻⁸", r"$\lambda ^{50}$ $-$ 9.5 $\times$ 10$^{-8}$"),
        ("(3/4)^L, x_l, x₀ and a_long_name", r"(3/4)$^{L}$, $x_{l}$, x$_{0}$ and a\_long\_name"),
        ("– a—b … “so” ‘it’", r"-- a---b \dots{} ``so'' `it'"),
        (r"a\b{c}~d^ $5", r"a\textbackslash{}b\{c\}\textasciitilde{}d\textasciicircum{} \$5"),
        ("‖w‖ ≤ 1 → ∞", r"$\|$w$\|$ $\le$ 1 $\to$ $\infty$"),
    ],
)
def test_words_in_latex(words, written):
    assert in_latex(words) == written


def test_labels_keep_their_formulas():
    assert label_in_latex(r"from start  $\|w_t-w_0\|$, 5 %", True) == r"from start  $\|w_t-w_0\|$, 5 \%"
    assert label_in_latex(r"λ costs \$5, $∂E/∂x$", True) == r"$\lambda$ costs \$5, $\partial E/\partial x$"
    assert label_in_latex("no $ here", False) == r"no \$ here"


@given(st.text(alphabet=st.characters(codec="ascii", categories=("L", "N", "P", "S", "Zs"))))
def test_nothing_that_latex_reads_as_a_command_is_left(words):
    bare = re.sub(r"\\text[a-z]+\{\}|\\[{}%&#$_]|\$\\?[-<>|^]\$|\$[^$]*\$", "", in_latex(words))
    assert not set(bare) & set("\\{}%&#$_^~")


@pytest.mark.parametrize("engine", [pytest.param(engine, marks=needs(engine)) for engine in ENGINES])
def test_every_sign_compiles(engine, tmp_path):
    signs = "".join(latex._TEXT) + "".join(latex._MATH) + "⁰¹²³⁴⁵⁶⁷⁸⁹⁻₀₁₂₃" + string.printable[:-6]
    typeset(engine, tmp_path, "\n\n".join(in_latex(f"a {sign} b{sign}c") for sign in signs))


# ── pictures as pgf ──


def drawn(name):
    with plots.style():
        return figures.CATALOGUE[name].draw(gradflow.load(FOLDER / "data" / f"{name}.json"))


@pytest.fixture(params=["fc-flow", "lambda-product"])
def picture(request):
    return drawn(request.param)


@needs("pdflatex")
def test_a_pgf_tells_nothing_of_this_machine_and_comes_out_the_same(picture, request):
    before, settings = picture.canvas, dict(mpl.rcParams)
    written = plots.render(picture, "pgf")
    assert written == plots.render(drawn(request.node.callspec.params["picture"]), "pgf")
    assert written.isascii(), "so that every engine reads it"
    assert str(Path.home()).encode() not in written
    assert b".ttf" not in written
    assert picture.canvas is before
    assert dict(mpl.rcParams) == settings
    width = float(re.search(rb"\\pgfqpoint\{([\d.]+)in\}\{[\d.]+in\}\}%\n\\pgfusepath\{use as", written)[1])
    assert 25.4 * width == pytest.approx(plots.DOUBLE_MM, abs=1e-4)


@needs("pdflatex")
@pytest.mark.parametrize("engine", [pytest.param(engine, marks=needs(engine)) for engine in ENGINES])
def test_a_pgf_compiles_with_every_engine(picture, engine, tmp_path):
    (tmp_path / "picture.pgf").write_bytes(plots.render(picture, "pgf"))
    log = typeset(engine, tmp_path, r"\onecolumn\noindent\input{picture.pgf}", "lmodern")
    assert "Output written on main.pdf (1 page" in log


@pytest.mark.parametrize(("language", "wanted"), [("en", "pdflatex or xelatex or lualatex"), ("zh", "xelatex")])
def test_without_latex_one_line_says_what_to_install(monkeypatch, language, wanted):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(FileNotFoundError, match=f"no {wanted} is installed here: install TeX Live") as raised:
        latex.tex_engine(language)
    assert "pdf, svg or png" in str(raised.value)


def test_no_latex(monkeypatch, capsys, computed, tmp_path):
    monkeypatch.setenv("PATH", "")
    status, _, err = run(monkeypatch, capsys, "figures", "one", "--format", "pdf,pgf", "--out", tmp_path)
    assert status == 2
    assert "install TeX Live" in err.splitlines()[-1]
    assert computed == []
    assert files_in(tmp_path) == set()


def test_the_first_engine_that_is_there_is_taken(monkeypatch, tmp_path):
    (tmp_path / "xelatex").write_text("#!/bin/sh\n")
    (tmp_path / "xelatex").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    if os.name == "posix":
        assert latex.tex_engine() == "xelatex"


# ── figure environments ──


def environments(page, folder):
    texts = []
    for name, figure in figures.CATALOGUE.items():
        numbers = gradflow.load(FOLDER / "data" / f"{name}.json")
        files = exporting.contents(name, figure, numbers, (), page, folder)
        texts.append(files[f"{name}.tex"].decode())
    return texts


@needs("pdflatex")
@pytest.mark.slow
def test_every_figure_environment_compiles(tmp_path):
    for name in figures.CATALOGUE:
        (tmp_path / f"{name}.tex").write_bytes((FOLDER / f"{name}.tex").read_bytes())
    body = r"\clearpage ".join(rf"\input{{{name}}} See~\ref{{fig:{name}}}." for name in figures.CATALOGUE)
    typeset("pdflatex", tmp_path, body)
    log = typeset("pdflatex", tmp_path, body)
    assert "undefined" not in log, "every label is there"


@needs("xelatex")
@pytest.mark.slow
@pytest.mark.usefixtures("chinese")
def test_every_chinese_figure_environment_compiles(tmp_path):
    if subprocess.run(["kpsewhich", "xeCJK.sty", "FandolSong-Regular.otf"], capture_output=True).returncode:
        pytest.skip("xeCJK with its fonts is not installed")
    texts = environments(Page(language="zh"), FOLDER)
    assert any("梯度" in text for text in texts)
    body = "\\clearpage\n".join(texts)
    assert body.isascii() is False
    typeset("xelatex", tmp_path, body, "xeCJK")


def test_the_caption_is_the_figures_and_the_width_that_of_the_picture(tmp_path):
    name = "fc-flow"
    numbers = gradflow.load(FOLDER / "data" / f"{name}.json")
    for width, environment in ((84, "figure"), (90, "figure*"), (174, "figure*")):
        page = Page(width_mm=width, grey=True)
        files = exporting.contents(name, figures.CATALOGUE[name], numbers, ("png",), page, tmp_path)
        written = files["fc-flow.tex"].decode()
        assert written.startswith(f"% gradflow figures fc-flow --from-data --width {width}mm --grey\n")
        assert f"\\begin{{{environment}}}\n" in written
        assert f"\\includegraphics[width={width}mm]{{fc-flow.png}}" in written
        with turned_to(page):
            caption = in_latex(figures.caption(name, numbers))
        assert caption in " ".join(written.split())
