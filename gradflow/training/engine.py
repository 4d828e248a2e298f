"""On what, and how, the steps of a run are computed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from gradflow.training.processes import Processes

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, kw_only=True)
class Engine:
    """Device, precision, and what makes steps quicker at the price of other last bits.

    precision: "float32", or "bfloat16" or "float16" by autocast. fused: one kernel for the optimiser. compile: True, or
    a mode of torch.compile. Raises ValueError for another precision.
    """

    device: torch.device
    precision: str = "float32"
    fused: bool = False
    compile: bool | str = False
    processes: Processes = field(default_factory=Processes)

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}; got {self.precision!r}")

    def bring(self, model: nn.Module) -> Callable[[Tensor], Tensor]:
        """Move a model here, convolutions in channels-last order, and return what computes its output in training.

        Channels last takes 0.80 times as long on a CPU (ResNet-20, batch 128; ``make bench``).
        """
        model.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        forward = self.processes.forward_of(model, self.device)
        if not self.compile:
            return forward
        return torch.compile(forward, mode=self.compile if isinstance(self.compile, str) else None)

    def scaler(self) -> torch.amp.GradScaler:
        """The scaler of gradients that float16 needs; it does nothing otherwise."""
        return torch.amp.GradScaler(self.device.type, enabled=self.precision == "float16")

    def autocast(self) -> AbstractContextManager[Any]:
        """Inside the block a model computes in the wanted precision."""
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, PRECISIONS[self.precision])

    def choices(self) -> dict[str, Any]:
        """What decides the last bits, as plain values, as far as it is not the usual."""
        found = {"precision": self.precision, "fused": self.fused, "compile": self.compile}
        usual = {"precision": "float32", "fused": False, "compile": False}
        return {name: value for name, value in found.items() if value != usual[name]}
