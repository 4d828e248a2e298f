"""The exercises of notebook 07, the explorer."""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING, Literal

from gradflow.teaching.checking import Exercise, Mistake, absolute, relative

if TYPE_CHECKING:
    from gradflow.results import Comparison

_DEPTH, _WIDTH, _UNITS, _LAMBDA = 50, 64, 24, 0.9
"""Layers and features of the net of Linear layers, its units, and the factor on their shortcuts."""
_RESNET_DEPTH, _RESNET_WIDTH = 56, 8


@cache
def _parts() -> dict[str, float]:
    """Measured: shortcut part, residual part and whole at the first unit, relative to the output."""
    from gradflow import split
    from gradflow.models import fc_stack

    net = partial(fc_stack, _DEPTH, _WIDTH, init="he", shortcut=_LAMBDA)
    found = split(net, start="random")
    return {part: float(10 ** found.median(part)[0]) for part in ("shortcut", "residual", "whole")}


def _shortcut_and_whole() -> tuple[float, ...]:
    parts = _parts()
    return parts["shortcut"], parts["whole"]


@cache
def _below_floor(dtype: str) -> dict[str, float]:
    """Measured: how many layers of each net lie below the floor of a number format."""
    import torch

    from gradflow import compare
    from gradflow.models import fc_stack

    net = partial(fc_stack, _DEPTH, _WIDTH)
    found = compare(partial(net, shortcut=None), partial(net, shortcut=1.0), dtype=getattr(torch, dtype))
    return {name: float(verdict.below_floor) for name, verdict in found.verdicts.items()}


@cache
def _resnets(mode: Literal["train", "eval"]) -> Comparison:
    from gradflow import compare
    from gradflow.models import resnet

    net = partial(resnet, _RESNET_DEPTH, width=_RESNET_WIDTH, init="default")
    return compare(partial(net, residual=False), net, mode=mode)


def _decades(name: str = "plain", mode: Literal["train", "eval"] = "train") -> float:
    return float(_resnets(mode).verdicts[name].decades)


EXERCISES: dict[str, Exercise] = {
    "parts": Exercise(
        question=(
            "Stack FC, depth 50, width 64, init he, λ = 0.9, view λ-split. Read the shortcut part and the whole at "
            "unit 0, in this order."
        ),
        right=_shortcut_and_whole,
        near=relative(0.05),
        mistakes=(
            Mistake(lambda right: right[::-1], "The order: first the shortcut part, then the whole."),
            Mistake(
                lambda right: (_LAMBDA**_DEPTH, right[1]),
                "You took λ to the power of the depth. A unit has two layers and one shortcut. How many units are "
                "there?",
                when=lambda answer: abs(answer[0] / _LAMBDA**_DEPTH - 1) < 0.05,
            ),
            Mistake(
                lambda right: (_LAMBDA, right[1]),
                "That is λ, what one shortcut passes. The gradient passes many of them.",
                when=lambda answer: abs(answer[0] / _LAMBDA - 1) < 0.01,
            ),
            Mistake(
                lambda right: (right[0], right[0]), "You have the shortcut part twice. What do the branches add to it?"
            ),
        ),
        otherwise=(
            "Read both in the line of text at the picture. Compare all controls with the question first: the init too, "
            "and seed and batch must be as they were in the beginning."
        ),
        because="The shortcut part is λ²⁴, and nearly all of the whole has come through branches.",
    ),
    "floor": Exercise(
        question=(
            "View Gradient by layer, stack FC, depth 50, width 64, init default, λ = 1, dtype float16. How many layers "
            "of the plain net lie below the floor of the format?"
        ),
        right=lambda: _below_floor("float16")["plain"],
        near=absolute(0),
        mistakes=(
            Mistake(lambda _: _below_floor("float16")["residual"], "That is the residual net. Read the other line."),
            Mistake(
                lambda right: _DEPTH - right,
                "That is how many layers are left above the floor. The question is for those below it.",
            ),
            Mistake(_DEPTH, "Not all of them: the gradient starts at the output, where it is still large enough."),
        ),
        otherwise="It stands at the end of the plain net's line of text. Are all controls as in the question?",
        because="In float32 no layer is below the floor. Mixed precision therefore multiplies the loss by a large "
        "number first.",
    ),
    "mode": Exercise(
        question=(
            "View Gradient by layer, stack ResNet, depth 56, width 8, init default, λ = 1, dtype float32. By how many "
            "decades does the gradient of the plain net change over all layers in mode train?"
        ),
        right=_decades,
        near=relative(0.05),
        mistakes=(
            Mistake(lambda _: _decades(mode="eval"), "That is mode eval, where BatchNorm does nothing at the start."),
            Mistake(lambda _: _decades("residual"), "That is the residual net. Read the other line."),
            Mistake(
                lambda right: -right,
                "The sign: plus where the gradient grows on its way toward the input.",
                when=lambda answer: answer < 0,
            ),
            Mistake(
                lambda right: 10**right, "That is the factor itself. How many powers of ten is it?", lambda a: a > 100
            ),
        ),
        otherwise="The decades stand in the plain net's line of text. Are all controls as in the question?",
        because="With BatchNorm in train mode a plain net explodes at the start. In eval mode it vanishes, with the "
        "same weights.",
    ),
}
