"""Work that goes on beside the notebook: the latest wish wins, and cells and redraws never run at the same time."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from torch.nn.modules.module import register_module_forward_pre_hook

T = TypeVar("T")
_log = logging.getLogger(__name__)
GRACE = 0.3
"""Seconds after which a newer wish stops the work on an older one; quicker work is let through, so that a held arrow
key still shows pictures on its way."""


class Overtaken(BaseException):
    """The work on a wish is no longer wanted; not an Exception, so that nobody on the way takes it for a mistake."""


class Latest(Generic[T]):
    """Does the newest thing asked for, in a thread that lives while there is something to do.

    What is asked for while the work goes on replaces what was waiting. ``work`` is called with it, one at a time for
    all instances, of which the one asked last goes first; the forward pass of any module inside is where it can be
    stopped.
    """

    def __init__(self, work: Callable[[T], None]) -> None:
        self._work = work
        self._state = threading.Condition()
        self._waiting: list[tuple[int, T]] = []  # none or one, with its place among the wishes of all instances
        self._busy = False

    def ask(self, wish: T) -> None:
        """Work on this next, and on nothing that was asked for before."""
        with self._state:
            self._waiting[:] = [(next(_ASKED), wish)]
            if not self._busy:
                self._busy = True
                threading.Thread(target=self._run, name="gradflow explorer", daemon=True).start()

    def wait(self, timeout: float | None = None) -> bool:
        """Whether all is done, at most ``timeout`` seconds from now."""
        with self._state:
            return self._state.wait_for(lambda: not self._busy, timeout)

    def _run(self) -> None:
        while (asked := self._next()) is not None:
            number, wish = asked
            try:
                with TURNS.redraw(number):
                    if self._waiting:  # a newer one came while this waited for its turn
                        continue
                    with _stoppable(self._is_overtaken(number, time.monotonic())):
                        self._work(wish)
            except Overtaken:
                with self._state:
                    # A cell or another explorer stopped it: it is still wanted unless something newer is.
                    self._waiting[:] = self._waiting or [asked]
            except Exception as error:
                _log.error("the explorer could not redraw", exc_info=error)

    def _next(self) -> tuple[int, T] | None:
        with self._state:
            if self._waiting:
                return self._waiting.pop()
            self._busy = False
            self._state.notify_all()
            return None

    def _is_overtaken(self, number: int, started: float) -> Callable[[], bool]:
        def look() -> bool:
            newer = bool(self._waiting) or TURNS.newer_waits(number)
            return TURNS.cell_waits or (newer and time.monotonic() - started > GRACE)

        return look


@contextmanager
def _stoppable(is_overtaken: Callable[[], bool]) -> Iterator[None]:
    """Let every forward pass of a module in this thread look whether to go on."""
    thread = threading.get_ident()

    def look(module: Any, arguments: Any) -> None:
        if threading.get_ident() == thread and is_overtaken():
            raise Overtaken

    handle = register_module_forward_pre_hook(look)
    try:
        yield
    finally:
        handle.remove()


class Turns:
    """Cells and redraws take turns: both set the process's random generators and matplotlib's settings for a while."""

    def __init__(self) -> None:
        self._state = threading.Condition()
        self._taken = False
        self._cells = 0  # a cell may run another
        self._cells_waiting = 0
        self._redraws_waiting: set[int] = set()

    @property
    def cell_waits(self) -> bool:
        """Whether a cell is to run as soon as the redraw ends."""
        return self._cells_waiting > 0

    def newer_waits(self, number: int) -> bool:
        """Whether a redraw is to run that was asked for later than this one."""
        with self._state:
            return max(self._redraws_waiting, default=number) > number

    @contextmanager
    def redraw(self, number: int) -> Iterator[None]:
        """The turn of a redraw: not while a cell runs or is about to, and the one with the greatest number first."""
        with self._state:
            self._redraws_waiting.add(number)
            try:
                self._state.wait_for(
                    lambda: not self._taken and not self._cells_waiting and number == max(self._redraws_waiting)
                )
            finally:
                self._redraws_waiting.remove(number)
            self._taken = True
        try:
            yield
        finally:
            self._give_back()

    def before_cell(self, *_: Any) -> None:
        """Wait for the redraw at work, which is told to stop."""
        with self._state:
            self._cells += 1
            if self._cells > 1:
                return
            self._cells_waiting += 1
            try:
                self._state.wait_for(lambda: not self._taken)
            except BaseException:  # Ctrl-C while waiting: the cell then runs without a turn
                self._cells -= 1
                raise
            finally:
                self._cells_waiting -= 1
            self._taken = True

    def after_cell(self, *_: Any) -> None:
        """Let redraws go on."""
        if self._cells:
            self._cells -= 1
            if not self._cells:
                self._give_back()

    @contextmanager
    def cell(self) -> Iterator[None]:
        """A turn of the notebook's own thread."""
        self.before_cell()
        try:
            yield
        finally:
            self.after_cell()

    def _give_back(self) -> None:
        with self._state:
            self._taken = False
            self._state.notify_all()

    def follow(self, shell: Any) -> None:
        """Take turns with the cells of an IPython shell; asking again changes nothing."""
        if shell is None or getattr(shell, "_gradflow_turns", None) is self:
            return
        shell._gradflow_turns = self
        shell.events.register("pre_run_cell", self.before_cell)
        shell.events.register("post_run_cell", self.after_cell)


TURNS = Turns()
"""Those of this process."""
_ASKED = itertools.count()
