"""The one brick every network is made of, and the stem–units–head row it stands in."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

from torch import Tensor, nn

from gradflow.models.shortcuts import NoShortcut, Shortcut

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
    "linear": nn.Identity,
}
PLACEMENTS = ("original", "preactivation")


class Unit(nn.Module):
    """``post(shortcut(s) + branch(pre(x)))`` with s = x, or s = pre(x) when ``share_pre``.

    A unit with :class:`NoShortcut` is plain: ``post(branch(pre(x)))``. Shapes: whatever the parts take; shortcut and
    branch must agree. He15 eq. 1 and He16 eq. 1–2, with f = ``post``.
    """

    is_unit = True

    def __init__(
        self,
        branch: nn.Module,
        *,
        shortcut: Shortcut | None = None,
        pre: nn.Module | None = None,
        post: nn.Module | None = None,
        share_pre: bool = False,
    ) -> None:
        super().__init__()
        self.pre = pre if pre is not None else nn.Identity()
        self.branch = branch
        self.shortcut = shortcut if shortcut is not None else NoShortcut()
        self.post = post if post is not None else nn.Identity()
        self.share_pre = share_pre

    @property
    def is_plain(self) -> bool:
        """Whether the unit has no shortcut."""
        return isinstance(self.shortcut, NoShortcut)

    def forward(self, x: Tensor) -> Tensor:
        activated = self.pre(x)
        if self.is_plain:
            return self.post(self.branch(activated))
        return self.post(self.shortcut(activated if self.share_pre else x) + self.branch(activated))


class Network(nn.Module):
    """A stem, a row of units and a head: ``head(units(stem(x)))``.

    ``input_shape`` is the shape of one sample. ``built_from`` records the arguments the network was made with.
    """

    def __init__(
        self,
        stem: nn.Module,
        units: Sequence[Unit],
        head: nn.Module,
        *,
        input_shape: tuple[int, ...],
        built_from: dict[str, object] | None = None,
    ) -> None:
        super().__init__()
        self.stem = stem
        self.units = nn.Sequential(*units)
        self.head = head
        self.input_shape = input_shape
        self.built_from = built_from or {}

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.units(self.stem(x)))


def make_unit(
    weights: Sequence[tuple[str, nn.Linear | nn.Conv2d]],
    shortcut: Shortcut,
    *,
    placement: str,
    activation: str,
    norm: bool,
    share_pre: bool = False,
) -> Unit:
    """A unit of the given weight layers, with activation and BatchNorm where the placement puts them (He16 Fig. 4).

    "original": weight, norm, activation, weight, norm, add, activation (Fig. 4a); "preactivation": norm, activation,
    weight, norm, activation, weight, add (Fig. 4e).
    """
    check_choice("placement", placement, PLACEMENTS)
    branch: OrderedDict[str, nn.Module] = OrderedDict()
    pre: nn.Module | None = None
    post: nn.Module | None = None
    for place, (name, weight) in enumerate(weights, start=1):
        if placement == "preactivation":
            before = activate(activation, width_in(weight), like=weight, norm=norm)
            if place == 1:
                pre = nn.Sequential(before)
            else:
                branch.update((f"{key}{place}", part) for key, part in before.items())
            branch[name] = weight
        else:
            branch[name] = weight
            if norm:
                branch[f"norm{place}"] = batch_norm(width_out(weight), like=weight)
            if place < len(weights):
                branch[f"activation{place}"] = ACTIVATIONS[activation]()
            else:
                post = ACTIVATIONS[activation]()
    return Unit(nn.Sequential(branch), shortcut=shortcut, pre=pre, post=post, share_pre=share_pre)


def activate(activation: str, width: int, *, like: nn.Module, norm: bool) -> OrderedDict[str, nn.Module]:
    """BatchNorm, if wanted, then the activation; for features or channels as in the layer ``like``."""
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    if norm:
        parts["norm"] = batch_norm(width, like=like)
    parts["activation"] = ACTIVATIONS[activation]()
    return parts


def batch_norm(width: int, *, like: nn.Module) -> nn.Module:
    """BatchNorm over ``width`` channels of images behind a convolution, of features behind a linear layer."""
    return nn.BatchNorm2d(width) if isinstance(like, nn.Conv2d) else nn.BatchNorm1d(width)


def width_in(weight: nn.Linear | nn.Conv2d) -> int:
    """Features or channels a layer takes."""
    return weight.in_channels if isinstance(weight, nn.Conv2d) else weight.in_features


def width_out(weight: nn.Linear | nn.Conv2d) -> int:
    """Features or channels a layer gives."""
    return weight.out_channels if isinstance(weight, nn.Conv2d) else weight.out_features


def check_choice(name: str, value: object, choices: Sequence[object]) -> None:
    """Raise ValueError that lists the choices unless ``value`` is one of them."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(str, choices))}; got {name}={value!r}")


def check_count(name: str, value: object, least: int = 1) -> None:
    """Raise ValueError unless ``value`` is a whole number of at least ``least``."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}; got {name}={value!r}")
