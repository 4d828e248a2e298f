"""The command line: what it prints, what it writes, and one clear line for every mistake."""

import json
import subprocess
import sys

import numpy as np
import pytest

import gradflow
from gradflow import cli, figures, files, plots
from gradflow.figures.book import BookFigure, Seeds
from gradflow.results import Table


def run(monkeypatch, capsys, *arguments):
    """Exit status, standard output and standard error of ``gradflow ARGUMENTS``."""
    monkeypatch.setattr(sys, "argv", ["gradflow", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    captured = capsys.readouterr()
    return ended.value.code, captured.out, captured.err


def test_version(monkeypatch, capsys):
    assert run(monkeypatch, capsys, "--version") == (0, f"{gradflow.__version__}\n", "")


def test_python_m_gradflow():
    done = subprocess.run([sys.executable, "-m", "gradflow", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == gradflow.__version__


def test_without_a_command_it_shows_the_help(monkeypatch, capsys):
    status, out, _ = run(monkeypatch, capsys)
    assert status == 0
    assert "figures" in out
    assert "compare" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["figures", "fc-flo"], ["fc-flow", "'fc-flo'"]),
        (["figures", "--format", "jpg"], ["pdf, svg, png", "'jpg'"]),
        (["figures", "fc-flow", "--from-data", "--data", "nowhere"], ["nowhere", "gradflow figures fc-flow"]),
        (["figures", "fc-flow", "--width", "84"], ["mm, cm, in or pt", "'84'"]),
        (["figures", "fc-flow", "--width", "-84mm"], ["mm, cm, in or pt", "'-84mm'"]),
        (["figures", "fc-flow", "--width", "treble"], ["single, double", "'treble'"]),
        (["figures", "fc-flow", "--width", "5mm"], ["--width 5mm", "from 20 to 2000"]),
        (["figures", "fc-flow", "--context", "slides"], ["book, notebook, lecture", "'slides'"]),
        (["figures", "fc-flow", "--lang", "de"], ["en, zh", "'de'"]),
        (["figures", "fc-flo", "--check"], ["fc-flow", "'fc-flo'"]),
        (["figures", "fc-flow", "--full", "--from-data"], ["--full computes and --from-data does not"]),
        (["compare", "--stack", "rnn"], ["fc, conv, resnet", "'rnn'"]),
        (["compare", "--depth", "1"], ["depth=1"]),
        (["compare", "--depth", "x"], ["--depth"]),
        (["compare", "--stack", "resnet", "--depth", "21"], ["6n+2", "depth=21"]),
        (["compare", "--init", "kaiming"], ["xavier", "'kaiming'"]),
        (["compare", "--activation", "swish"], ["gelu", "swish"]),
        (["compare", "--seeds", "0"], ["--seeds", "0"]),
        (["compare", "--out", "flow.doc"], [".pdf", "flow.doc"]),
        (["split", "--shortcut", "skip"], ["conv1x1", "'skip'"]),
        (["split", "--shortcut", "nan"], ["lam=nan"]),
        (["paths", "--depth", "2"], ["units", "depth 3 or more"]),
        (["paths", "--out", "paths.txt"], [".pdf", "paths.txt"]),
        (["lesion", "--draws", "0"], ["--draws", "0"]),
        (["lesion", "--depth", "9"], ["6n+2", "depth=9"]),
        (["nonsense"], ["nonsense"]),
    ],
)
def test_a_mistake_is_one_line_and_status_2(monkeypatch, capsys, tmp_path, arguments, words):
    monkeypatch.chdir(tmp_path)
    status, out, err = run(monkeypatch, capsys, *arguments)
    line = err.splitlines()[-1]
    assert status == 2
    assert out == ""
    assert line.startswith("gradflow: ")
    assert "Traceback" not in err
    assert all(word in line for word in words), line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stack", ["fc", "conv", "resnet"])
def test_compare_prints_the_table_and_writes_the_numbers(monkeypatch, capsys, tmp_path, stack):
    out_file = tmp_path / "flow.json"
    depth = 8
    arguments = ["--stack", stack, "--depth", depth, "--width", 4, "--shortcut", 0.5, "--seeds", 2, "--out", out_file]
    status, out, _ = run(monkeypatch, capsys, "compare", *arguments)
    result = gradflow.load(out_file)
    assert status == 0
    assert out == f"{result!r}\n{out_file}\n"
    assert result.repeats == 2
    assert len(result.traces["plain"].layers) == depth
    assert result.values("plain").tolist() != result.values("residual").tolist()


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (["split", "--depth", 8, "--width", 6, "--shortcut", "0.5", "--seeds", 2], "GradientSplit"),
        (["paths", "--stack", "resnet", "--depth", 8, "--width", 2, "--shortcut", "conv1x1"], "PathSpectrum"),
        (["lesion", "--depth", 8, "--width", 2, "--epochs", 1, "--draws", 2], "Lesion"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_the_analyses_print_the_answer_and_write_it(monkeypatch, capsys, tmp_path, arguments, kind):
    out_file = tmp_path / "found.json"
    status, out, _ = run(monkeypatch, capsys, *arguments, "--out", out_file)
    result = gradflow.load(out_file)
    assert status == 0
    assert out == f"{result!r}\n{out_file}\n"
    assert type(result).__name__ == kind


def test_a_live_run_never_replaces_one_with_more_seeds(monkeypatch, capsys, tmp_path):
    def compute(seeds):
        return Table(columns={"number": np.arange(float(seeds))})

    def draw(numbers):
        picture = plots.new_figure()
        picture.subplots().plot(numbers["number"])
        return picture

    one = BookFigure(compute, draw, lambda numbers: {}, Seeds(book=3, live=2))
    monkeypatch.setattr(figures, "CATALOGUE", {"one": one})
    monkeypatch.setattr(figures, "gallery", lambda folder, page: folder / "README.md")
    stored = tmp_path / "data" / "one.json"

    def figure(*options):
        status, _, err = run(monkeypatch, capsys, "figures", "one", "--out", tmp_path, "--format", "png", *options)
        return status, err, len(gradflow.load(stored)["number"])

    assert figure()[::2] == (0, 2)
    assert figure("--full")[::2] == (0, 3)
    status, err, seeds = figure()
    assert (status, seeds) == (2, 3)
    assert "--full" in err.splitlines()[-1]
    assert "3 seeds" in err.splitlines()[-1]
    assert figure("--from-data")[::2] == (0, 3)


def test_an_interrupt_leaves_no_half_written_file(monkeypatch, capsys, tmp_path):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "replace", interrupted)
    status, _, err = run(monkeypatch, capsys, "compare", "--depth", "4", "--seeds", "1", "--out", tmp_path / "a.png")
    assert status == 130
    assert "interrupted" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mistake", [KeyboardInterrupt, ValueError("no such thing")])
def test_what_was_finished_before_a_stop_is_in_the_gallery(monkeypatch, capsys, tmp_path, mistake):
    def draw(numbers):
        picture = plots.new_figure()
        picture.subplots().plot(numbers["number"])
        return picture

    def stop():
        raise mistake

    first = BookFigure(lambda: Table(columns={"number": np.arange(3.0)}), draw, lambda numbers: {})
    catalogue = {"one": first, "two": BookFigure(stop, draw, lambda numbers: {}), "three": first}
    monkeypatch.setattr(figures, "CATALOGUE", catalogue)

    status, _, err = run(monkeypatch, capsys, "figures", "--format", "png", "--out", tmp_path)
    assert status == (130 if mistake is KeyboardInterrupt else 2)
    assert err.splitlines()[-1].startswith(f"gradflow: {'interrupted' if status == 130 else mistake}")
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {"data/one.json", "one.png", "one.csv", "one.tex", "README.md"}
    assert "![one](one.png)" in (tmp_path / "README.md").read_text()
    run(monkeypatch, capsys, "figures", "two", "--format", "png", "--out", tmp_path / "other")
    assert not (tmp_path / "other").exists(), "no gallery of nothing"


@pytest.mark.parametrize("more", [["--from-data"], ["--check"], []])
@pytest.mark.parametrize("out", ["a.py", "a.py/mine/deep", "nowhere"])
def test_out_must_be_a_folder(monkeypatch, capsys, tmp_path, out, more):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.py").write_text("mine")
    (tmp_path / "nowhere").symlink_to("gone")
    monkeypatch.setattr(figures, "make", None)
    monkeypatch.setattr(figures, "check", None)
    status, printed, err = run(monkeypatch, capsys, "figures", "fc-flow", "--out", out, *more)
    what = "nowhere is none" if out == "nowhere" else "a.py is a file"
    assert (status, printed) == (2, "")
    assert err == f"gradflow: --out must be a folder; {what}\n", "nothing is printed before"
    assert (tmp_path / "a.py").read_text() == "mine"


def test_out_must_be_a_folder_that_can_be_written(monkeypatch, capsys, tmp_path):
    def refused(*_, **__):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(files.tempfile, "mkdtemp", refused)
        status, _, err = run(patched, capsys, "figures", "fc-flow", "--out", tmp_path / "mine")
    assert status == 2
    assert err == f"gradflow: --out must be a folder to write into; {tmp_path} is none: Permission denied\n"
    assert list(tmp_path.iterdir()) == []


def test_figures_writes_every_format_the_numbers_and_the_gallery(monkeypatch, capsys, tmp_path):
    status, out, _ = run(monkeypatch, capsys, "figures", "why-rms", "--out", tmp_path)
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert status == 0
    kinds = {f"why-rms.{kind}" for kind in ("pdf", "svg", "png", "csv", "tex")}
    assert files == {*kinds, "data/why-rms.json", "README.md"}
    assert set(out.split()) == {str(tmp_path / name) for name in files}
    assert "One gradient, four norms" in (tmp_path / "README.md").read_text()

    before = {name: (tmp_path / name).read_bytes() for name in files}
    run(monkeypatch, capsys, "figures", "why-rms", "--from-data", "--out", tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in files} == before
    assert json.loads(before["data/why-rms.json"])["kind"] == "Panels"
