"""The controls of the explorer: one widget for each setting of a state, with its label, its help and its message."""

from __future__ import annotations

from html import escape
from importlib import import_module
from typing import Any

from gradflow.explorer.replays import LAST_STEP, TRACE_EVERY
from gradflow.explorer.states import CHOICES, State, typed
from gradflow.explorer.words import choice_word, word
from gradflow.models import INITS

WIDTHS = {"fc": 64, "conv": 16, "resnet": 8}
"""A width for each stack that is quick enough to play with; changing the stack takes it."""
_TYPED = ("lam", "batch", "seed")
_DEEPEST, _WIDEST = 110, 256


def load_widgets() -> Any:
    """The package ipywidgets. Raises ImportError that says how to install it."""
    try:
        return import_module("ipywidgets")
    except ImportError as error:
        raise ImportError("the explorer needs ipywidgets: pip install 'gradflow-toolkit[notebooks]'") from error


class Controls:
    """One widget by name of setting in ``widgets``, and beside each the place for a message."""

    def __init__(self, w: Any, state: State) -> None:
        self._w = w
        self.widgets: dict[str, Any] = {name: self._made(name, getattr(state, name)) for name in vars(state)}
        self.messages: dict[str, Any] = {name: w.HTML() for name in self.widgets}
        self.play = w.Play(max=LAST_STEP, step=TRACE_EVERY, interval=300, tooltip=word("play"))
        w.link((self.play, "value"), (self.widgets["step"], "value"))
        self.replay = w.HBox([self.play, self.widgets["step"]])
        self.suit(state.stack)

    def values(self) -> dict[str, Any]:
        """What the widgets hold, typed numbers read."""
        texts = {name: widget.value for name, widget in self.widgets.items()}
        return {name: typed(name, text) if name in (*_TYPED, "init") else text for name, text in texts.items()}

    def tell(self, problems: dict[str, str], unused: frozenset[str]) -> None:
        """Show each problem beside its control, and switch off what changes nothing."""
        for name, message in self.messages.items():
            sentence = escape(problems.get(name, ""))
            _put(
                message, f'<span role="alert" style="color:#a4262c;line-height:1.3">{sentence}</span>' * bool(sentence)
            )
            if name != "step":
                self.widgets[name].disabled = name in unused
        self.replay.layout.display = "none" if "step" in unused else "flex"

    def suit(self, stack: str, *, width: bool = False) -> None:
        """Let the depth go in steps that the stack has; with ``width`` take one that is quick."""
        depth = self.widgets["depth"]
        if stack == "resnet":
            fitting = max(8, 2 + 6 * round((depth.value - 2) / 6))
            depth.min, depth.step = 2, 6
            depth.value, depth.min = fitting, 8
        else:
            depth.min, depth.step = 2, 1
        if width:
            self.widgets["width"].value = WIDTHS[stack]

    def box(self) -> Any:
        """All but view and step, in a column, each with its message under it."""
        left_out = ("tab", "step")
        rows = [
            self._w.VBox([widget, self.messages[name]]) for name, widget in self.widgets.items() if name not in left_out
        ]
        return self._w.VBox(rows, layout={"width": "330px", "flex": "0 0 auto"})

    def _made(self, name: str, value: Any) -> Any:
        w = self._w
        shared: dict[str, Any] = {
            "description": word(name),
            "tooltip": word(f"{name}?"),
            "layout": {"width": "320px"},
            "style": {"description_width": "80px"},
        }
        slider = {**shared, "continuous_update": False, "value": value}
        if name == "depth":
            return w.IntSlider(**slider, min=2, max=max(_DEEPEST, value))
        if name == "width":
            return w.IntSlider(**slider, min=1 if value % 4 else 4, max=max(_WIDEST, value), step=1 if value % 4 else 4)
        if name == "step":
            return w.IntSlider(**{**slider, "layout": {"width": "520px"}}, max=LAST_STEP, step=TRACE_EVERY)
        if name == "batch_norm":
            return w.Checkbox(**shared, value=value, indent=True)
        if name == "init":
            options = [*INITS[:-1], "normal(0.05)"]
            return w.Combobox(**shared, value=value, options=options, ensure_option=False, continuous_update=False)
        if name in _TYPED:
            return w.Text(**shared, value=f"{value:g}" if name == "lam" else str(value), continuous_update=False)
        choices = [(choice_word(name, choice), choice) for choice in CHOICES[name]]
        if name == "tab":
            tips = [word("tab?")] * len(choices)
            return w.ToggleButtons(options=choices, value=value, tooltips=tips, style={"button_width": "auto"})
        return w.Dropdown(**shared, options=choices, value=value)


def _put(widget: Any, value: Any) -> None:
    """Set a value only where it is another: each one is a message to the browser."""
    if widget.value != value:
        widget.value = value
