"""What ipywidgets leaves out for the keyboard and for screen readers, said to the browser by a small script."""

from __future__ import annotations

import json
from typing import Any

from gradflow.explorer.words import word

ROOT = "gradflow-explorer"
"""The CSS class of the widget that holds all others."""
TOLD = "gradflow-explorer-told"
"""That of the texts which are read out when they change."""
_SCRIPT = """
(() => {
  const words = %(words)s;
  const name = (node, text) => node?.setAttribute("aria-label", text);
  const complete = root => {
    // In JupyterLab an arrow key on a menu would go to the next cell, and a letter would be a command.
    for (const menu of root.querySelectorAll("select")) menu.setAttribute("data-lm-suppress-shortcuts", "true");
    for (const slider of root.querySelectorAll(".widget-slider")) {
      const label = slider.querySelector("label")?.textContent ?? "";
      name(slider.querySelector("[role=slider]"), label);
      const number = slider.querySelector(".widget-readout");
      number?.setAttribute("role", "textbox");
      name(number, label);
    }
    for (const text of root.querySelectorAll("textarea")) name(text, words.code_text);
    const playing = root.querySelector(".widget-play .fa-pause") !== null;
    root.querySelectorAll(".widget-play button").forEach((button, place) => {
      button.title = [playing ? words.pause : words.play, words.stop, words.repeat][place];
      name(button, button.title);
    });
    for (const button of root.querySelectorAll(".widget-toggle-button")) {
      button.setAttribute("aria-pressed", button.classList.contains("mod-active"));
    }
    // What is announced has to stay on the page while its text changes; nobody can listen to a film.
    for (const told of root.querySelectorAll(".%(told)s > .widget-html-content")) {
      told.setAttribute("role", "status");
      told.setAttribute("aria-live", playing ? "off" : "polite");
    }
  };
  const begin = left => {
    const root = element.closest(".%(root)s");
    if (root) {
      complete(root);
      new MutationObserver(() => complete(root)).observe(
        root, {childList: true, subtree: true, attributes: true, attributeFilter: ["class"]}
      );
    } else if (left) {
      requestAnimationFrame(() => begin(left - 1));  // not yet on the page
    }
  };
  begin(600);
})();
"""
_WORDS = ("code_text", "play", "pause", "stop", "repeat")


def completed(widgets: Any, root: Any) -> None:
    """Give names to the sliders, buttons and texts in ``root``, and the keys to its menus, wherever it is shown.

    What is said in widgets of the class :data:`TOLD` is read out when it changes.
    """
    script = _SCRIPT % {"words": json.dumps({key: word(key) for key in _WORDS}), "root": ROOT, "told": TOLD}
    output = widgets.Output(layout={"display": "none"})
    output.outputs = ({"output_type": "display_data", "data": {"application/javascript": script}, "metadata": {}},)
    root.add_class(ROOT)
    root.children = (*root.children, output)
