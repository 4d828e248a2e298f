"""Closed forms for a given network: which of those in :mod:`gradflow.theory` is its own, if any."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor, nn

from gradflow import theory
from gradflow.measure import norms
from gradflow.models import Constant, Identity, Network, NoShortcut, Scaled, Unit


def predict(network: nn.Module, x: Tensor) -> np.ndarray | None:
    """RMS of ∂loss/∂output of each weighted layer relative to the last one with a closed form, shape (L,), from theory.

    ``x`` is the batch, whose mean square theory starts from. None for networks without a closed form, and for weights
    whose spread is no longer that of the network's initialisation; NaN for a conv stack's Linear head.
    """
    profile = profile_of(network, x)
    if profile is None:
        return None
    is_conv = getattr(network, "built_from", {}).get("kind") == "conv"
    return np.append(profile.rms, np.nan) if is_conv else profile.rms


def predict_units(network: nn.Module, x: Tensor) -> dict[str, np.ndarray]:
    """log10 of the RMS of "shortcut" part, "residual" part and "whole" of ∂loss/∂x_l over ∂loss/∂x_U, (U + 1,) each.

    Empty for networks as in :func:`predict`.
    """
    profile = profile_of(network, x)
    if profile is None:
        return {}
    moments = profile.units
    logs = {"shortcut": moments.log_shortcut, "residual": moments.log_residual, "whole": moments.log_backward}
    return {part: values / np.log(100) for part, values in logs.items()}


def predict_paths(network: nn.Module, x: Tensor) -> np.ndarray | None:
    """log10 of the RMS of what all paths of length k = 0 … U carry of ∂loss/∂x_0 over that of ∂loss/∂x_U, (U + 1,).

    None for networks as in :func:`predict`.
    """
    profile = profile_of(network, x)
    if profile is None:
        return None
    lam = [lam for lam, _ in _all_terms(network)]
    return theory.log10_path_moments(len(lam), lam=lam, gain=np.exp(profile.units.log_gain).tolist()) / 2


def profile_of(network: nn.Module, x: Tensor) -> theory.Profile | None:
    """The moments that theory gives a stack as it was built; None where there is no closed form (see predict)."""
    built: dict[str, Any] = getattr(network, "built_from", {})
    if (
        not isinstance(network, Network)
        or built.get("kind") not in ("fc", "conv")
        or built["placement"] != "preactivation"
        or not _is_at_start(network, str(built["init"]))
        # In eval mode BatchNorm divides by its running statistics, of which theory knows nothing.
        or (built["norm"] and not network.training)
    ):
        return None
    known = _all_terms(network)
    if len(known) < len(network.units):
        return None
    shared: dict[str, Any] = {
        name: built[name] for name in ("width", "activation", "init", "span", "norm", "in_features")
    }
    shared |= {"lam": [lam for lam, _ in known], "beta": [beta for _, beta in known]}
    if built["kind"] == "fc":
        shared |= {"depth": built["depth"], "out_features": built["out_features"]}
    else:
        if x.dim() != 4 or x.shape[-1] != x.shape[-2]:
            return None  # theory knows square maps only
        shared |= {"depth": built["depth"] - 1, "kernel": 3, "size": x.shape[-1], "head": False}
    shared["input_moment"] = float(x.detach().double().square().mean())
    try:
        return theory.stack_profile(**shared)
    except ValueError:  # no closed form for this combination
        return None


def _all_terms(network: nn.Module) -> list[tuple[float, float]]:
    """λ and β of the units that have them, in order."""
    found = [_terms(module) for module in network.modules() if isinstance(module, Unit)]
    return [term for term in found if term is not None]


def _terms(unit: Unit) -> tuple[float, float] | None:
    """λ and β of a unit λx + βF(x), or None for another kind."""
    beta = 1.0 if unit.scale is None else unit.scale.value if isinstance(unit.scale, Constant) else None
    lam = {NoShortcut: 0.0, Identity: 1.0}.get(type(unit.shortcut))
    if isinstance(unit.shortcut, Scaled) and isinstance(unit.shortcut.inner, Identity):
        lam = unit.shortcut.lam
    return None if lam is None or beta is None else (lam, beta)


def _is_at_start(network: Network, init: str) -> bool:
    """Whether the spread of every layer's weights is what its initialisation gives, within six standard errors."""
    for layer in network.modules():
        if not isinstance(layer, (nn.Linear, nn.Conv2d)):
            continue
        weight = layer.weight
        kernel = weight[0, 0].numel()
        try:
            variance, _ = theory.weight_variance(
                init, weight.shape[1] * kernel, weight.shape[0] * (1 if init == "orthogonal" else kernel)
            )
        except ValueError:
            return False
        # Weights of zero are never a draw, however few they are.
        if abs(norms.rms(weight) ** 2 / variance - 1) > min(0.99, 6 * (2 / weight.numel()) ** 0.5):
            return False
    return True
