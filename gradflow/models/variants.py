"""Kinds of shortcut by name, and how a kind becomes the shortcut of one unit (He15 Table 3, He16 Table 1)."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
from torch import Tensor, nn

from gradflow.models.shortcuts import (
    Constant,
    Dropped,
    Gate,
    Gated,
    Identity,
    Joint,
    NoShortcut,
    Projection,
    Scaled,
    Shortcut,
    Size,
    Variant,
    ZeroPad,
    check_finite,
)

OPTIONS = ("A", "B", "C")
"""How a shortcut changes size (He15 §3.3): zero padding, projection, projections in every unit."""


def scaled(lam: float, branch: float = 1.0) -> Variant:
    """Constant scaling: λ·x + branch·F(x); He16 §3.1 has branch = 1 and branch = 1 − λ."""
    check_finite(lam=lam, branch=branch)
    return lambda size, inner: Joint(Scaled(lam, inner), None if branch == 1 else Constant(branch))


def shortcut_only_gate(bias: float = -6.0) -> Variant:
    """(1 − g(x))·x + F(x), He16 Fig. 2d; the gate's bias starts at ``bias``."""
    check_finite(bias=bias)
    return lambda size, inner: Joint(Gated(_gate(size, bias), inner))


def exclusive_gate(bias: float = -6.0) -> Variant:
    """(1 − g(x))·x + g(x)·F(x), He16 Fig. 2c: one gate for both, whose bias starts at ``bias``."""
    check_finite(bias=bias)

    def fit(size: Size, inner: Shortcut) -> Joint:
        gate = _gate(size, bias)
        return Joint(Gated(gate, inner), gate)

    return fit


def conv1x1() -> Variant:
    """A 1×1 convolution in every unit, He16 Fig. 2e: option C of He15 §3.3."""
    return lambda size, inner: Joint(_projection(size))


def dropout(p: float = 0.5) -> Variant:
    """Dropout on the shortcut, He16 Fig. 2f."""
    return lambda size, inner: Joint(Dropped(p, inner))


VARIANTS: dict[str, Variant] = {
    "original": lambda size, inner: Joint(inner),
    "scaled-0": scaled(0.0),
    "scaled-0.5": scaled(0.5),
    "scaled-0.5-0.5": scaled(0.5, branch=0.5),
    "exclusive-gate": exclusive_gate(),
    "shortcut-only-gate-0": shortcut_only_gate(0.0),
    "shortcut-only-gate": shortcut_only_gate(),
    "conv1x1": conv1x1(),
    "dropout": dropout(),
}
"""The shortcuts of He16 Table 1 by name, gates with a bias of −6 unless the name says otherwise."""

One = Shortcut | Variant | float | str | None
ShortcutChoice = One | Sequence[One] | np.ndarray | Tensor
"""A shortcut for all units, a number λ for ``Scaled(λ)`` (1 for ``Identity()``), a name from ``VARIANTS`` or a function
such as ``exclusive_gate(-6)``, None for plain, or one of these per unit; λ may come in an array or a tensor."""


def for_units(choice: ShortcutChoice, units: int) -> list[One]:
    """One choice for each of ``units`` units.

    Raises ValueError if a sequence has another length or a name is unknown, TypeError for what is no shortcut.
    """
    if isinstance(choice, np.ndarray | np.generic | Tensor):
        choice = choice.tolist()
    if isinstance(choice, Sequence) and not isinstance(choice, str):
        if len(choice) != units:
            raise ValueError(f"shortcut must have one entry per unit: expected {units}, got {len(choice)}")
        return [for_units(one, 1)[0] for one in choice]
    if isinstance(choice, str) and choice not in VARIANTS:
        raise ValueError(f"shortcut must be one of {', '.join(VARIANTS)}; got shortcut={choice!r}")
    if isinstance(choice, float | int) and not isinstance(choice, bool):
        Scaled(choice)  # refuses what is not finite, before any work
    elif (isinstance(choice, nn.Module) and not isinstance(choice, Shortcut)) or not (
        choice is None or isinstance(choice, str) or (callable(choice) and not isinstance(choice, type))
    ):
        raise TypeError(
            "shortcut must be a Shortcut such as Identity() or Scaled(0.9), a number λ, a name such as 'conv1x1', a "
            f"function such as exclusive_gate(-6), None, or one of these per unit; got {choice!r}"
        )
    return [choice] * units


def fitted(choice: One, size: Size, option: str = "A") -> Joint:
    """What stands at the addition of a unit of that size, made from one choice (see ``ShortcutChoice``)."""
    resize = _resize(size, option)
    if choice is None or isinstance(choice, NoShortcut):
        return Joint(NoShortcut())
    if isinstance(choice, str):
        return VARIANTS[choice](size, resize)
    if isinstance(choice, float | int):
        return Joint(resize if choice == 1 else Scaled(choice, resize))
    if isinstance(choice, Identity):
        return Joint(resize)
    if isinstance(choice, Shortcut):
        fresh = copy.deepcopy(choice)
        if isinstance(getattr(fresh, "inner", None), Identity):
            fresh.inner = resize
            return Joint(fresh)
        if size.changes:
            raise ValueError(
                f"a {type(choice).__name__} has a size of its own and does not fit a unit that changes size; pass a "
                "function that fits one, e.g. exclusive_gate(-6), conv1x1() or lambda size, inner: Joint(…)"
            )
        return Joint(fresh)
    return _called(choice, size, resize)


def _called(kind: Variant, size: Size, resize: Shortcut) -> Joint:
    """What a function of the user makes of a unit's size."""
    name = getattr(kind, "__name__", repr(kind))
    advice = f"a shortcut function takes (size, inner) and returns a Joint; one with numbers is called: {name}(…)"
    try:
        joint = kind(size, resize)
    except TypeError as error:
        raise TypeError(f"{advice}; {name} raised {error}") from error
    if not isinstance(joint, Joint):
        raise TypeError(f"{advice}; {name} returned {joint!r}")
    return joint


def _resize(size: Size, option: str) -> Shortcut:
    if option == "C" or (option == "B" and size.changes):
        return _projection(size)
    return ZeroPad(size.in_width, size.out_width, size.stride) if size.changes else Identity()


def _projection(size: Size) -> Projection:
    norm = size.norm and size.projection_norm
    return Projection(size.in_width, size.out_width, size.stride, norm=norm, bias=not size.norm, image=size.image)


def _gate(size: Size, bias: float) -> Gate:
    return Gate(size.in_width, size.out_width, size.stride, bias=bias, image=size.image)
