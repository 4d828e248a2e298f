"""A row of units at the point where a batch passes it: each unit as three linear maps, shortcut, branch and post.

Backward, a unit takes ∂E/∂x_{l+1} to v = postᵀ ∂E/∂x_{l+1} and hands hᵀv + Fᵀv to the unit before. Each map can be
asked for alone, as often as wanted; masks, gates and batch statistics stay those of the one forward pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gradflow.measure.lifted import Lifted, largest_exponent, times_power
from gradflow.models.shortcuts import Identity, NoShortcut, Scaled
from gradflow.models.units import Unit

EDGES = {
    torch.float64: (-1000, 480),
    torch.float32: (-120, 60),
    torch.bfloat16: (-120, 60),
    torch.float16: (-14, 7),
}
"""Powers of two between which a signal is left as it is: the upper one leaves room for the squares of BatchNorm."""


@dataclass(frozen=True)
class Link:
    """One call of a unit: its input x, its terms h(x) and F(x), their sum and its output, each cut from the next.

    Tensors are 2^−``exponent`` times the signal where that is out of range; the maps are the true ones all the same.
    ``fed`` and ``fed_total`` are copies of x and of the sum on which the parts may work in place; ``branch_value`` is
    F(x) itself.
    """

    name: str
    unit: Unit
    x: Tensor
    fed: Tensor
    shortcut: Tensor | None
    branch: Tensor
    total: Tensor
    fed_total: Tensor
    output: Tensor
    branch_value: Lifted
    exponent: int
    gap: tuple[Tensor, Tensor] | None
    """What the unit before handed on and what arrived here, if anything stands between them."""

    @property
    def lam(self) -> float:
        """λ of a shortcut λx, 0 without a shortcut, NaN for any other."""
        shared = self.unit.share_pre and not isinstance(self.unit.pre, nn.Identity)
        if not self.unit.is_plain and (shared or self.fed._version):  # what it scales is not x itself
            return math.nan
        return _lam_of(self.unit.shortcut)

    def through_post(self, cotangent: Tensor) -> Tensor:
        """postᵀ v, of the sum's shape."""
        return _vjp(self.output, self.total, cotangent, fed=self.fed_total)

    def through_shortcut(self, cotangent: Tensor) -> Tensor | None:
        """hᵀ v, of x's shape; None without a shortcut."""
        return None if self.shortcut is None else _vjp(self.shortcut, self.x, cotangent, fed=self.fed)

    def through_branch(self, cotangent: Tensor) -> Tensor:
        """Fᵀ v, of x's shape."""
        return _vjp(self.branch, self.x, cotangent, fed=self.fed)

    def through_gap(self, cotangent: Tensor) -> Tensor:
        """From this unit's input to the output of the unit before."""
        return cotangent if self.gap is None else _vjp(self.gap[1], self.gap[0], cotangent)

    def carried(self, tangent: Tensor) -> Tensor:
        """h′ t: what the shortcut makes of a tangent at x, of the sum's shape."""
        if self.shortcut is None:
            return torch.zeros_like(self.total)
        return _jvp(self.shortcut, self.x, tangent, fed=self.fed)

    def posted(self, tangent: Tensor) -> Tensor:
        """post′ t, of the output's shape."""
        return _jvp(self.output, self.total, tangent, fed=self.fed_total)


class Row:
    """The units of a model in the order in which a batch passes them, after one forward pass.

    ``output`` is what the model gave, and means nothing where ``exponent`` is not 0: then the signal behind the last
    unit is held divided by 2^``exponent``. The model, which must be a copy, is left frozen and watched.

    Raises TypeError for a model without units, or with a kind of unit whose parts cannot be told apart; ValueError for
    units that are not passed one after the other, and where the signal leaves the range of its dtype and a unit's terms
    there grow neither in proportion nor not at all.
    """

    def __init__(self, model: nn.Module, x: Tensor) -> None:
        units = _units_of(model)
        if not units:
            raise TypeError(
                "this needs a model with units (gradflow.models.Unit), e.g. resnet(…), or fc_stack(…) of depth 3 or "
                f"more; {type(model).__name__} has none"
            )
        self.links: list[Link] = []
        self.exponent = 0
        self._handed: list[Tensor] = []
        self._fed: tuple[Tensor, int] | None = None
        model.requires_grad_(False)
        for name, unit in units.items():
            unit.forward = self._watched(name, unit)  # type: ignore[method-assign, assignment]
        with torch.enable_grad():
            # Of the batch nothing may reach the loss but through the row.
            self._batch = x.detach().requires_grad_(x.is_floating_point())
            self.output = model(self._batch.clone())
        if not self.links:
            raise TypeError(f"no unit of this {type(model).__name__} is used when it runs")

    @property
    def last(self) -> Tensor:
        """The output of the last unit, a leaf."""
        return self._handed[-1]

    def signal(self, place: int) -> Lifted:
        """x_l: the input of unit l, or for l = U the last unit's output."""
        if place == len(self.links):
            return Lifted(self.last.detach(), self.exponent)
        return Lifted(self.links[place].x.detach(), self.links[place].exponent)

    def cotangent(self, loss: Tensor) -> Tensor:
        """∂loss/∂x_U. Raises ValueError where the signal is out of range or the loss goes round the units."""
        if self.exponent:
            raise ValueError(
                f"the signal behind the last unit is beyond {self.last.dtype}: 2^{self.exponent} times what it holds, "
                f'so there is no loss; split(…, start="random") needs none, or {_advice(self.last)}'
            )
        self._check_chain(loss, "the loss")
        return torch.autograd.grad(loss, self.last)[0]

    def _watched(self, name: str, unit: Unit) -> Callable[[Tensor], Tensor]:
        def forward(arrived: Tensor) -> Tensor:
            link = self._pass(name, unit, arrived)
            self.links.append(link)
            self.exponent = _beyond_edge(link.output, link.exponent)
            held = times_power(link.output.detach(), link.exponent - self.exponent)
            self._handed.append(held.clone().requires_grad_())
            copy = self.last.clone()  # the next layer may work in place
            self._fed = (copy, copy._version)
            return copy

        return forward

    def _pass(self, name: str, unit: Unit, arrived: Tensor) -> Link:
        gap = self._gap(name, arrived)
        x = arrived.detach().clone().requires_grad_()
        fed, state = x.clone(), torch.get_rng_state()
        shortcut, branch = unit.terms(fed)
        branch_value, growth = Lifted(branch.detach(), self.exponent), 1
        if self.exponent:
            with torch.random.fork_rng(devices=()):
                torch.set_rng_state(state)  # the same dropout masks
                shortcut_2, branch_2 = unit.terms(2 * x)
            branch, growth = self._at_scale(branch, branch_2, name)
            if shortcut is not None and shortcut_2 is not None:
                shortcut, _ = self._at_scale(shortcut, shortcut_2, name)
        total = (branch if shortcut is None else shortcut + branch).detach().clone().requires_grad_()
        fed_total = total.clone()
        output = unit.post(fed_total)
        if self.exponent and _growth(output, unit.post(2 * total)) != 1:
            raise ValueError(f"the post-activation of unit {name} is not linear beyond {x.dtype}'s range; {_advice(x)}")
        branch_value = branch_value if growth else Lifted(branch_value.tensor)
        return Link(name, unit, x, fed, shortcut, branch, total, fed_total, output, branch_value, self.exponent, gap)

    def _gap(self, name: str, arrived: Tensor) -> tuple[Tensor, Tensor] | None:
        """What stands between the unit before and this one, if anything does."""
        if self._fed is None or (arrived is self._fed[0] and arrived._version == self._fed[1]):
            return None
        if self.exponent:
            raise ValueError(f"the signal in front of unit {name} is beyond {arrived.dtype}; {_advice(arrived)}")
        self._check_chain(arrived.sum(), f"unit {name}")
        return self.last, arrived

    def _at_scale(self, term: Tensor, doubled: Tensor, name: str) -> tuple[Tensor, int]:
        """A term's 2^−exponent of what it is at the true signal, from its values at the scaled signal and at twice it.

        So far out a term is in proportion to its input (weights, ReLU) or does not change any more (BatchNorm, tanh):
        its growth is 1 or 0.
        """
        growth = _growth(term, doubled)
        if growth is None:
            raise ValueError(
                f"a term of unit {name} is no power of its input beyond {term.dtype}'s range; {_advice(term)}"
            )
        return (term if growth else times_power(term, -self.exponent)), growth

    def _check_chain(self, value: Tensor, where: str) -> None:
        leaves = [*self._handed, *([self._batch] if self._batch.requires_grad else [])]
        found: tuple[Tensor | None, ...] = (None,) * len(leaves)
        if value.requires_grad:
            found = torch.autograd.grad(value, leaves, allow_unused=True, retain_graph=True)
        names = [*(link.name for link in self.links), "the batch round the units"]
        used = [place for place, one in enumerate(found) if one is not None]
        if used != [len(self.links) - 1]:
            raise ValueError(
                f"units must be passed one after the other: {where} takes what "
                f"{', '.join(names[place] for place in used) or 'no unit'} gave, expected {self.links[-1].name} alone"
            )


def _advice(tensor: Tensor) -> str:
    return f"use λ nearer 1 or fewer units{'' if tensor.dtype is torch.float64 else ', or dtype=torch.float64'}"


def _units_of(model: nn.Module) -> dict[str, Unit]:
    """The units of a model by name. Raises for those inside others, and those whose parts cannot be told apart."""
    units: dict[str, Unit] = {}
    for name, module in model.named_modules():
        if not isinstance(module, Unit):
            continue
        outer = next((one for one in units if not one or name.startswith(f"{one}.")), None)
        if outer is not None:
            raise ValueError(f"units must be passed one after the other; {name} is inside {outer or 'another'}")
        if type(module).forward is not Unit.forward:
            raise TypeError(
                f"{type(module).__name__} has a forward of its own, so its shortcut and branch cannot be told apart; "
                "override Unit.terms instead"
            )
        units[name] = module
    return units


def _lam_of(shortcut: nn.Module) -> float:
    if isinstance(shortcut, Scaled):
        return shortcut.lam * _lam_of(shortcut.inner)
    return 0.0 if isinstance(shortcut, NoShortcut) else 1.0 if isinstance(shortcut, Identity) else math.nan


def _beyond_edge(tensor: Tensor, exponent: int) -> int:
    """By which power of two the signal tensor · 2^exponent is beyond the range in which it is left as it is."""
    held = largest_exponent(tensor)
    if held is None:
        return 0
    low, high = EDGES[tensor.dtype]
    return held + exponent - min(max(held + exponent, low), high)


def _growth(value: Tensor, doubled: Tensor) -> int | None:
    """1 if the doubled input doubles the value, 0 if it does not change it, None otherwise."""
    size = float(value.detach().abs().amax())
    rounding = max(1e-6, 16 * torch.finfo(value.dtype).eps)
    for growth in (1, 0):
        if float((doubled - 2**growth * value).detach().abs().amax()) <= rounding * size:
            return growth
    return None


def _is_untouched(output: Tensor, fed: Tensor | None) -> bool:
    """Whether a map gave back what it was fed, unchanged."""
    return output is fed and output._version == 0


def _vjp(output: Tensor, at: Tensor, cotangent: Tensor, *, fed: Tensor | None = None) -> Tensor:
    if _is_untouched(output, fed):
        return cotangent
    if not output.requires_grad:
        return torch.zeros_like(at)
    found = torch.autograd.grad(output, at, cotangent, retain_graph=True, allow_unused=True)[0]
    return torch.zeros_like(at) if found is None else found


def _jvp(output: Tensor, at: Tensor, tangent: Tensor, *, fed: Tensor | None = None) -> Tensor:
    """The derivative along a tangent, as the derivative of the vector-Jacobian product, which is linear."""
    if _is_untouched(output, fed):
        return tangent
    if not output.requires_grad:
        return torch.zeros_like(output)
    dummy = torch.zeros_like(output).requires_grad_()
    back = torch.autograd.grad(output, at, dummy, create_graph=True, allow_unused=True)[0]
    if back is None or not back.requires_grad:
        return torch.zeros_like(output)
    found = torch.autograd.grad(back, dummy, tangent, retain_graph=True, allow_unused=True)[0]
    return torch.zeros_like(output) if found is None else found
