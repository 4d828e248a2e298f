"""Closed forms for a given network: which of those in :mod:`gradflow.theory` is its own, if any."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from gradflow import theory
from gradflow.measure import norms
from gradflow.models import Constant, Identity, Network, NoShortcut, Scaled, Unit


def predict(network: nn.Module) -> np.ndarray | None:
    """RMS of ∂loss/∂output of each weighted layer relative to the last one with a closed form, shape (L,), from theory.

    None for networks without a closed form and for weights that are no longer a draw of the network's initialisation;
    NaN for a conv stack's Linear head.
    """
    profile = profile_of(network)
    if profile is None:
        return None
    is_conv = getattr(network, "built_from", {}).get("kind") == "conv"
    return np.append(profile.rms, np.nan) if is_conv else profile.rms


def predict_units(network: nn.Module) -> dict[str, np.ndarray]:
    """log10 of the RMS of "shortcut" part, "residual" part and "whole" of ∂loss/∂x_l over ∂loss/∂x_U, (U + 1,) each.

    Empty for networks as in :func:`predict`.
    """
    profile = profile_of(network)
    if profile is None:
        return {}
    moments = profile.units
    logs = {"shortcut": moments.log_shortcut, "residual": moments.log_residual, "whole": moments.log_backward}
    return {part: values / np.log(100) for part, values in logs.items()}


def profile_of(network: nn.Module) -> theory.Profile | None:
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
    terms = [_terms(unit) for unit in network.units if isinstance(unit, Unit)]
    known = [term for term in terms if term is not None]
    if len(known) < len(network.units):
        return None
    shared: dict[str, Any] = {
        name: built[name] for name in ("width", "activation", "init", "span", "norm", "in_features")
    }
    shared |= {"lam": [lam for lam, _ in known], "beta": [beta for _, beta in known]}
    if built["kind"] == "fc":
        shared |= {"depth": built["depth"], "out_features": built["out_features"]}
    else:
        shared |= {"depth": built["depth"] - 1, "kernel": 3, "size": built["size"], "head": False}
    try:
        return theory.stack_profile(**shared)
    except ValueError:  # no closed form for this combination
        return None


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
        if abs(norms.rms(weight) ** 2 / variance - 1) > min(0.99, 6 * (2 / weight.numel()) ** 0.5):
            return False
    return True
