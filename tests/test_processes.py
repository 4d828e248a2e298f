"""Training in two processes (gloo on CPUs) against one process with the same batches."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gradflow import fit, load
from gradflow.data import Flip, PadCrop
from gradflow.models import conv_stack
from gradflow.seeding import seeded
from gradflow.training.processes import Processes
from gradflow.training.recipes import Recipe

RECIPE = Recipe(name="tiny", batch=16, epochs=3, lr=0.05, augment=(PadCrop(1), Flip(0.5)), normalise="channel")


def images(samples: int = 42) -> Any:
    x = torch.randint(0, 256, (2 * samples, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    y = x.double().mean((2, 3)).argmax(1)
    return (x[:samples], y[:samples]), (x[samples:], y[samples:])


def net() -> torch.nn.Module:
    """A net without BatchNorm, whose statistics would be those of half a batch."""
    with seeded(0):
        return conv_stack(4, 4, size=8, num_classes=3, shortcut=1.0)


SCRIPT = """
    import sys, torch
    sys.path.insert(0, {tests!r})
    torch.set_num_threads(1)
    from test_processes import RECIPE, images, net
    from gradflow import fit
    from gradflow.training.processes import Processes, join_processes
    device = join_processes("cpu")
    history = fit(net(), images(), RECIPE, progress=False, device=device, checkpoint={folder!r} + "/c.pt",
                  evaluate_train=False)
    if Processes().is_first:
        history.save({folder!r} + "/h.json")
    torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_give_the_loss_curve_of_one(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT).format(tests=str(Path(__file__).parent), folder=str(tmp_path)))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    two, model = load(tmp_path / "h.json"), net()
    one = fit(model, images(), RECIPE, progress=False, evaluate_train=False)
    for name in ("train_loss", "test_loss", "train_error", "test_error"):
        np.testing.assert_allclose(getattr(two, name), getattr(one, name), rtol=1e-4, err_msg=name)
    assert two.provenance["processes"] == 2
    kept = torch.load(tmp_path / "c.pt", weights_only=True)["state"]["model"]
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(kept[name], weight, rtol=1e-3, atol=1e-5)
    # Going on alone from what two began: it is finished.
    again = fit(
        net(), images(), RECIPE, progress=False, checkpoint=tmp_path / "c.pt", resume=True, evaluate_train=False
    )
    np.testing.assert_array_equal(again.train_loss, two.train_loss)


def test_shares_are_disjoint_and_complete() -> None:
    two = Processes(), Processes()
    for rank, one in enumerate(two):
        one.count, one.rank = 2, rank
    for size in (2, 3, 16):
        taken = [list(range(size))[one.rows(size)] for one in two]
        assert sorted([*taken[0], *taken[1]]) == list(range(size))
    assert list(range(5))[Processes().rows(5)] == list(range(5))


def test_batches_too_small_for_the_processes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 3)
    monkeypatch.setattr("torch.distributed.get_rank", lambda: 0)
    with pytest.raises(ValueError, match="leave a batch of 2 for 3 processes"):
        fit(net(), images(18), RECIPE, progress=False)
