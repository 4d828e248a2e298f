"""The one brick every network is made of, and the stem–units–head row it stands in."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from gradflow.models.shortcuts import Joint, NoShortcut, Shortcut

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
    "linear": nn.Identity,
}


class Placement(NamedTuple):
    """Where BatchNorm ("norm") and activation stand in a unit and at the ends of a network (He16 Fig. 4).

    ``before`` and ``after`` each weight layer, ``last`` behind the branch's last one, ``post`` behind the addition;
    ``stem`` behind the first layer of the network, ``head`` behind its last unit.
    """

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    last: tuple[str, ...] = ()
    post: tuple[str, ...] = ()
    stem: tuple[str, ...] = ()
    head: tuple[str, ...] = ()

    @property
    def is_preactivation(self) -> bool:
        """Whether the first activation stands before the first weight layer."""
        return bool(self.before)


_BOTH = ("norm", "activation")
PLACEMENTS = {
    "original": Placement(after=_BOTH, last=("norm",), post=("activation",), stem=_BOTH),
    "norm-after-addition": Placement(after=_BOTH, post=_BOTH, stem=_BOTH),
    "activation-before-addition": Placement(after=_BOTH, last=_BOTH, stem=_BOTH),
    "activation-only-preactivation": Placement(
        before=("activation",), after=("norm",), last=("norm",), stem=("norm",), head=("activation",)
    ),
    "preactivation": Placement(before=_BOTH, head=_BOTH),
}
"""Where activation and BatchNorm stand: He16 Fig. 4a … 4e, in the order of the paper."""


class Unit(nn.Module):
    """``post(shortcut(s) + scale(s)·branch(pre(x)))`` with s = x, or s = pre(x) when ``share_pre``.

    A unit with :class:`NoShortcut` is plain: ``post(branch(pre(x)))``. ``scale`` multiplies the branch (He16 Table 1:
    a constant or a gate); without it the branch stays as it is. Shapes: whatever the parts take; shortcut and branch
    must agree. He15 eq. 1 and He16 eq. 1–2, with f = ``post``.
    """

    is_unit = True

    def __init__(
        self,
        branch: nn.Module,
        *,
        shortcut: Shortcut | None = None,
        pre: nn.Module | None = None,
        post: nn.Module | None = None,
        scale: nn.Module | None = None,
        share_pre: bool = False,
    ) -> None:
        super().__init__()
        if not (shortcut is None or isinstance(shortcut, nn.Module)):
            raise TypeError(
                "shortcut must be a module such as gradflow.models.Scaled(0.9) or gradflow.models.Identity(), or None "
                f"for a plain unit; got {shortcut!r}"
            )
        self.pre = pre if pre is not None else nn.Identity()
        self.branch = branch
        self.shortcut = shortcut if shortcut is not None else NoShortcut()
        self.post = post if post is not None else nn.Identity()
        self.scale = scale
        self.share_pre = share_pre

    @property
    def is_plain(self) -> bool:
        """Whether the unit has no shortcut."""
        return isinstance(self.shortcut, NoShortcut)

    def terms(self, x: Tensor) -> tuple[Tensor | None, Tensor]:
        """What is added: the whole shortcut term h(x), None in a plain unit, and the whole branch term F(x)."""
        activated = self.pre(x)
        source = activated if self.share_pre else x
        shortcut = None if self.is_plain else self.shortcut(source)
        branch = self.branch(activated)
        return shortcut, branch if self.scale is None else self.scale(source) * branch

    def forward(self, x: Tensor) -> Tensor:
        shortcut, branch = self.terms(x)
        return self.post(branch if shortcut is None else shortcut + branch)


class Network(nn.Module):
    """A stem, a row of units and a head: ``head(units(stem(x)))``.

    ``input_shape`` is the shape of one sample. ``built_from`` has what closed forms and :func:`deepen`
    need to know of how it was made.
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
    joint: Joint,
    *,
    placement: str,
    activation: str,
    norm: bool,
    dropout: float = 0.0,
    share_pre: bool = False,
) -> Unit:
    """A unit of the given weight layers, with activation and BatchNorm where the placement puts them (He16 Fig. 4).

    ``dropout`` is the probability of a Dropout in front of every weight layer but the first (Zagoruyko & Komodakis
    2016, arXiv 1605.07146, §2.4); without it there is none.
    """
    check_choice("placement", placement, tuple(PLACEMENTS))
    order = PLACEMENTS[placement]
    branch: OrderedDict[str, nn.Module] = OrderedDict()
    pre: nn.Module | None = None
    for place, (name, weight) in enumerate(weights, start=1):
        before = parts_of(order.before, activation, width_in(weight), like=weight, norm=norm)
        if place == 1:
            pre = nn.Sequential(before) if before else None
        else:
            branch.update((f"{key}{place}", part) for key, part in before.items())
            if dropout:
                branch[f"dropout{place}"] = nn.Dropout(dropout)
        branch[name] = weight
        behind = order.last if place == len(weights) else order.after
        after = parts_of(behind, activation, width_out(weight), like=weight, norm=norm)
        branch.update((f"{key}{place}", part) for key, part in after.items())
    last = weights[-1][1]
    post = list(parts_of(order.post, activation, width_out(last), like=last, norm=norm).values())
    return Unit(
        nn.Sequential(branch),
        shortcut=joint.shortcut,
        pre=pre,
        post=nn.Sequential(*post) if len(post) > 1 else post[0] if post else None,
        scale=joint.scale,
        share_pre=share_pre,
    )


def parts_of(
    kinds: Iterable[str], activation: str, width: int, *, like: nn.Module, norm: bool
) -> OrderedDict[str, nn.Module]:
    """BatchNorm (left out unless ``norm``) and activation in the given order, for the features or channels of a layer
    ``like`` this."""
    make = {"norm": lambda: batch_norm(width, like=like), "activation": ACTIVATIONS[activation]}
    return OrderedDict((kind, make[kind]()) for kind in kinds if norm or kind != "norm")


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
