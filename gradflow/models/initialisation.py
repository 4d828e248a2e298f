"""Initial weights by name."""

from __future__ import annotations

import math
import re

from torch import nn

INITS = ("default", "he", "he_fan_out", "xavier", "orthogonal", "normal(SIGMA)")
_NORMAL = re.compile(r"normal\(([0-9.eE+-]+)\)")


def initialise(model: nn.Module, init: str) -> None:
    """Draw the weights of every Linear and Conv2d of a model anew; all but "default" set their biases to zero.

    "default": PyTorch's, uniform with Var(w) = 1/(3·fan_in), biases too; "he": normal, Var(w) = 2/fan_in (He et al.
    2015, arXiv 1502.01852, eq. 10); "he_fan_out": 2/fan_out (eq. 14); "xavier": normal, 2/(fan_in + fan_out) (Glorot &
    Bengio 2010, eq. 12); "orthogonal": Saxe et al. 2014, arXiv 1312.6120; "normal(σ)": normal with standard deviation
    σ. Raises ValueError for another name.
    """
    check_init(init)
    sigma = _sigma(init)
    for module in model.modules():
        if not isinstance(module, (nn.Linear, nn.Conv2d)) or init == "default":
            continue
        if init == "xavier":
            nn.init.xavier_normal_(module.weight)
        elif init == "orthogonal":
            nn.init.orthogonal_(module.weight)
        elif sigma is not None:
            nn.init.normal_(module.weight, std=sigma)
        else:
            nn.init.kaiming_normal_(
                module.weight, mode="fan_out" if init == "he_fan_out" else "fan_in", nonlinearity="relu"
            )
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def check_init(init: str) -> None:
    """Raise ValueError that lists the choices unless ``init`` is one of them."""
    if init not in INITS[:-1] and _sigma(init) is None:
        raise ValueError(
            f"init must be one of {', '.join(INITS)} with a number for SIGMA, e.g. normal(0.05); got {init!r}"
        )


def _sigma(init: str) -> float | None:
    found = _NORMAL.fullmatch(init) if isinstance(init, str) else None
    try:
        sigma = float(found.group(1)) if found else math.nan
    except ValueError:
        return None
    return sigma if sigma >= 0 and math.isfinite(sigma) else None
