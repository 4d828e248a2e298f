"""What ipywidgets leaves out for the keyboard and for screen readers, said to the browser by a small script."""

from __future__ import annotations

import json
from typing import Any

from gradflow.explorer.words import word

ROOT = "gradflow-explorer"
"""The CSS class of the widget that holds all others."""
_SCRIPT = """
(() => {
  const [copied, ...buttons] = %s;
  const complete = root => {
    // In JupyterLab an arrow key on a menu would go to the next cell, and a letter would be a command.
    for (const menu of root.querySelectorAll("select")) menu.setAttribute("data-lm-suppress-shortcuts", "true");
    for (const slider of root.querySelectorAll(".widget-slider")) {
      const label = slider.querySelector("label");
      slider.querySelector("[role=slider]")?.setAttribute("aria-label", label ? label.textContent : "");
    }
    for (const text of root.querySelectorAll("textarea")) text.setAttribute("aria-label", copied);
    root.querySelectorAll(".widget-play button").forEach((button, place) => {
      button.title = buttons[place];
      button.setAttribute("aria-label", buttons[place]);
    });
    for (const button of root.querySelectorAll(".widget-toggle-button")) {
      button.setAttribute("aria-pressed", button.classList.contains("mod-active"));
    }
  };
  const begin = left => {
    const root = element.closest(".%s");
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


def completed(widgets: Any, root: Any) -> None:
    """Give names to the sliders, buttons and texts in ``root``, and the keys to its menus, wherever it is shown."""
    script = _SCRIPT % (json.dumps([word(key) for key in ("code_text", "play", "stop", "repeat")]), ROOT)
    output = widgets.Output(layout={"display": "none"})
    output.outputs = ({"output_type": "display_data", "data": {"application/javascript": script}, "metadata": {}},)
    root.add_class(ROOT)
    root.children = (*root.children, output)
