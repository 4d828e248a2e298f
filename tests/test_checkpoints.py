"""A run that is interrupted and goes on equals one that never was, bit for bit."""

from __future__ import annotations

import dataclasses
import errno
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gradflow import fit, load
from gradflow.data import Flip, PadCrop
from gradflow.models import resnet
from gradflow.seeding import seeded
from gradflow.training import fitting
from gradflow.training.checkpoints import FORMAT, Checkpoint
from gradflow.training.recipes import Recipe
from gradflow.training.run import Run

RECIPE = Recipe(name="tiny", batch=16, epochs=3, lr=0.05, augment=(PadCrop(1), Flip(0.5)), normalise="pixel")


def images(samples: int = 40) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Two sets of uint8 images 3×8×8 whose class is their brightest colour."""
    x = torch.randint(0, 256, (2 * samples, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    y = x.double().mean((2, 3)).argmax(1)
    return (x[:samples], y[:samples]), (x[samples:], y[samples:])


def net(seed: int = 0) -> nn.Module:
    """A small residual net whose training needs the global generators: it has dropout on its shortcuts."""
    with seeded(seed):
        return resnet(8, width=4, size=8, num_classes=3, shortcut="dropout")


class StopError(Exception):
    """Thrown into a run to break it."""


def break_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Let a run fail in the middle of the given step, behind the forward pass."""
    take_step = Run.take_step

    def breaking(self: Run) -> None:
        if self.step == step:
            self.model(self.x[:4].float())  # uses random numbers and moves BatchNorm's statistics
            raise StopError
        take_step(self)

    monkeypatch.setattr(Run, "take_step", breaking)


def broken_run(monkeypatch: pytest.MonkeyPatch, step: int, path: Path, recipe: Recipe = RECIPE, **options: Any) -> None:
    """A run with a checkpoint behind each step that fails in the given one."""
    with monkeypatch.context() as patch:
        break_at(patch, step)
        fit(net(), images(), recipe, progress=False, checkpoint=path, checkpoint_every=0, **options)


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


TRACED = {"trace_every": 2, "quantities": ("weight_grad", "activation", "update_ratio", "drift")}


@pytest.mark.parametrize("options", [{}, TRACED, {"evaluate_train": False, "evaluate_every": 2}])
@pytest.mark.parametrize("step", [0, 1, 3, 4, 8])
@pytest.mark.parametrize("change", [{}, {"optimizer": "adam", "lr": 0.01}, {"warmup_lr": 1e-3, "warmup_steps": 5}])
def test_resumed_equals_uninterrupted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, step: int, options: dict[str, Any], change: dict[str, Any]
) -> None:
    recipe = dataclasses.replace(RECIPE, **change)
    whole_net = net()
    whole = fit(whole_net, images(), recipe, seed=3, progress=False, **options)
    with pytest.raises(StopError):
        broken_run(monkeypatch, step, tmp_path / "c.pt", recipe, seed=3, **options)
    resumed_net = net(seed=9)  # other weights: they come from the checkpoint
    resumed = fit(
        resumed_net, images(), recipe, seed=3, progress=False, checkpoint=tmp_path / "c.pt", resume=True, **options
    )
    assert resumed == whole
    assert same_weights(resumed_net, whole_net)


def test_a_checkpoint_changes_nothing(tmp_path: Path) -> None:
    plain, kept = net(), net()
    one = fit(plain, images(), RECIPE, progress=False)
    two = fit(kept, images(), RECIPE, progress=False, checkpoint=tmp_path / "deep" / "c.pt", checkpoint_every=0)
    assert one == two
    assert same_weights(plain, kept)


def test_a_finished_run_is_not_trained_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first, other = net(), net(seed=5)
    whole = fit(first, images(), RECIPE, progress=False, checkpoint=tmp_path / "c.pt")
    break_at(monkeypatch, RECIPE.steps(40) - 1)
    again = fit(other, images(), RECIPE, progress=False, checkpoint=tmp_path / "c.pt", resume=True)
    assert again == whole
    assert same_weights(first, other)
    again.save(tmp_path / "h.json")
    assert load(tmp_path / "h.json") == whole


SCRIPT = """
    import sys, torch
    sys.path.insert(0, {tests!r})
    torch.set_num_threads(1)
    from test_checkpoints import RECIPE, images, net
    from dataclasses import replace
    from gradflow import fit
    if __name__ == "__main__":
        model = net()
        history = fit(model, images(), replace(RECIPE, epochs={epochs}), seed=3, progress=False, checkpoint={path!r},
                      checkpoint_every=0, resume=True, trace_every=5, quantities=("weight_grad", "update_ratio"))
        history.save({path!r} + ".json")
        torch.save(model.state_dict(), {path!r} + ".weights")
"""


def start(path: Path, epochs: int) -> subprocess.Popen[bytes]:
    script = textwrap.dedent(SCRIPT).format(tests=str(Path(__file__).parent), path=str(path), epochs=epochs)
    return subprocess.Popen([sys.executable, "-c", script], env={**os.environ, "OMP_NUM_THREADS": "1"})


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on(tmp_path: Path) -> None:
    epochs = 30
    assert start(tmp_path / "whole.pt", epochs).wait() == 0
    killed = tmp_path / "killed.pt"
    random, steps = np.random.default_rng(0), []
    for _ in range(5):
        process = start(killed, epochs)
        for _ in range(2):  # until it has written what it began with, and a step
            before = killed.stat().st_mtime_ns if killed.exists() else 0
            while process.poll() is None and (not killed.exists() or killed.stat().st_mtime_ns == before):
                time.sleep(0.001)
        time.sleep(random.uniform(0, 0.2))
        process.send_signal(signal.SIGKILL)
        process.wait()
        steps.append(torch.load(killed, weights_only=True)["state"]["step"])
    assert steps == sorted(steps)
    assert len(set(steps)) > 2, "it was killed at several places"
    assert start(killed, epochs).wait() == 0
    assert load(f"{killed}.json") == load(tmp_path / "whole.pt.json")
    weights = [torch.load(f"{path}.weights") for path in (killed, tmp_path / "whole.pt")]
    assert all(torch.equal(*pair) for pair in zip(*(one.values() for one in weights), strict=True))
    assert [path.name for path in tmp_path.glob(".killed*")] == [], "no halves are left"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_keeps_a_checkpoint_and_says_how_to_go_on(tmp_path: Path, number: int) -> None:
    path = tmp_path / "c.pt"
    script = textwrap.dedent(SCRIPT).format(tests=str(Path(__file__).parent), path=str(path), epochs=5000)
    script = script.replace("checkpoint_every=0", "checkpoint_every=1e9")
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
    while not path.exists():
        time.sleep(0.01)
    time.sleep(0.5)
    process.send_signal(number)
    error = process.communicate()[1]
    assert process.returncode != 0
    assert "KeyboardInterrupt: stopped after step" in error
    assert "resume=True" in error
    assert torch.load(path, weights_only=True)["state"]["step"] > 0


def test_ctrl_c_stops_behind_a_whole_step(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    take_step = Run.take_step

    def interrupted(self: Run) -> None:
        if self.step == 4:
            os.kill(os.getpid(), signal.SIGINT)
        take_step(self)

    handler = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(Run, "take_step", interrupted)
        with pytest.raises(KeyboardInterrupt, match=r"after step 5 of 9; .*c\.pt holds"):
            fit(net(), images(), RECIPE, progress=False, checkpoint=tmp_path / "c.pt")
    assert signal.getsignal(signal.SIGINT) is handler
    resumed = fit(net(), images(), RECIPE, progress=False, checkpoint=tmp_path / "c.pt", resume=True)
    assert resumed == fit(net(), images(), RECIPE, progress=False)


# ── what may go wrong on disk ──


def test_an_existing_run_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    fit(net(), images(), RECIPE, progress=False, checkpoint=path)
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match=r"holds a run already: resume=True"):
        fit(net(), images(), RECIPE, progress=False, checkpoint=path)
    with pytest.raises(ValueError, match="is a folder"):
        fit(net(), images(), RECIPE, progress=False, checkpoint=tmp_path)
    assert path.read_bytes() == before


def test_a_full_disk_is_found_before_training_and_harms_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "c.pt"

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        patch.setattr(Run, "take_step", lambda self: pytest.fail("trained before it was known that nothing is kept"))
        with pytest.raises(OSError, match=r"cannot write .*c\.pt: .*No space left.*nothing was written"):
            fit(net(), images(), RECIPE, progress=False, checkpoint=path)
    assert not path.exists()
    with pytest.raises(StopError):
        broken_run(monkeypatch, 5, path)
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="unharmed"):
            fit(net(), images(), RECIPE, progress=False, checkpoint=path, resume=True)
    assert path.read_bytes() == before
    assert [name for name in os.listdir(tmp_path) if name.startswith(".")] == []


def test_an_unwritable_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    model = net()
    before = [weight.clone() for weight in model.parameters()]
    with pytest.raises(OSError, match="cannot write"):
        fit(model, images(), RECIPE, progress=False, checkpoint=tmp_path / "file" / "c.pt")
    assert all(map(torch.equal, before, model.parameters()))


def test_two_processes_do_not_write_one_checkpoint(tmp_path: Path) -> None:
    with (
        Checkpoint(tmp_path / "c.pt", {}, every=60.0),
        pytest.raises(BlockingIOError, match="another process is training"),
    ):
        fit(net(), images(), RECIPE, progress=False, checkpoint=tmp_path / "c.pt")


FOREIGN = "no checkpoint of gradflow, or a damaged one: choose another file, or move this one away"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", FOREIGN),
        (b"no torch file", FOREIGN),
        ("half", FOREIGN),
        ("holes", FOREIGN),
        ({"weights": 1}, FOREIGN),
        ({"format": "gradflow-checkpoint-0"}, "no checkpoint of this version of gradflow: choose another file"),
    ],
)
def test_what_is_no_checkpoint(tmp_path: Path, content: Any, words: str) -> None:
    path = tmp_path / "c.pt"
    if content == "half":
        fit(net(), images(), RECIPE, progress=False, checkpoint=path)
        path.write_bytes(path.read_bytes()[:2000])
    elif content == "holes":
        fit(net(), images(), RECIPE, progress=False, checkpoint=path)
        whole = bytearray(path.read_bytes())
        start = whole.index(b"gradflow-checkpoint-") + 50
        whole[start : start + 200] = bytes(200)
        path.write_bytes(whole)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=rf"c\.pt is {words}"):
        fit(net(), images(), RECIPE, progress=False, checkpoint=path, resume=True)
    with pytest.raises(FileExistsError, match=r"c\.pt (is|holds)") as raised:
        fit(net(), images(), RECIPE, progress=False, checkpoint=path)
    assert ("holds a run" in str(raised.value)) is (words != FOREIGN)
    assert path.read_bytes() == before


class Evil:
    """Runs code when it is unpickled by a loader that trusts its file."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("evil-was-here",)


def test_a_checkpoint_runs_no_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"format": FORMAT, "identity": Evil()}, tmp_path / "c.pt")
    with pytest.raises(ValueError, match=FOREIGN):
        fit(net(), images(), RECIPE, progress=False, checkpoint=tmp_path / "c.pt", resume=True)
    assert not (tmp_path / "evil-was-here").exists()


def test_a_checkpoint_of_another_run_says_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    fit(net(), images(), RECIPE, progress=False, checkpoint=path)
    (x, y), test = images()

    def refused(
        words: str, model: nn.Module | None = None, data: Any = None, recipe: Recipe = RECIPE, **options: Any
    ) -> None:
        with pytest.raises(ValueError, match=rf"belongs to another run: .*{words}"):
            fit(model or net(), data or images(), recipe, progress=False, checkpoint=path, resume=True, **options)

    refused("lr there is 0.05, here 0.1", recipe=dataclasses.replace(RECIPE, lr=0.1))
    refused("epochs there is 3, here 4", recipe=dataclasses.replace(RECIPE, epochs=4))
    refused("augment", recipe=dataclasses.replace(RECIPE, augment=()))
    refused("seed there is 0, here 1", seed=1)
    refused("model stem.conv.weight", model=resnet(8, width=8, size=8, num_classes=3, shortcut="dropout"))
    refused("data train x there", data=((x.flip(0), y), test))
    refused("precision there is None, here bfloat16", precision="bfloat16")


@pytest.mark.parametrize("layers", [lambda name, module: "conv" in name, (nn.Conv2d,), nn.Linear, ("*.conv1",)])
def test_layers_of_any_kind_can_be_resumed(tmp_path: Path, layers: Any) -> None:
    options = {"trace_every": 3, "layers": layers, "checkpoint": tmp_path / "c.pt", "progress": False}
    whole = fit(net(), images(), RECIPE, **options)
    assert fit(net(), images(), RECIPE, resume=True, **options) == whole


def test_another_number_of_threads_is_mentioned(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "c.pt"
    fit(net(), images(), RECIPE, progress=False, checkpoint=path)
    content = torch.load(path, weights_only=True)
    content["setting"]["threads"] += 1
    torch.save(content, path)
    fit(net(), images(), RECIPE, progress=False, checkpoint=path, resume=True)
    assert "threads" in caplog.text
    assert "last bits may differ" in caplog.text


def test_the_checkpoint_before_a_divergence_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    with pytest.raises(FloatingPointError, match="at step"):
        fit(net(), images(), dataclasses.replace(RECIPE, lr=1e38), progress=False, checkpoint=path, checkpoint_every=0)
    state = torch.load(path, weights_only=True)["state"]
    assert all(weight.isfinite().all() for weight in state["model"].values())


def test_memory_does_not_grow_over_epochs(tmp_path: Path) -> None:
    import gc

    counts: list[int] = []
    note = Run.note

    def counting(self: Run) -> None:
        note(self)
        gc.collect()
        counts.append(sum(issubclass(type(one), Tensor) for one in gc.get_objects()))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "note", counting)
        fit(net(), images(), dataclasses.replace(RECIPE, epochs=6), progress=False, checkpoint=tmp_path / "c.pt")
    assert len(set(counts[2:])) == 1, counts


def test_fitting_has_no_second_pass_over_a_large_training_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "_SMALL", 39)
    history = fit(net(), images(), RECIPE, progress=False)
    exact = fit(net(), images(), RECIPE, progress=False, evaluate_train=True)
    assert np.isnan(history.train_loss[0])
    assert np.isnan(history.train_error[0])
    np.testing.assert_array_equal(history.test_loss, exact.test_loss)
    assert (history.train_loss[1:] != exact.train_loss[1:]).all()
    assert "train mode" in history.provenance["train_curve"]
    assert "train_curve" not in exact.provenance
