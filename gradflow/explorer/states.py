"""What the explorer shows: all its settings in one frozen state, checked before any work."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from gradflow.explorer.words import word
from gradflow.models import ACTIVATIONS, VARIANTS
from gradflow.models.initialisation import check_init
from gradflow.models.resnets import check_depth

CHOICES: dict[str, tuple[str, ...]] = {
    "stack": ("fc", "conv", "resnet"),
    "activation": tuple(ACTIVATIONS),
    "shortcut": tuple(VARIANTS),
    "dtype": ("float32", "float64", "bfloat16", "float16"),
    "mode": ("train", "eval"),
    "tab": ("flow", "split", "paths", "replay"),
}
LIMITS = {"depth": (2, 200), "width": (1, 512), "batch": (1, 1024), "seed": (0, 2**31 - 1), "step": (0, 10_000)}
"""Smallest and largest whole numbers: what a laptop can still show."""


@dataclass(frozen=True, kw_only=True)
class State:
    """The settings of one picture.

    ``stack``: "fc", "conv" or "resnet"; ``depth`` in weighted layers, ``width`` in features or channels. ``shortcut``:
    a name of :data:`gradflow.models.VARIANTS`, of which "original" is λx + F(x) with ``lam``. ``tab``: "flow" (the
    gradient by layer), "split" (by shortcut and residual part), "paths" (by path length) or "replay" (by layer and
    optimiser ``step`` of a training). What a stack or tab has no use for (see ``unused``) changes nothing.
    Raises ValueError that says of each setting what is wrong.
    """

    stack: str = "fc"
    depth: int = 50
    width: int = 64
    activation: str = "relu"
    init: str = "default"
    batch_norm: bool = False
    shortcut: str = "original"
    lam: float = 1.0
    dtype: str = "float32"
    mode: str = "train"
    batch: int = 32
    seed: int = 0
    tab: str = "flow"
    step: int = 0

    def __post_init__(self) -> None:
        found = problems(vars(self))
        if found:
            raise ValueError("; ".join(found.values()))

    @property
    def unused(self) -> frozenset[str]:
        """The settings that change nothing here."""
        return unused(vars(self))

    @property
    def essential(self) -> State:
        """The state that gives the same numbers with all that changes nothing at its default."""
        defaults: dict[str, Any] = {field.name: field.default for field in fields(self)}
        return replace(self, **{name: defaults[name] for name in self.unused | {"step"}})


def unused(values: Mapping[str, Any]) -> frozenset[str]:
    """The settings that change nothing in a state of these values."""
    found: set[str] = set()
    if values["stack"] == "resnet":
        found |= {"activation", "batch_norm"}
    if values["shortcut"] != "original":
        found |= {"lam"}
    found |= {"dtype", "mode"} if values["tab"] == "replay" else {"step"}
    return frozenset(found)


def problems(values: Mapping[str, Any]) -> dict[str, str]:
    """A sentence for each setting that cannot be used; empty where all can."""
    found: dict[str, str] = {}
    for name, choices in CHOICES.items():
        if values[name] not in choices:
            listed = ", ".join(choices)
            found[name] = word("choice", label=name, choices=listed, value=_shown(values[name]))
    for name, (low, high) in LIMITS.items():
        value = values[name]
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            found[name] = word("whole", label=name, low=low, high=high, value=_shown(value))
    lam = values["lam"]
    if not isinstance(lam, int | float) or isinstance(lam, bool) or not math.isfinite(lam):
        found["lam"] = word("number", label="λ", value=_shown(lam))
    if not isinstance(values["batch_norm"], bool):
        found["batch_norm"] = word(
            "choice", label="batch_norm", choices="True, False", value=_shown(values["batch_norm"])
        )
    _note(found, "init", check_init, values["init"])
    if values["stack"] == "resnet" and "depth" not in found:
        _note(found, "depth", check_depth, values["depth"], 6, 2)
    if values["stack"] == "fc" and values["batch_norm"] is True and values["mode"] == "train" and values["batch"] == 1:
        found["batch"] = word("norm_of_one")
    return found


def typed(name: str, text: str) -> Any:
    """What was typed into a field as a number, or the text itself where it is none (``problems`` then says so)."""
    try:
        return float(text) if name == "lam" else int(text) if name in LIMITS else text.strip()
    except ValueError:
        return text


def _note(found: dict[str, str], name: str, check: Any, value: Any, *more: Any) -> None:
    """Keep what a check of the library says of a setting."""
    try:
        check(value, *more)
    except (TypeError, ValueError) as error:
        found[name] = str(error).replace(repr(value), _shown(value))


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:36]}…{text[-1]}"
