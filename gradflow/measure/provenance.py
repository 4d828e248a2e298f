"""Where a result comes from: what is needed to get the same numbers again."""

from __future__ import annotations

import platform
import time
from functools import cache
from importlib import metadata
from typing import Any

import torch
from torch import nn

_PACKAGES = ("gradflow-toolkit", "torch", "numpy", "matplotlib")


def describe(model: nn.Module | None = None, *, seconds: float | None = None, **facts: Any) -> dict[str, Any]:
    """Versions, dtype, device, mode and threads, with further facts such as seed, batch or loss; time and machine in
    ``run``."""
    found: dict[str, Any] = {
        "versions": {name: _version(name) for name in _PACKAGES},
        "threads": torch.get_num_threads(),
    }
    if model is not None:
        tensor = next(model.parameters(), None)
        found["model"] = type(model).__name__
        found["mode"] = "train" if model.training else "eval"
        found["dtype"] = str(tensor.dtype).removeprefix("torch.") if tensor is not None else None
        found["device"] = tensor.device.type if tensor is not None else None
    found.update(facts)
    found["run"] = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **({} if seconds is None else {"seconds": seconds}),
    }
    return found


@cache
def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
