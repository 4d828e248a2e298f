"""Results as pages of HTML: whole, valid, without a network, and safe whatever names a user gives."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest

from gradflow import load, plots
from gradflow.results import Comparison, Panels, Result, Study, Table
from gradflow.results.base import ENDINGS

DRAWN = ("Trace", "Comparison", "History", "Study", "GradientSplit", "PathSpectrum", "Lesion", "LossSlice")
KINDS = tuple(kind for kind in Result.kinds if Result.kinds[kind].__module__.startswith("gradflow"))

VOID = {"meta", "img", "br", "hr", "input", "link"}
MEANT = "<script>alert('x')</script> & \"b\""


class Page(HTMLParser):
    """A page taken apart: every tag must be closed where HTML wants it closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.tables: list[list[list[str]]] = []
        self.doctype = ""
        self.feed(page)
        self.close()
        assert not self.open, f"left open: {self.open}"

    def handle_decl(self, decl: str) -> None:
        self.doctype = decl

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"an attribute of <{tag}> is given twice"
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        where = self.open[-1] if self.open else ""
        self.texts.setdefault(where, []).append(data)
        if where in ("td", "th"):
            self.tables[-1][-1][-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def svg(image: dict[str, str | None]) -> Any:
    kind, code = str(image["src"]).split(",")
    assert kind == "data:image/svg+xml;base64"
    return ElementTree.fromstring(base64.b64decode(code))


@pytest.mark.parametrize("kind", KINDS)
def test_every_result_is_a_valid_page_that_needs_nothing_else(kind: str, each_kind: dict[str, Any]) -> None:
    html = each_kind[kind].to_html()
    page = Page(html)
    assert html.startswith('<!DOCTYPE html>\n<html lang="en">')
    assert page.doctype == "DOCTYPE html"
    names = [tag for tag, _ in page.tags]
    assert [names.count(one) for one in ("html", "head", "body", "main", "h1", "title")] == [1] * 6
    assert page.texts["title"] == page.texts["h1"]
    assert {"script", "link", "iframe", "object"}.isdisjoint(names)
    given = [(name, value) for _, attributes in page.tags for name, value in attributes.items()]
    assert all(str(value).startswith("data:") for name, value in given if name in ("src", "href", "srcset"))
    assert not any(name.startswith("on") for name, _ in given)
    assert not re.search(r"@import|url\(|https?:", re.sub("base64,[A-Za-z0-9+/=]*", "", html))
    assert page.tables, "the numbers are there"
    assert all(len({len(row) for row in table}) == 1 for table in page.tables)
    assert len(page.all("img")) == {"Panels": 2}.get(kind, int(each_kind[kind].has_picture))
    for image in page.all("img"):
        assert svg(image).tag.endswith("svg")


@pytest.mark.parametrize("kind", DRAWN)
def test_the_picture_has_words_for_those_who_cannot_see_it(kind: str, each_kind: dict[str, Any]) -> None:
    (image,) = Page(each_kind[kind].to_html()).all("img")
    assert str(image["alt"]).startswith(each_kind[kind].heading())
    for sentence in each_kind[kind].sentences():
        assert sentence in str(image["alt"])


def test_a_comparison_has_verdicts_and_every_layer(make_comparison: Callable[..., Comparison]) -> None:
    values = np.geomspace(1e-9, 1, 70)
    result = make_comparison(plain=[values], residual=[np.ones(70)])
    page = Page(result.to_html())
    assert page.texts["h1"] == ["RMS of ∂loss/∂output: plain, residual"]
    verdicts = [f"{name}: {verdict}" for name, verdict in result.verdicts.items()]
    assert page.texts["li"][-2:] == verdicts
    header, *rows = page.tables[0]
    assert header == ["layer", "plain", "residual", "ratio"]
    assert [row[0] for row in rows] == [f"fc{layer}" for layer in range(1, 71)]
    np.testing.assert_allclose([float(row[1]) for row in rows], values, rtol=5e-3)
    np.testing.assert_allclose([float(row[3]) for row in rows], 1 / values, rtol=5e-3)
    assert "…" in repr(result), "the text leaves some out"


def test_a_trace_shows_all_layers_and_what_was_not_measured(each_kind: dict[str, Any]) -> None:
    trace = each_kind["Trace"]
    page = Page(trace.to_html())
    assert page.tables[0][0] == ["layer", "output_grad", "weight_grad"]
    np.testing.assert_allclose([float(row[2]) for row in page.tables[0][1:]], trace.median("weight_grad"), rtol=5e-3)
    assert page.texts["li"] == ["nothing measured for: fc6"]


def test_the_settings_are_there_but_not_when_and_where(each_kind: dict[str, Any]) -> None:
    facts = {
        "batch": 32,
        "mode": "train",
        "loss_kind": "mean",
        "versions": {"torch": "2.13"},
        "run": {"machine": "mine"},
    }
    html = replace(each_kind["Trace"], provenance=facts).to_html()
    expected = [["batch", "32"], ["mode", "train"], ["loss kind", "mean"], ["versions", "torch 2.13"]]
    assert Page(html).tables[-1] == expected
    assert "mine" not in html
    later = {**facts, "run": {"machine": "yours"}}
    assert replace(each_kind["Trace"], provenance=later).to_html() == html


def test_panels_have_all_their_parts(each_kind: dict[str, Any]) -> None:
    panels = Panels(parts={**each_kind["Panels"].parts, "numbers": each_kind["Table"], "odd": (1, 2)})
    page = Page(panels.to_html())
    assert page.texts["h1"] == ["Panels: left, right, numbers, odd"]
    assert [text.split(":")[0] for text in page.texts["h2"]] == ["left", "right", "numbers", "odd"]
    assert len(page.all("img")) == 2
    assert page.texts["pre"] == ["(1, 2)"]
    shown = Page(panels._repr_mimebundle_()["text/html"])
    assert [str(image["alt"]).split(":")[0] for image in shown.all("img")] == ["left", "right"]


def test_two_nets_of_a_lesion_are_kept_apart(each_kind: dict[str, Any]) -> None:
    page = Page(each_kind["Lesion"].to_html())
    assert page.texts["h2"][0].startswith("beside it: Lesion: plain net")
    assert [table[0][0] for table in page.tables[:2]] == ["unit removed"] * 2


@pytest.mark.parametrize("kind", ["Comparison", "Trace", "Study", "Table", "Panels", "provenance"])
def test_names_from_users_are_never_code(
    kind: str, make_trace: Any, make_comparison: Any, make_history: Any, each_kind: dict[str, Any]
) -> None:
    trace = make_trace(np.ones((1, 2)), layers=(MEANT, "b&b"))
    result = {
        "Comparison": make_comparison(**{MEANT: trace, "other": trace}),
        "Trace": trace,
        "Study": Study(settings=({MEANT: MEANT},), histories=(make_history(),)),
        "Table": Table(columns={MEANT: (MEANT,)}),
        "Panels": Panels(parts={MEANT: trace}),
        "provenance": replace(each_kind["Table"], provenance={MEANT: {MEANT: MEANT}}),
    }[kind]
    for html in (result.to_html(), result._repr_mimebundle_()["text/html"]):
        page = Page(html)
        assert not page.all("script")
        if html.startswith("<!") or kind != "provenance":
            assert "&lt;script&gt;" in html
    cells = [cell for table in Page(result.to_html()).tables for row in table for cell in row]
    assert kind == "Panels" or any(MEANT in cell for cell in cells)


def test_pages_are_saved_and_have_the_same_bytes_each_time(each_kind: dict[str, Any], tmp_path: Path) -> None:
    for name, result in each_kind.items():
        path = tmp_path / f"{name}.html"
        assert result.save(path) is result
        assert path.read_text(encoding="utf-8") == result.to_html()
        again = load(result.save(tmp_path / "x.json") and tmp_path / "x.json")
        assert again.to_html().encode() == path.read_bytes()
    assert ENDINGS == (".json", ".pdf", ".svg", ".png", ".html")


def test_a_study_of_other_settings_is_shown_as_a_table(make_history: Any) -> None:
    study = Study(settings=({"width": 8}, {"width": 16}), histories=(make_history(), make_history()))
    shown = Page(study._repr_mimebundle_()["text/html"])
    assert not shown.all("img")
    assert "width" in shown.texts["pre"][0]
    page = Page(study.to_html())
    assert page.tables[0] == [["width", "train_error", "test_error"], ["8", "0.25", "0.3"], ["16", "0.25", "0.3"]]
    assert not page.all("img")
    with pytest.raises(ValueError, match="other settings"):
        study.plot()


def width_mm(html: str) -> float:
    (image,) = Page(html).all("img")
    return float(str(svg(image).get("width")).removesuffix("pt")) / 72 * 25.4


def test_notebooks_get_large_type_and_files_that_of_a_book(each_kind: dict[str, Any]) -> None:
    result = each_kind["Comparison"]
    before = dict(mpl.rcParams)
    assert width_mm(result._repr_mimebundle_()["text/html"]) == pytest.approx(84 * 1.4, abs=0.1)
    assert width_mm(result.to_html()) == pytest.approx(84, abs=0.1)
    for context, factor in (("book", 1), ("lecture", 1.946)):
        with plots.style(context):
            assert width_mm(result._repr_mimebundle_()["text/html"]) == pytest.approx(84 * factor, abs=0.1)
            assert width_mm(result.to_html()) == pytest.approx(84 * factor, abs=0.1)
    assert dict(mpl.rcParams) == before


def test_the_page_has_the_language_of_the_block(each_kind: dict[str, Any]) -> None:
    with plots.style(language="zh"):
        page = Page(each_kind["Table"].to_html())
        settings = Page(each_kind["Comparison"].to_html())
    assert page.all("html")[0]["lang"] == "zh"
    assert settings.all("html")[0]["lang"] == "zh"


def test_text_stays_text_while_and_after_a_page_is_made(each_kind: dict[str, Any]) -> None:
    result = each_kind["Comparison"]
    before = repr(result)
    blocks = result.blocks()
    assert repr(result) == before
    assert "\0" not in before
    assert [type(part).__name__ for part in blocks[0]][:2] == ["str", "Grid"]
