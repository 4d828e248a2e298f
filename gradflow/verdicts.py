"""Words computed from numbers: does a gradient vanish, explode or hold steady on its way to the input?"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

STEADY_DECADES = 1.0
"""A gradient that changes by less than a factor of ten from last layer to first is called steady."""

WORDS = {
    "verdict:vanishes": "vanishes toward the input: {change}",
    "verdict:explodes": "explodes toward the input: {change}",
    "verdict:steady": "holds steady toward the input: {change}",
    "verdict:change": "× {factor:.3g} a layer, {decades} decades over {layers} layers",
    "verdict:below_floor": "{count} below the dtype's floor ({floor:.1e})",
    "verdict:nonfinite": "{count} not finite",
    "verdict:layer": "{layers} layer",
    "verdict:layers": "{layers} layers",
    "verdict:between": "; ",
    "verdict:unknown": (
        "no verdict: too few of {layers} layers have a gradient that is finite and not zero, or these contradict the "
        "zeros and infinities nearer the input"
    ),
}
"""What verdicts say in English; they stand here because verdicts are printed where matplotlib is not loaded."""

NO_NORMS = ("activation_std", "dead", "saturation", "update_ratio", "drift")
"""Quantities of a trace that are no norms: their names stand alone, and there is no verdict on them."""

_EPS_AND_TINY = {
    "float16": (2.0**-10, 2.0**-14),
    "bfloat16": (2.0**-7, 2.0**-126),
    "float32": (2.0**-23, 2.0**-126),
    "float64": (2.0**-52, 2.0**-1022),
}


def smallest_normal(dtype: str) -> float:
    """The dtype's floor: below it numbers lose digits, and GPUs may set them to zero. Raises KeyError if unknown."""
    return _EPS_AND_TINY[dtype][1]


def smallest_subnormal(dtype: str) -> float:
    """The smallest positive number of a dtype: anything under half of it is stored as zero."""
    eps, tiny = _EPS_AND_TINY[dtype]
    return eps * tiny


@dataclass(frozen=True)
class Verdict:
    """What a gradient does from the last layer to the first.

    ``word`` is vanishes, explodes, steady or unknown; ``factor`` the geometric mean change per layer; ``decades`` the
    log10 of first over last; ``layers`` how many; ``below_floor`` how many lie under the dtype's smallest normal
    number, zeros included; ``nonfinite`` how many are NaN or infinite; ``floor`` that smallest normal number.
    When the first layers are exactly zero, factor and decades describe the layers that are not: the true change is
    larger.
    """

    word: str
    factor: float
    decades: float
    layers: int
    below_floor: int
    nonfinite: int
    floor: float

    def __str__(self) -> str:
        return self.sentence(_in_english)

    def sentence(self, say: Callable[..., str]) -> str:
        """The verdict in a language: ``say(key, **values)`` gives the words for a key of :data:`WORDS`."""
        if self.word == "unknown":
            return say("verdict:unknown", layers=self.layers)
        decades = f"{self.decades:+z.1f}".replace("-", "\N{MINUS SIGN}")
        change = say("verdict:change", factor=self.factor, decades=decades, layers=self.layers)
        parts = [say(f"verdict:{self.word}", change=change)]
        if self.below_floor:
            parts.append(say("verdict:below_floor", count=_count(self.below_floor, say), floor=self.floor))
        if self.nonfinite:
            parts.append(say("verdict:nonfinite", count=_count(self.nonfinite, say)))
        return say("verdict:between").join(parts)


def judge(values: np.ndarray, dtype: str = "float32") -> Verdict:
    """The verdict on gradient norms of L layers, first layer first.

    ``values`` has shape (L,). Raises KeyError for an unknown dtype.
    """
    values = np.asarray(values, dtype=float)
    floor = smallest_normal(dtype)
    usable = np.flatnonzero(np.isfinite(values) & (values > 0))
    counts = (len(values), int(np.sum(values < floor)), int(np.sum(~np.isfinite(values))), floor)
    if len(usable) < 2:
        return Verdict("unknown", math.nan, math.nan, *counts)
    first, last = usable[0], usable[-1]
    decades = float(np.log10(values[first]) - np.log10(values[last]))
    with np.errstate(over="ignore"):
        factor = float(np.power(10.0, decades / (last - first)))
    word = "steady" if abs(decades) < STEADY_DECADES else "vanishes" if decades < 0 else "explodes"
    lost = values[:first]  # nearer the input than anything that could be measured
    if np.any(lost == 0) or np.any(np.isinf(lost)):
        word = "vanishes" if np.any(lost == 0) else "explodes"
        if np.any(np.isinf(lost)) == np.any(lost == 0) or (decades < 0) != (word == "vanishes"):
            return Verdict("unknown", math.nan, math.nan, *counts)
    return Verdict(word, factor, decades, *counts)


def _count(layers: int, say: Callable[..., str]) -> str:
    return say("verdict:layer" if layers == 1 else "verdict:layers", layers=layers)


def _in_english(key: str, **values: object) -> str:
    return WORDS[key].format(**values)
