"""A font for Chinese: one of those that are installed, found also where matplotlib does not know it yet."""

from __future__ import annotations

import logging
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib import font_manager

FAMILIES = (
    "Microsoft YaHei",
    "PingFang SC",
    "Heiti SC",
    "STHeiti",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "Droid Sans Fallback",
    "SimHei",
    "Arial Unicode MS",
    "Noto Sans CJK SC",
    "Source Han Sans SC",
    "Source Han Sans CN",
    "Hiragino Sans GB",
    "Noto Sans CJK JP",
    "SimSun",
    "AR PL UMing CN",
)
"""Families with the characters of simplified Chinese, the most fitting beside DejaVu Sans first."""

_NEEDED = "梯度层网络误差残训练，。（）"
"""Characters that a font for these figures has to have."""


class ChineseFont(NamedTuple):
    """A family that matplotlib finds, and whether its outlines are TrueType, so that a PDF embeds it as Type 42."""

    name: str
    truetype: bool


@lru_cache
def chinese_font() -> ChineseFont:
    """The installed font for Chinese words; one with TrueType outlines where there is a choice.

    Raises FileNotFoundError, which says what to install, where there is none.
    """
    found = _best_known()
    if found is None:
        _learn_new_fonts()
        found = _best_known()
    if found is None:
        raise FileNotFoundError(
            "no font with Chinese characters is installed, and without one every word would be an empty box: install "
            "one (Debian, Ubuntu: apt install fonts-wqy-microhei, or fonts-noto-cjk; Windows and macOS bring one), or "
            f"put one into matplotlib's own folder {Path(mpl.get_data_path()) / 'fonts' / 'ttf'}; known are "
            f"{', '.join(FAMILIES)}"
        )
    # Few fonts for Chinese are bold as well, and matplotlib would say so for every title.
    logging.getLogger(font_manager.__name__).addFilter(lambda record: "font weight" not in record.getMessage())
    return found


def _best_known() -> ChineseFont | None:
    """The first family with TrueType outlines among those that matplotlib knows, else the first of any."""
    known = {entry.name for entry in font_manager.fontManager.ttflist}
    second = None
    for name in FAMILIES:
        face = _face(name) if name in known else None
        if face and all(face.get_char_index(ord(character)) for character in _NEEDED):
            # The table of maxima has version 1.0 with TrueType outlines, 0.5 with others.
            if (face.get_sfnt_table("maxp") or {}).get("version") == (1, 0):
                return ChineseFont(name, True)
            second = second or ChineseFont(name, False)
    return second


def _face(name: str) -> Any:
    # What cannot be opened is no font for us.
    with suppress(OSError, RuntimeError, ValueError):
        wanted = font_manager.FontProperties(family=name)
        return font_manager.get_font(font_manager.findfont(wanted, fallback_to_default=False))
    return None


def _learn_new_fonts() -> None:
    """Tell matplotlib of fonts that were installed after it wrote its list of fonts."""
    known = {str(entry.fname) for entry in font_manager.fontManager.ttflist}
    for path in font_manager.findSystemFonts():
        if path not in known:
            # Font folders hold many kinds of files, and what cannot be read is no font for us.
            with suppress(Exception):
                font_manager.fontManager.addfont(path)
