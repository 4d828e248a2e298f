"""Small states for the tests of the explorer."""

from __future__ import annotations

import io
from typing import Any

import matplotlib.image as mpl_image
import numpy as np

from gradflow.explorer import State, code

SMALL: dict[str, dict[str, Any]] = {
    "fc": {"depth": 8, "width": 6},
    "conv": {"depth": 6, "width": 3, "batch": 4},
    "resnet": {"depth": 8, "width": 2, "batch": 4},
}
DIVERGING: dict[str, Any] = {"tab": "replay", "depth": 12, "width": 32, "lam": 3.0, "init": "he"}
"""A replay whose residual net diverges after a few steps; the plain one is trained to the end."""


def small(stack: str = "fc", **more: Any) -> State:
    return State(**{"stack": stack, **SMALL[stack], **more})


def picture(png: bytes) -> np.ndarray:
    return mpl_image.imread(io.BytesIO(png))


def executed(state: State) -> Any:
    """What the code of a state gives."""
    names: dict[str, Any] = {}
    exec(code(state), names)
    return names["result"]
