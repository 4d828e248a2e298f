"""The widgets around ``compute`` and ``draw``, for notebooks."""

from __future__ import annotations

import json
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

from gradflow.explorer.controls import Controls, load_widgets
from gradflow.explorer.numbers import code, compute
from gradflow.explorer.pictures import Screen, save, summary
from gradflow.explorer.redrawing import TURNS, Latest
from gradflow.explorer.states import State, problems, unused
from gradflow.explorer.words import choice_word, word
from gradflow.results import Result

_KEPT = 16
"""Results that are remembered, so that going back shows them at once."""
_PATIENCE = 0.25
"""Seconds until a redraw says that it is under way."""


def explore(**settings: Any) -> Explorer:
    """Show plain and residual nets live: sliders and menus for the network, a picture that follows.

    settings: where to start, named as in :class:`gradflow.explorer.State`, e.g. ``explore(stack="conv", depth=20)``.
    Put it on the last line of a notebook cell. Views: the gradient by layer with theory and verdicts, the λ-split (He16
    eq. 5–8), the spectrum of path lengths (Veit16) and the replay of a short training on the digits.

    Raises ImportError without ipywidgets, ValueError for settings that cannot be used.
    """
    return Explorer(load_widgets(), State(**settings))


class Explorer:
    """What :func:`explore` gives: the controls by name, and the last good picture with its ``state`` and ``result``.

    A change redraws in a thread of its own, and the newest one wins; while a cell runs it waits.
    """

    def __init__(self, widgets: Any, state: State) -> None:
        self._w = widgets
        self.controls = Controls(widgets, state)
        self.image = widgets.Image(format="png", layout={"width": "100%", "max_width": "890px"})
        self.caption = widgets.HTML()
        self.status = widgets.HTML()
        self.numbers = widgets.HTML()
        self.code_text = widgets.Textarea(rows=9, layout={"width": "100%", "max_width": "890px", "display": "none"})
        self.saved = widgets.HTML()
        self._clipboard = widgets.Output()
        self.state = state
        self.result: Result | None = None
        self._screen = Screen()
        self._known: OrderedDict[State, Result] = OrderedDict()
        self._latest: Latest[State] = Latest(self._redraw)
        self._quiet = False
        self.controls.tell({}, state.unused)
        TURNS.follow(_shell())
        self._redraw(state)
        for name, widget in self.controls.widgets.items():
            widget.observe(lambda change, name=name: self._changed(name), "value")
        self.widget = self._arranged()

    def _repr_mimebundle_(self, **keywords: Any) -> Any:
        return self.widget._repr_mimebundle_(**keywords)

    def wait(self, timeout: float | None = None) -> bool:
        """Whether the picture is up to date, at most ``timeout`` seconds from now. (Redraws wait while a cell runs.)"""
        return self._latest.wait(timeout)

    # ── from the controls to a picture ──

    def _changed(self, name: str) -> None:
        if self._quiet:
            return
        with self._quietly():
            if name == "stack":
                self.controls.suit(self.controls.widgets["stack"].value, width=True)
        values = self.controls.values()
        found = problems(values)
        self.controls.tell(found, unused(values))
        if not found:
            self._latest.ask(State(**values))

    @contextmanager
    def _quietly(self) -> Iterator[None]:
        """Let changes that follow from a change not be taken for further ones."""
        self._quiet = True
        try:
            yield
        finally:
            self._quiet = False

    def _redraw(self, state: State) -> None:
        """Compute and draw a state, and show it, or say what went wrong and leave the picture."""
        started = time.perf_counter()
        slow = word("training" if state.tab == "replay" else "computing")
        timer = threading.Timer(_PATIENCE, self._say, (slow,))
        timer.start()
        try:
            result = self._numbers(state)
            picture = self._screen.png(state, result)
        except Exception as error:  # whatever a network does: the reader gets a sentence
            result, told = None, [word("failed", error=str(error).strip().rstrip("."))]
        finally:
            timer.cancel()
            timer.join()
        if result is not None:
            self.state, self.result, self.image.value = state, result, picture
            told = [*summary(state, result), word("done", seconds=time.perf_counter() - started)]
            self.numbers.value = f'<pre style="line-height:1.25">{escape(repr(result))}</pre>'
            self.caption.value = f"<b>{escape(_caption(state))}</b>"
        self._say(*told)

    def _numbers(self, state: State) -> Result:
        key = state.essential
        if key not in self._known:
            self._known[key] = compute(state)
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return self._known[key]

    def _say(self, *lines: str) -> None:
        self.status.value = (
            f'<div role="status" style="line-height:1.4;min-height:4.2em">{"<br>".join(map(escape, lines))}</div>'
        )

    # ── what the buttons do ──

    def _copy(self, _: Any = None) -> None:
        text = code(self.state)
        self.code_text.value, self.code_text.layout.display = text, ""
        script = f"navigator.clipboard && navigator.clipboard.writeText({json.dumps(text)}).catch(() => 0)"
        self._clipboard.outputs = (
            {"output_type": "display_data", "data": {"application/javascript": script}, "metadata": {}},
        )
        self.saved.value = word("copied")

    def _save(self, _: Any = None) -> None:
        if self.result is None:
            return
        try:
            with TURNS.cell():
                paths = save(self.state, self.result, self.name.value)
        except Exception as error:  # ipywidgets would swallow it
            self.saved.value = f'<span role="alert">{escape(word("not_saved", error=error))}</span>'
        else:
            names = ", ".join(path.name for path in paths)
            self.saved.value = escape(word("saved", names=names, folder=paths[0].parent))

    # ── how it is arranged ──

    def _arranged(self) -> Any:
        w = self._w
        self.name = w.Text(value="gradflow-explorer", description=word("name"), tooltip=word("name?"))
        self.save_button, self.copy_button = (
            w.Button(description=word(key), tooltip=word(f"{key}?")) for key in ("save", "code")
        )
        self.save_button.on_click(self._save)
        self.copy_button.on_click(self._copy)
        numbers = w.Accordion([self.numbers], titles=(word("numbers"),), selected_index=None)
        picture = w.VBox(
            [
                self.controls.widgets["tab"],
                self.caption,
                self.image,
                self.controls.replay,
                self.status,
                w.HBox([self.copy_button, self.name, self.save_button]),
                self.saved,
                self.code_text,
                numbers,
                self._clipboard,
            ],
            layout={"flex": "1 1 500px"},
        )
        return w.HBox([self.controls.box(), picture], layout={"flex_flow": "row wrap", "align_items": "flex-start"})


def _caption(state: State) -> str:
    title = word("title", stack=choice_word("stack", state.stack), depth=state.depth, width=state.width)
    return word("picture", tab=choice_word("tab", state.tab), title=title)


def _shell() -> Any:
    """The IPython shell this runs in, if any."""
    try:
        from IPython import get_ipython
    except ImportError:
        return None
    return get_ipython()
