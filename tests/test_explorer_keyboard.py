"""What the explorer says to the browser for the keyboard and for screen readers; that it works is tested in one."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from exploring import SMALL

import gradflow
from gradflow.explorer import panel
from gradflow.explorer.keyboard import ROOT, TOLD, completed
from gradflow.explorer.words import ENGLISH

widgets = pytest.importorskip("ipywidgets")
NAMED = {"code_text", "play", "pause", "stop", "repeat"}


def script_of(root: Any) -> str:
    """The one script that a widget runs where it is shown, from its last child, which is not to be seen."""
    output = root.children[-1]
    assert isinstance(output, widgets.Output)
    assert output.layout.display == "none"
    (shown,) = output.outputs
    assert shown["output_type"] == "display_data"
    assert set(shown["data"]) == {"application/javascript"}
    return shown["data"]["application/javascript"]


def words_of(script: str) -> dict[str, str]:
    return json.loads(re.search(r"const words = ({.*?});\n", script)[1])


def test_it_is_one_hidden_widget_behind_the_others() -> None:
    inside = (widgets.Button(), widgets.HTML())
    root = widgets.VBox(inside)
    completed(widgets, root)
    assert root.children[:-1] == inside
    assert ROOT in root._dom_classes
    assert f'element.closest(".{ROOT}")' in script_of(root)
    assert f'".{TOLD} > ' in script_of(root)


def test_every_name_is_one_of_the_explorers_words(monkeypatch: pytest.MonkeyPatch) -> None:
    root = widgets.VBox()
    completed(widgets, root)
    script = script_of(root)
    assert words_of(script) == {key: ENGLISH[key] for key in NAMED}
    assert set(re.findall(r"words\.(\w+)", script)) == NAMED, "each is used, and no other"
    odd = 'a "quoted" \\ </script> λ %s'
    monkeypatch.setitem(ENGLISH, "pause", odd)
    completed(widgets, root)
    assert words_of(script_of(root))["pause"] == odd
    assert script_of(root).replace(json.dumps(odd), json.dumps("Pause")) == script, "no name stands anywhere else"


def test_each_explorer_has_its_own() -> None:
    one, other = (gradflow.explore(**SMALL["fc"]) for _ in range(2))
    assert one.widget.children[-1] is not other.widget.children[-1]
    for explorer in (one, other):
        script_of(explorer.widget)
        assert len(explorer.widget.children) == 3, "the controls, the picture, and the script"
        assert explorer.wait(30)


def test_what_is_said_is_read_out() -> None:
    explorer = gradflow.explore(**SMALL["fc"])
    told = {name for name, value in vars(explorer).items() if TOLD in getattr(value, "_dom_classes", ())}
    assert told == {"caption", "status", "saved"}
    assert isinstance(explorer, panel.Explorer)
    for name in told:
        assert "role=" not in getattr(explorer, name).value, "the script gives it to what stays on the page"
