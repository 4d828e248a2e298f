"""Fonts with Chinese characters: found, put into the picture, or asked for in one line."""

from pathlib import Path

import matplotlib as mpl
import pytest
from test_cli import run
from test_export import files_in

from gradflow import plots
from gradflow.plots import fonts


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


def test_no_font_for_chinese(monkeypatch, capsys, computed, no_fonts, tmp_path):
    status, _, err = run(monkeypatch, capsys, "figures", "one", "--lang", "zh", "--out", tmp_path)
    assert status == 2
    assert "fonts-noto-cjk" in err.splitlines()[-1]
    assert computed == []
    assert files_in(tmp_path) == set()
    with pytest.raises(FileNotFoundError, match="no font with Chinese characters"), plots.style(language="zh"):
        pass


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
