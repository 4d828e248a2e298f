"""What a trace keeps of each layer, of each forward pass, and of each call of a layer in it."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from gradflow.measure.selection import weights
from gradflow.measure.signals import Sample


class Layer:
    """A chosen module, its place among the chosen, and the weights that are to be watched."""

    def __init__(self, index: int, name: str, module: nn.Module, wants_weights: bool) -> None:
        self.index = index
        self.name = name
        self.module = module
        self.weights = weights(module) if wants_weights else {}
        self.unwatched = dict(self.weights)
        self.at_start: list[Tensor] = []
        self.before: list[Tensor] = []
        self.started: Call | None = None
        self.without_grad: list[Call] = []
        self.shape: tuple[int, ...] = ()

    def values(self) -> list[Tensor]:
        """The weights as they are now, outside autograd."""
        return [weight.detach() for weight in self.weights.values()]

    def copies(self) -> list[Tensor]:
        """The weights as they are now, to keep."""
        return [weight.clone() for weight in self.values()]


class Pass:
    """One forward pass of the model: what was read in it counts once a gradient comes back through it."""

    def __init__(self) -> None:
        self.calls: list[Call] = []


class Call:
    """One forward call of a layer in a pass, and what was read from its output; ``start`` puts calls in order.

    A call counts if autograd was on, or if activation checkpointing has repeated it with autograd on.
    """

    __slots__ = ("counts", "forward", "layer", "owner", "start")
    counter = itertools.count()

    def __init__(self, layer: Layer, owner: Pass | None) -> None:
        self.layer = layer
        self.owner = owner
        self.start = next(Call.counter)
        self.counts = torch.is_grad_enabled()
        self.forward: list[Sample] = []
        if owner is not None:
            owner.calls.append(self)
