"""What decides the numbers of a run, and is given back after a block: the generators, and torch's threads."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed Python's, NumPy's and torch's generators (CUDA's too, once it is in use) and restore them afterwards."""
    python, arrays = random.getstate(), np.random.get_state()
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices=devices):
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(arrays)


def generator_states() -> dict[str, Any]:
    """Where Python's, NumPy's and torch's generators stand (CUDA's too, once it is in use), as tensors and numbers."""
    version, python, gauss = random.getstate()
    kind, keys, *rest = np.random.get_state(legacy=True)
    return {
        "python": [version, list(python), gauss],
        "numpy": [kind, torch.from_numpy(np.asarray(keys, dtype=np.int64)), *rest],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
    }


def set_generator_states(states: Mapping[str, Any]) -> None:
    """Put the generators where :func:`generator_states` found them."""
    version, python, gauss = states["python"]
    random.setstate((version, tuple(python), gauss))
    kind, keys, *rest = states["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(states["torch"])
    if states["cuda"] and torch.cuda.is_initialized():
        torch.cuda.set_rng_state_all(states["cuda"])


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch work with so many threads inside the block: they decide the last bits of its sums."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def derived_seed(seed: int, stream: int) -> int:
    """A seed for one of several independent streams of random numbers that belong to ``seed``.

    torch's CPU generator looks at the low 32 bits of a seed only, so adding a large number to it would change nothing.
    """
    return int(np.random.SeedSequence((seed, stream)).generate_state(1)[0])
