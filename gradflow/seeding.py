"""Seeds that are given back: inside the block every generator starts anew, after it each goes on where it was."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

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


def derived_seed(seed: int, stream: int) -> int:
    """A seed for one of several independent streams of random numbers that belong to ``seed``.

    torch's CPU generator looks at the low 32 bits of a seed only, so adding a large number to it would change nothing.
    """
    return int(np.random.SeedSequence((seed, stream)).generate_state(1)[0])
