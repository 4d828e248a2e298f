"""Whether the figures in a folder are what their numbers give: ``gradflow figures --check``."""

import re
from pathlib import Path

import numpy as np
import pytest
from test_cli import run
from test_export import files_in

from gradflow import figures
from gradflow.figures.book import BookFigure
from gradflow.results import Table


@pytest.fixture
def whole(monkeypatch, capsys, computed, tmp_path):
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


def test_what_matches_is_said_in_one_line(whole, computed):
    assert whole() == (0, "the figure matches")
    assert whole("one", "--format", "png") == (0, "the figure matches")
    assert computed == [3]


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


def test_in_full_the_numbers_are_computed_anew(whole, computed):
    status, out = whole("--full")
    assert status == 1
    assert re.fullmatch(
        r"one: computed anew columns/number by up to 5e-10 of the largest number differs \(torch .*\)", out
    )
    assert computed == [3, 3], "with as many seeds as are recorded"


def test_in_full_equal_numbers_match_and_hours_are_not_spent(whole, computed, monkeypatch):
    before = figures.CATALOGUE["one"]
    same = BookFigure(lambda seeds: Table(columns={"number": np.arange(3.0)}), before.draw, before.facts, before.seeds)
    monkeypatch.setattr(figures, "CATALOGUE", {"one": same})
    assert whole("--full") == (0, "the figure matches")
    recorded = BookFigure(before.compute, before.draw, before.facts, recorded="a-plan")
    monkeypatch.setattr(figures, "CATALOGUE", {"one": recorded})
    assert whole("--full") == (0, "the figure matches; not computed anew, as it takes hours: one")


def test_a_figure_is_checked_as_it_was_drawn(monkeypatch, capsys, computed, tmp_path):
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


def test_standard_figures_must_be_standard_and_all_there(monkeypatch, capsys, computed, tmp_path):
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


def test_the_environment_is_right_for_the_pictures_that_were_drawn(monkeypatch, capsys, computed, tmp_path):
    assert run(monkeypatch, capsys, "figures", "one", "--format", "png", "--out", tmp_path)[0] == 0
    _, out, _ = run(monkeypatch, capsys, "figures", "--check", "--out", tmp_path)
    assert out.strip() == "one: one.pdf and one.svg are missing"
    path = tmp_path / "one.tex"
    path.write_bytes(path.read_bytes().replace(b"caption:one", b"other"))
    assert "one.tex is not what" in run(monkeypatch, capsys, "figures", "--check", "--out", tmp_path)[1]
