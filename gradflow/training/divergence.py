"""Why a loss is not finite: the layer whose gradient, or whose output, went first."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gradflow.measure import norms


def explain(model: nn.Module, step: int, loss: float, inputs: Tensor, lr: float) -> str:
    """Say at which step the loss ceased to be finite, and where it began.

    The gradients of the step before, still in the model, tell whether one of them broke the weights: of those that are
    not finite the one nearest to the output, for a gradient travels backwards. If all were finite the step was too
    large, and the batch is sent through the model once more to see whose output overflows first. Before the first step
    there is none to blame.
    """
    if step == 0:
        return f"the training loss is {loss} before the first step: {_broken_start(model, inputs)}"
    broken = [name for name, weight in model.named_parameters() if _is_broken(weight.grad)]
    if broken:
        where = f"at step {step - 1} the gradient of layer {_layer(broken[-1])} went first"
    else:
        sizes = {name: norms.rms(weight.grad) for name, weight in model.named_parameters() if weight.grad is not None}
        largest = max(sizes, key=lambda name: sizes[name], default=None)
        first = _first_broken_output(model, inputs)
        where = f"the output of layer {first} went first" if first else "every layer's output is finite"
        if largest is not None:
            where += (
                f"; the gradients of step {step - 1} were still finite, the largest that of layer "
                f"{_layer(largest)} with RMS {sizes[largest]:.1e}"
            )
    return f"the training loss is {loss} at step {step}: {where}; try a smaller lr than {lr:g}, or a warm-up"


def _broken_start(model: nn.Module, inputs: Tensor) -> str:
    """What of a new model, or of one that was loaded, is not finite."""
    broken = next((name for name, weight in model.named_parameters() if _is_broken(weight)), None)
    if broken is not None:
        return f"the weights of layer {_layer(broken)} are not finite; draw or load others"
    first = _first_broken_output(model, inputs)
    where = f"the output of layer {first} went first" if first else "every layer's output is finite in the first batch"
    return f"{where}; make the initial weights, the shortcuts or the inputs smaller: no learning rate mends this"


def _is_broken(tensor: Tensor | None) -> bool:
    return tensor is not None and not bool(tensor.isfinite().all())


def _layer(parameter: str) -> str:
    return parameter.rpartition(".")[0] or parameter


@torch.no_grad()
def _first_broken_output(model: nn.Module, inputs: Tensor) -> str | None:
    """The first leaf, as the batch passes them, that gives a number that is not finite."""
    found: list[str] = []

    def looking_at(name: str) -> object:
        def look(module: nn.Module, args: object, output: object) -> None:
            if isinstance(output, Tensor) and _is_broken(output):
                found.append(name)

        return look

    leaves = {name: module for name, module in model.named_modules() if not list(module.children())}
    handles = [module.register_forward_hook(looking_at(name)) for name, module in leaves.items()]
    try:
        model(inputs)
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else None
