"""The widgets around ``compute`` and ``draw``, for notebooks."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

from gradflow.explorer.controls import Controls, load_widgets
from gradflow.explorer.keyboard import TOLD, completed
from gradflow.explorer.numbers import code, compute
from gradflow.explorer.pictures import SCREEN_PX, Screen, paths_of, save, summary
from gradflow.explorer.redrawing import TURNS, Latest
from gradflow.explorer.states import State, problems, unused
from gradflow.explorer.words import choice_word, word
from gradflow.results import Result

_KEPT = 16
"""Results that are remembered, so that going back shows them at once."""
_NOTHING = "R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="
"""A transparent pixel, base64."""
_LINES = "line-height:1.4"
"""As close as the lines of a paragraph; ipywidgets has room for a control between them."""
_TYPE = "var(--jp-content-font-size1, 14px)"
"""As large as the text of the notebook."""
_PATIENCE = 0.25
"""Seconds until a redraw says that it is under way, and between two words on how far a training is."""


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

    ``png`` is the picture as a file; it is empty and ``result`` None until the training of a first replay is over. A
    change redraws in a thread of its own, and the newest one wins; while a cell runs it waits.
    """

    def __init__(self, widgets: Any, state: State) -> None:
        self._w = widgets
        self.controls = Controls(widgets, state)
        self.caption = widgets.HTML()
        self.image = widgets.HTML(layout={"width": "auto", "max_width": f"{SCREEN_PX[0]}px"})
        self.status = widgets.HTML()
        self.numbers = widgets.HTML()
        self.code_text = widgets.Textarea(rows=9, layout={"width": "auto", "max_width": "890px", "display": "none"})
        self.saved = widgets.HTML()
        for told in (self.caption, self.status, self.saved):
            told.add_class(TOLD)
        self._clipboard = widgets.Output()
        self.state = state
        self.result: Result | None = None
        self.png = b""
        self._screen = Screen()
        self._known: OrderedDict[State, Result] = OrderedDict()
        self._latest: Latest[State] = Latest(self._redraw)
        self._quiet = False
        self.controls.tell({}, state.unused)
        TURNS.follow(_shell())
        if state.tab == "replay":  # nobody should have to wait for a training before anything can be changed
            self._show(b"", word("coming", picture=_caption(state)))
            self._tell(state, [])
            self._say(word("training"))
            self._latest.ask(state)
        else:
            self._redraw(state)
        for name, widget in self.controls.widgets.items():
            widget.observe(lambda change, name=name: self._changed(name), "value")
        self.widget = self._arranged()
        completed(widgets, self.widget)

    def __repr__(self) -> str:
        sentences = summary(self.state, self.result) if self.result is not None else []
        return word("text", picture=_caption(self.state), sentences="\n".join(sentences))

    def _repr_mimebundle_(self, **keywords: Any) -> Any:
        return {**self.widget._repr_mimebundle_(**keywords), "text/plain": repr(self)}

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
        problem = ""
        try:
            result = self._numbers(state, started)
            picture, sentences = self._screen.png(state, result), summary(state, result)
        except Exception as error:  # whatever a network does: the reader gets a sentence
            problem = word("failed", error=str(error).strip().rstrip("."))
        finally:
            timer.cancel()
            timer.join()
        if problem:
            self._say(problem)
            return
        self.state, self.result = state, result
        self._show(picture, word("described", picture=_caption(state)))
        self._tell(state, sentences)
        self.numbers.value = f'<pre style="line-height:1.25">{escape(repr(result))}</pre>'
        self._say(word("done", seconds=time.perf_counter() - started), aloud=False)

    def _numbers(self, state: State, started: float) -> Result:
        due = started + _PATIENCE

        def tell(kind: str, step: int, total: int) -> None:
            nonlocal due
            if time.perf_counter() > due:
                due = time.perf_counter() + _PATIENCE
                self._say(word("at_training_step", kind=kind, step=step, total=total), aloud=False)

        key = state.essential
        if key not in self._known:
            self._known[key] = compute(state, tell=tell)
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return self._known[key]

    def _show(self, png: bytes, sentence: str) -> None:
        """Show a picture, or room for one, with a sentence for those who cannot see it.

        The sizes keep the room, and with "sync" the browser shows the new picture in the very frame in which the old
        one goes, so nothing flickers.
        """
        width, height = SCREEN_PX
        source = base64.b64encode(png).decode() if png else _NOTHING
        kind = "png" if png else "gif"
        self.png = png
        self.image.value = (
            f'<img src="data:image/{kind};base64,{source}" alt="{escape(sentence)}" width="{width}" height="{height}" '
            'decoding="sync" style="display:block;width:100%;height:auto">'
        )

    def _tell(self, state: State, sentences: list[str]) -> None:
        """Say above the picture what it is and what it shows, in room for two sentences at least."""
        lines = "<br>".join([f"<b>{escape(_caption(state))}</b>", *map(escape, sentences)])
        self.caption.value = f'<div style="{_LINES};min-height:4.2em;font-size:{_TYPE}">{lines}</div>'

    def _say(self, sentence: str, *, aloud: bool = True) -> None:
        """Say under the picture how far the work is; ``aloud`` where a screen reader is to interrupt with it."""
        hidden = "" if aloud else ' aria-hidden="true"'
        self.status.value = f'<div{hidden} style="{_LINES}">{escape(sentence)}</div>'

    # ── what the buttons do ──

    def _copy(self, _: Any = None) -> None:
        text = code(self.state)
        self.code_text.value, self.code_text.layout.display = text, ""
        script = f"navigator.clipboard && navigator.clipboard.writeText({json.dumps(text)}).catch(() => 0)"
        self._clipboard.outputs = (
            {"output_type": "display_data", "data": {"application/javascript": script}, "metadata": {}},
        )
        self.saved.value = f'<div style="{_LINES}">{word("copied")}</div>'

    def _save(self, _: Any = None) -> None:
        try:
            if self.result is None:
                raise ValueError(word("no_picture"))
            replaced = any(path.exists() for path in paths_of(self.name.value))
            with TURNS.cell():
                paths = save(self.state, self.result, self.name.value)
        except Exception as error:  # ipywidgets would swallow it
            sentence, role = word("not_saved", error=_reason(error)), ' role="alert"'
        else:
            names = ", ".join(path.name for path in paths)
            sentence, role = word("replaced" if replaced else "saved", names=names, folder=paths[0].parent), ""
        self.saved.value = f'<div{role} style="{_LINES}">{escape(sentence)}</div>'

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


def _reason(error: Exception) -> str:
    """What an error says, for those from the disk without number and quotes."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return word("disk", reason=error.strerror[0].lower() + error.strerror[1:], path=error.filename)
    return str(error)


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
