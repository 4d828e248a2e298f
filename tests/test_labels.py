"""The tables of words: complete, used, alike in both languages, and Chinese where they are Chinese."""

from __future__ import annotations

import ast
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from functools import lru_cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

import gradflow
from gradflow import figures
from gradflow.plots.film import Film
from gradflow.plots.fonts import ChineseFont
from gradflow.plots.labels import ENGLISH, TABLES, listed, named, norm_of, text, verdict
from gradflow.plots.look import new_figure, style
from gradflow.plots.page import LANGUAGES, Page, turned_to
from gradflow.results import Result, Study, load
from gradflow.verdicts import WORDS, judge

CHINESE = TABLES["zh"]
IN_CHINESE = Page(language="zh")
SOURCE = Path(gradflow.__file__).parent
DATA = SOURCE.parent / "figures" / "data"
CAPTIONS = [name for name in figures.CATALOGUE if (DATA / f"{name}.json").exists()]

# ── numbers and words ──


@pytest.mark.parametrize(
    ("words", "value", "expected"),
    [
        ("{:.2f}", -0.012, "−0.01"),
        ("{:g}", -2, "−2"),
        ("{:.1e}", 9.54e-8, "9.5 × 10⁻⁸"),
        ("{:.1e}", -1.25e12, "−1.2 × 10¹²"),
        ("{:.0e}", 9e6, "9 × 10⁶"),
        ("{:.1e}", 1.63, "1.6"),
        ("{:.2g}", 0.0521, "0.052"),
        ("{:.3g}", np.float32(1e-30), "1 × 10⁻³⁰"),
        ("{:+.1f}", 3.25, "+3.2"),
        ("{:,}", 64_000, "64,000"),
        ("{}", "plain-56 at 1e-08", "plain-56 at 1e-08"),
        ("{:.1f}", float("-inf"), "−inf"),
    ],
)
def test_numbers_are_set_as_in_a_book(words: str, value: object, expected: str, monkeypatch) -> None:
    monkeypatch.setitem(ENGLISH, "tried", words.replace("{", "{value"))
    assert text("tried", value=value) == expected


def test_a_name_of_the_user_stays_and_a_missing_value_is_an_error() -> None:
    assert text("my {net}") == "my {net}"
    with pytest.raises(KeyError, match="scale"):
        text("branch", size=3)


def test_the_page_decides_on_the_language() -> None:
    judged = judge(np.array([1e-5, 1e-3, 1e-1, 1.0]))
    assert norm_of("rms", "output_grad") == "RMS of ∂loss/∂output"
    assert norm_of("rms", "drift") == ENGLISH["drift"]
    assert (named("mode", "train"), named("init", "he")) == ("train", "he")
    assert (listed("abc"), listed("abc", "and")) == ("a, b, c", "a and b and c")
    assert verdict(judged) == str(judged)
    with turned_to(IN_CHINESE):
        assert norm_of("rms", "output_grad") == "∂损失/∂输出 的均方根"
        assert (named("mode", "train"), named("init", "he")) == ("训练", "he")
        assert listed("abc") == "a，b，c"
        assert verdict(judged) == "向输入方向消失：每层 × 0.0215，4 层共 −5.0 个数量级"
        assert str(judged).startswith("vanishes"), "a repr is English everywhere"


@pytest.mark.parametrize(
    "values",
    [
        [1e-9, 1e-5, 1.0],
        [1e9, 1e5, 1.0],
        [1.0, 1.1, 1.0],
        [0, 0, 1e-3, 1],
        [0, 1e-3, 1],
        [np.inf, 1e3, 1],
        [np.nan],
    ],
)
def test_verdicts_are_chinese_through_and_through(values: list[float]) -> None:
    judged = judge(np.array(values))
    with turned_to(IN_CHINESE):
        sentence = verdict(judged)
    assert not latin_words(sentence)
    assert numerals(sentence) == numerals(verdict(judged))


# ── two tables ──


def fields(words: str) -> Counter[tuple[str | None, str | None, str | None]]:
    outside = re.sub(r"\$.*?\$", "", words)  # mathtext has braces of its own
    return Counter(part[1:] for part in string.Formatter().parse(outside) if part[1] is not None)


def test_both_languages_have_the_same_keys() -> None:
    assert CHINESE.keys() == ENGLISH.keys()
    assert WORDS.keys() <= ENGLISH.keys()


@pytest.mark.parametrize("key", sorted(ENGLISH))
def test_both_languages_take_the_same_numbers_in_the_same_form(key: str) -> None:
    assert fields(ENGLISH[key]) == fields(CHINESE[key])


@pytest.mark.parametrize("key", sorted(key for key in ENGLISH if re.match(r"[a-f]  ", ENGLISH[key])))
def test_panels_keep_their_letter(key: str) -> None:
    assert CHINESE[key][:3] == ENGLISH[key][:3]


# ── no key that nothing shows ──


@lru_cache
def source() -> tuple[frozenset[str], tuple[re.Pattern[str], ...]]:
    """All string constants in the package outside the tables, and patterns of the f-strings that could be keys."""
    constants: set[str] = set()
    patterns = set()
    for path in SOURCE.rglob("*.py"):
        if path.parent.name == "labels" and path.name != "__init__.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                constants.add(node.value)
            elif isinstance(node, ast.JoinedStr):
                patterns.add(
                    "".join(re.escape(str(p.value)) if isinstance(p, ast.Constant) else "(.+)" for p in node.values)
                )
    # An f-string of nothing but fields fits everything.
    telling = (one for one in patterns if len(re.sub(r"\(\.\+\)|\W", "", one)) > 3)
    return frozenset(constants), tuple(map(re.compile, telling))


def is_known(part: str, constants: frozenset[str]) -> bool:
    """A choice that occurs in the code, alone or as one letter of a row of panels; or the names of such choices."""
    panels = {letter for one in constants if "abcdefgh".startswith(one) for letter in one}
    return part in constants or part in panels or all(one in constants for one in part.split("-"))


def is_used(key: str) -> bool:
    constants, patterns = source()
    if key in constants:
        return True
    kind, _, name = key.partition(":")
    if kind in ("activation", "init", "loss", "mode", "list"):  # what named() and listed() take
        return name in constants
    found = (pattern.fullmatch(key) for pattern in patterns)
    return any(match and all(is_known(part, constants) for part in match.groups()) for match in found)


def test_every_key_is_used() -> None:
    assert [key for key in ENGLISH if not is_used(key)] == []


@pytest.mark.parametrize(
    "key", ["no such key", "caption:nothing", "anatomy:idle words", "mode:idle", "verdict:perhaps"]
)
def test_the_scan_finds_what_is_not_used(key: str) -> None:
    assert not is_used(key)


# ── Chinese ──

NAMES = re.compile("Adam|BN|Balduzzi|CIFAR|FC|He|Li|PyTorch|ReLU|ResNet|SGD|Var|Veit|asinh|log|relu|dx|dy")
"""Names, abbreviations and functions that Chinese textbooks write in Latin letters."""

LETTERS = re.compile(r"[A-Za-zÀ-ʯ]+")
HAN = re.compile(r"[\u3400-\u9fff]")


def latin_words(words: str) -> list[str]:
    """Latin words but names, single letters (symbols, panels) and dtypes."""
    found = LETTERS.findall(re.sub(r"\b[b]?float\d+\b|λx|βW|Wx|6n\+2|Δx", " ", words))
    return [one for one in found if len(one) > 1 and not NAMES.fullmatch(one)]


def shown(table: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Each entry as a reader sees it, without what is filled in."""
    for key, words in table.items():
        yield key, " ".join(part[0] for part in string.Formatter().parse(re.sub(r"\$.*?\$", "", words)))


def test_chinese_words_are_chinese() -> None:
    assert {key: found for key, words in shown(CHINESE) if (found := latin_words(words))} == {}
    assert latin_words("训练 loss"), "what this test would find"


def test_what_is_a_word_in_english_has_chinese_characters() -> None:
    without = [key for key, words in shown(ENGLISH) if latin_words(words) and not HAN.search(CHINESE[key])]
    assert without == []


def test_chinese_sentences_have_chinese_punctuation() -> None:
    beside = re.compile(rf"{HAN.pattern}\s?[,;:?!)]|[,;:?!(]\s?{HAN.pattern}")
    assert [key for key, words in CHINESE.items() if beside.search(words)] == []


def test_one_term_for_a_shortcut() -> None:
    assert [key for key, words in CHINESE.items() if re.search("捷径|跳跃连接|短路|残差连接", words)] == []


def test_mathtext_and_chinese_are_never_in_one_string() -> None:
    """matplotlib's mathtext has no Chinese characters, and a string with a dollar is mathtext as a whole."""
    assert [key for key, words in CHINESE.items() if "$" in words] == []


def test_the_installed_font_has_every_character(chinese: ChineseFont) -> None:
    from fontTools.ttLib import TTFont
    from matplotlib import font_manager

    known: set[int] = set()
    for family in (chinese.name, "DejaVu Sans"):
        with TTFont(font_manager.findfont(family, fallback_to_default=False), fontNumber=0, lazy=True) as font:
            known |= font.getBestCmap().keys()
    needed = {letter for words in CHINESE.values() for letter in words} | set("−⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
    missing = {letter: unicodedata.name(letter, "?") for letter in sorted(needed) if ord(letter) not in known}
    assert missing == {}


# ── Chinese pictures ──

OF_CODE = {"gelu", "he", "linear", "sigmoid", "tanh", "xavier"}
"""Arguments of fc_stack, as they are typed."""


@pytest.fixture
def _in_chinese(chinese: ChineseFont) -> Iterator[None]:
    """A Chinese page of a book."""
    with style(language="zh"):
        yield


def seen(figure: Figure) -> set[str]:
    """All that is written in a figure as it is shown, ticks included."""
    figure.draw_without_rendering()
    texts = figure.findobj(lambda artist: isinstance(artist, Text) and artist.get_visible())
    return {words for one in texts if (words := one.get_text().strip())}  # type: ignore[attr-defined]


def left_in_english(figure: Figure) -> dict[str, list[str]]:
    """Latin words by the label that has them."""
    return {words: found for words in seen(figure) if (found := not_chinese(words))}


def not_chinese(words: str) -> list[str]:
    """Latin words but those of code; mathtext has commands of its own."""
    return [one for one in latin_words(re.sub(r"\$.*?\$", " ", words)) if one not in OF_CODE]


@pytest.mark.slow
@pytest.mark.parametrize("name", CAPTIONS)
@pytest.mark.usefixtures("_in_chinese")
def test_a_chinese_figure_has_no_english_words(name: str) -> None:
    figure = figures.CATALOGUE[name].draw(recorded(name))
    assert left_in_english(figure) == {}
    assert sum(bool(HAN.search(words)) for words in seen(figure)) > 3


@pytest.mark.usefixtures("_in_chinese")
def test_an_english_word_in_a_chinese_figure_is_found() -> None:
    figure = new_figure()
    ax = figure.subplots()
    ax.set(xlabel="层数", ylabel="RMS 误差", title=r"$\mathdefault{10^{-3}}$ relu", xticks=[0, 1])
    ax.set_xticklabels(["he", "plain"])
    ax.plot([0, 1], label="残差")
    ax.legend(title="seeds")
    ax.annotate("hidden", (0, 0)).set_visible(False)
    assert left_in_english(figure) == {"RMS 误差": ["RMS"], "plain": ["plain"], "seeds": ["seeds"]}


def films(make_comparison: Callable[..., Any], make_history: Callable[..., Any]) -> Iterator[Film]:
    """One of every kind: a wave through nets of equal depth, through others, a training of one net and of two."""
    rows = {"plain": np.geomspace(1e-5, 1, 4)[None], "residual": np.ones((3, 4))}
    shallow = make_comparison({"plain": np.geomspace(1e-5, 1, 4)}, **rows)
    yield shallow.animate()
    yield shallow.animate(make_comparison(plain=np.zeros((1, 6)), residual=np.full((1, 6), np.inf)))
    yield make_comparison(plain=np.ones((1, 3)), residual=np.ones((1, 5))).animate()
    traced = make_comparison(**rows).traces
    runs = [
        make_history(trace=one.at(0), traced_steps=np.array([10]), provenance={"batch": 4}) for one in traced.values()
    ]
    yield runs[0].animate()
    yield Study(settings=({"kind": "plain"}, {"kind": "residual"}), histories=tuple(runs)).animate()


@pytest.mark.slow
@pytest.mark.usefixtures("_in_chinese")
def test_chinese_films_have_no_english_words(
    make_comparison: Callable[..., Any], make_history: Callable[..., Any]
) -> None:
    for film in films(make_comparison, make_history):
        frames = [left_in_english(film.figure) for _ in film.pictures()]
        assert frames == [{}] * len(film.seconds)
        assert not latin_words(film.alt)
        assert HAN.search(film.alt)


class Words(HTMLParser):
    """What a reader of a page sees or hears."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside = tag
        self.found += [value for name, value in attrs if value and name in ("alt", "title", "aria-label", "data-play")]

    def handle_data(self, data: str) -> None:
        if self.inside not in ("style", "script") and data.strip():
            self.found.append(data.strip())


@pytest.mark.usefixtures("_in_chinese")
def test_a_chinese_page_with_a_film_has_no_english_words(make_comparison: Callable[..., Any], tmp_path: Path) -> None:
    film = make_comparison(plain=np.geomspace(1e-5, 1, 2)[None], residual=np.ones((1, 2))).animate()
    page = film.save(tmp_path / "film.html") and (tmp_path / "film.html").read_text(encoding="utf-8")
    reader = Words()
    reader.feed(page)
    assert '<html lang="zh">' in page
    assert len(reader.found) > 10
    assert {words: found for words in reader.found if (found := latin_words(words))} == {}


# ── captions ──


@lru_cache
def recorded(name: str) -> Result:
    return load(DATA / f"{name}.json")


def in_chinese(name: str) -> str:
    with turned_to(IN_CHINESE):
        return figures.caption(name, recorded(name))


def numerals(words: str) -> Counter[str]:
    return Counter(re.findall(r"[−+]?\d+(?:[.,]\d+)*|[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+", words))


@pytest.mark.parametrize("name", CAPTIONS)
def test_a_chinese_caption_is_whole(name: str) -> None:
    caption = in_chinese(name)
    assert not re.search(r"[{}]|nan|None|[。，；：]{2}|  ", caption)
    assert caption.endswith(("。", "）"))
    assert set(latin_words(caption)) <= OF_CODE


@pytest.mark.parametrize("name", CAPTIONS)
def test_both_captions_have_the_same_numbers(name: str) -> None:
    english, chinese = numerals(figures.caption(name, recorded(name))), numerals(in_chinese(name))
    assert english == chinese, (english - chinese, chinese - english)
    assert len(english) > 5


@pytest.mark.parametrize("name", CAPTIONS)
def test_numbers_in_captions_are_typeset(name: str) -> None:
    for caption in (figures.caption(name, recorded(name)), in_chinese(name)):
        assert not re.search(r"\de[+-]?\d|(?<![\w.])-\d", caption)


@pytest.mark.parametrize("name", CAPTIONS)
def test_captions_say_how_their_numbers_were_taken(name: str) -> None:
    """Seeds, batch, mode and dtype, so that nobody compares what cannot be compared."""
    caption = figures.caption(name, recorded(name))
    for wanted in (r"seed|draws|one run each", r"B = \d|batch", r"(train|eval) mode", r"float(32|64)"):
        assert re.search(wanted, caption), wanted


def test_no_table_is_left_out() -> None:
    assert set(TABLES) == set(LANGUAGES)
