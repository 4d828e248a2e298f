"""One run in several processes, as torchrun starts them: each takes its share of every batch."""

from __future__ import annotations

import os
from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor, nn


class Processes:
    """The processes of one run: this one alone, or, inside an initialised process group, all of them."""

    def __init__(self) -> None:
        together = dist.is_available() and dist.is_initialized()
        self.count = dist.get_world_size() if together else 1
        self.rank = dist.get_rank() if together else 0

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files and shows the progress."""
        return self.rank == 0

    def rows(self, size: int) -> slice:
        """Which samples of a batch of that size this process takes: every ``count``-th."""
        return slice(self.rank, size, self.count)

    def sums(self, *values: Tensor) -> list[float]:
        """Scalars added up over all processes, brought to the host in one transfer."""
        together = torch.stack([value.double() for value in values])
        if self.count > 1:
            dist.all_reduce(together)
        return together.tolist()

    def wait(self) -> None:
        """Let all processes come here before any goes on."""
        if self.count > 1:
            dist.barrier()

    def forward_of(self, model: nn.Module, device: torch.device) -> Callable[[Tensor], Tensor]:
        """The model itself, or one whose gradients are averaged over the processes."""
        if self.count == 1:
            return model
        return nn.parallel.DistributedDataParallel(model, device_ids=[device] if device.type == "cuda" else None)


def join_processes(device: str = "auto") -> torch.device:
    """Join the process group if torchrun started this program, and return the device of this process.

    device: "cpu", "cuda", or "auto": CUDA where there is one. Under torchrun each process gets a GPU of its own, or,
    on CPUs, its share by gloo.
    """
    found = chosen_device(device)
    if "TORCHELASTIC_RUN_ID" not in os.environ or dist.is_initialized():
        return found
    if found.type == "cuda":
        found = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(found)
    dist.init_process_group("nccl" if found.type == "cuda" else "gloo")
    return found


def chosen_device(device: str | torch.device) -> torch.device:
    """The device of that name; "auto" is CUDA where there is one. Raises ValueError for one that is not there."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except RuntimeError:
        found = torch.device("meta")
    if found.type == "meta":
        raise ValueError(f'device must be "auto", "cpu", "cuda" or "cuda:N"; got {str(device)!r}')
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise ValueError(f'device {str(found)!r} is not there: torch sees {torch.cuda.device_count()} GPUs; use "auto"')
    return found
