"""The live explorer: move a slider and see what the gradient does.

``compute(state)`` gives the numbers of a :class:`State`, ``draw(state, result)`` their picture; the widgets are a thin
shell around these two.
"""

from gradflow.explorer.numbers import code, compute
from gradflow.explorer.panel import Explorer, explore
from gradflow.explorer.pictures import draw, save
from gradflow.explorer.states import State

__all__ = ["Explorer", "State", "code", "compute", "draw", "explore", "save"]
