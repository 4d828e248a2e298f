"""The tables of words: complete, used, alike in both languages, and Chinese where they are Chinese."""

from __future__ import annotations

import ast
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

import gradflow
from gradflow import figures
from gradflow.plots.labels import ENGLISH, TABLES, listed, named, norm_of, text, verdict
from gradflow.plots.page import LANGUAGES, Page, turned_to
from gradflow.results import Result, load
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


def test_the_installed_font_has_every_character() -> None:
    from fontTools.ttLib import TTFont
    from matplotlib import font_manager

    fonts = pytest.importorskip("gradflow.plots.fonts")
    try:
        name = fonts.chinese_font().name
    except FileNotFoundError as error:
        pytest.skip(f"no Chinese font on this machine: {error}")
    known: set[int] = set()
    for family in (name, "DejaVu Sans"):
        with TTFont(font_manager.findfont(family, fallback_to_default=False), fontNumber=0, lazy=True) as font:
            known |= font.getBestCmap().keys()
    needed = {letter for words in CHINESE.values() for letter in words} | set("−⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
    missing = {letter: unicodedata.name(letter, "?") for letter in sorted(needed) if ord(letter) not in known}
    assert missing == {}


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
    of_code = {"gelu", "he", "linear", "sigmoid", "tanh", "xavier"}  # arguments of fc_stack, as they are typed
    assert set(latin_words(caption)) <= of_code


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
