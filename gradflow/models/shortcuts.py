"""What a unit adds to its branch: nothing, its input, λ times its input, or its input brought to a new size."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn


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
    """h(x) = λx, He16 eq. 5, around any shortcut that brings x to the right size (default: identity)."""

    def __init__(self, lam: float, inner: Shortcut | None = None) -> None:
        super().__init__()
        self.lam = float(lam)
        self.inner = inner if inner is not None else Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.lam * self.inner(x)

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
    """Option B of He15 §3.3: a 1×1 convolution with stride, and BatchNorm as in He15 §3.4 unless ``norm=False``."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, *, norm: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 1, stride, bias=not norm)
        self.norm = nn.BatchNorm2d(out_channels) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


ShortcutChoice = Shortcut | float | None | Sequence[Shortcut | float | None]
"""A shortcut for all units, a number λ for ``Scaled(λ)`` (1 for ``Identity()``), None for plain, or one of these per
unit."""


def for_units(shortcut: ShortcutChoice, units: int) -> list[Shortcut]:
    """A shortcut of its own for each of ``units`` units.

    Raises ValueError if a sequence has another length, TypeError for what is no shortcut.
    """
    if isinstance(shortcut, (list, tuple)):
        if len(shortcut) != units:
            raise ValueError(f"shortcut must have one entry per unit: expected {units}, got {len(shortcut)}")
        return [for_units(one, 1)[0] for one in shortcut]
    if shortcut is None:
        return [NoShortcut() for _ in range(units)]
    if isinstance(shortcut, (int, float)) and not isinstance(shortcut, bool):
        return [Identity() if shortcut == 1 else Scaled(shortcut) for _ in range(units)]
    if not isinstance(shortcut, Shortcut):
        raise TypeError(
            "shortcut must be a Shortcut such as Identity() or Scaled(0.9), a number λ, None, or one of these "
            "per unit; "
            f"got {shortcut!r}"
        )
    return [copy.deepcopy(shortcut) for _ in range(units)]
