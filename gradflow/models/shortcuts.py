"""What a unit adds to its branch: every shortcut of He15 §3.3 and He16 Fig. 2, each a module of its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def check_finite(**values: object) -> None:
    """Raise TypeError unless all values are numbers, ValueError unless they are finite."""
    for name, value in values.items():
        if not isinstance(value, float | int) or isinstance(value, bool):
            raise TypeError(f"{name} must be a number; got {name}={value!r}")
        if not math.isfinite(value):
            raise ValueError(f"{name} must be a finite number; got {name}={value!r}")


class Shortcut(nn.Module):
    """Base of all shortcuts h(x) of a :class:`Unit`."""

    is_shortcut = True


class NoShortcut(Shortcut):
    """No shortcut: the unit is plain, its output is the branch alone."""

    def forward(self, x: Tensor) -> Tensor:
        return x.new_zeros(())


class Identity(Shortcut):
    """h(x) = x, He15 eq. 1."""

    def forward(self, x: Tensor) -> Tensor:
        return x


class Scaled(Shortcut):
    """h(x) = λx, He16 eq. 5, around any shortcut that brings x to the right size (default: identity).

    With ``learned`` λ is a parameter that starts at ``lam``.
    """

    def __init__(self, lam: float, inner: Shortcut | None = None, *, learned: bool = False) -> None:
        super().__init__()
        check_finite(lam=lam)
        self.factor = nn.Parameter(torch.tensor(float(lam))) if learned else float(lam)
        self.inner = inner if inner is not None else Identity()

    @property
    def lam(self) -> float:
        """λ as it stands now."""
        return float(self.factor.detach() if isinstance(self.factor, nn.Parameter) else self.factor)

    @property
    def learned(self) -> bool:
        """Whether λ is a parameter."""
        return isinstance(self.factor, nn.Parameter)

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * self.inner(x)

    def extra_repr(self) -> str:
        return f"lam={self.lam:g}"


class ZeroPad(Shortcut):
    """Option A of He15 §3.3: every ``stride``-th pixel, new channels filled with zeros; no parameters.

    Input (B, in_channels, H, W), output (B, out_channels, ⌈H/stride⌉, ⌈W/stride⌉).
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        if out_channels < in_channels:
            raise ValueError(f"zero padding can only add channels; got {in_channels} in, {out_channels} out")
        extra = out_channels - in_channels
        self.padding = (0, 0, 0, 0, extra // 2, extra - extra // 2)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, :: self.stride, :: self.stride], self.padding)


class Projection(Shortcut):
    """Option B of He15 §3.3: a 1×1 convolution with stride, and BatchNorm as in He15 §3.4 unless ``norm=False``.

    In every unit it is option C, the "1×1 conv shortcut" of He16 Fig. 2e. For features (``image=False``) it is a
    Linear layer. It has a ``bias``, unless told otherwise, where it has no BatchNorm.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        *,
        norm: bool = True,
        bias: bool | None = None,
        image: bool = True,
    ) -> None:
        super().__init__()
        self.conv = pointwise(in_channels, out_channels, stride, bias=not norm if bias is None else bias, image=image)
        kind = nn.BatchNorm2d if image else nn.BatchNorm1d
        self.norm = kind(out_channels) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


class Gate(nn.Module):
    """g(x) = σ(W x + b) with a 1×1 convolution (or Linear) W and one bias a channel that starts at ``bias``.

    Input and output as of :class:`Projection`. He16 §3.1, after the gates of Highway Networks.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int = 1, *, bias: float = -6.0, image: bool = True
    ) -> None:
        super().__init__()
        check_finite(bias=bias)
        self.conv = pointwise(in_channels, out_channels, stride, bias=False, image=image)
        # Apart from the layer, so that drawing its weights anew leaves the start of the gate as it is.
        self.bias = nn.Parameter(torch.full((out_channels, 1, 1) if image else (out_channels,), float(bias)))

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.conv(x) + self.bias)


class Gated(Shortcut):
    """h(x) = (1 − g(x))·x, He16 Fig. 2c and d: ``inner`` brings x to the right size, ``gate`` is g."""

    def __init__(self, gate: nn.Module, inner: Shortcut | None = None) -> None:
        super().__init__()
        self.gate = gate
        self.inner = inner if inner is not None else Identity()

    def forward(self, x: Tensor) -> Tensor:
        return (1 - self.gate(x)) * self.inner(x)


class Dropped(Shortcut):
    """h(x) = dropout(x), He16 Fig. 2f: in training each element is zero with probability p, the rest divided by 1 − p.

    On average over the masks h is the identity; a path through U such shortcuts survives with probability (1 − p)^U.
    """

    def __init__(self, p: float = 0.5, inner: Shortcut | None = None) -> None:
        super().__init__()
        self.inner = inner if inner is not None else Identity()
        self.dropout = nn.Dropout(p)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.inner(x))


class Constant(nn.Module):
    """A number that multiplies a unit's branch, whatever the input: (1 − λ) in He16 §3.1."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = float(value)

    def forward(self, x: Tensor) -> Tensor:
        return x.new_full((), self.value)

    def extra_repr(self) -> str:
        return f"{self.value:g}"


def pointwise(in_width: int, out_width: int, stride: int = 1, *, bias: bool, image: bool) -> nn.Module:
    """A 1×1 convolution with a stride, or for features a Linear layer."""
    if image:
        return nn.Conv2d(in_width, out_width, 1, stride, bias=bias)
    return nn.Linear(in_width, out_width, bias=bias)


class Size(NamedTuple):
    """What a shortcut has to fit: features or channels in and out, stride, whether these are images, whether the
    network has BatchNorm, and whether its projections have it, too."""

    in_width: int
    out_width: int
    stride: int = 1
    image: bool = True
    norm: bool = True
    projection_norm: bool = True

    @property
    def changes(self) -> bool:
        """Whether the unit's output has another shape than its input."""
        return self.stride != 1 or self.in_width != self.out_width


class Joint(NamedTuple):
    """What stands at a unit's addition: its shortcut, and what multiplies its branch (None: nothing)."""

    shortcut: Shortcut
    scale: nn.Module | None = None


Variant = Callable[[Size, Shortcut], Joint]
"""Fits a kind of shortcut to a unit; the second argument brings x to the size of the unit's output."""
