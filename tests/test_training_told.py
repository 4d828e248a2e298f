"""What a training tells while it goes on, and what is left of one that diverges."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import gradflow
from gradflow.models import fc_stack
from gradflow.seeding import seeded
from gradflow.training.recipes import Recipe

RECIPE = Recipe(name="tiny", epochs=2, batch=8, lr=0.05)
STEPS = 8
LARGE = 10000.0
"""A learning rate at which the loss overflows after the first epoch."""


def tiny() -> Any:
    x = torch.randn(30, 6, generator=torch.Generator().manual_seed(0))
    y = torch.randint(0, 3, (30,), generator=torch.Generator().manual_seed(1))
    return (x, y), (x[:10], y[:10])


def fit(recipe: Recipe = RECIPE, **options: Any) -> gradflow.results.History:
    with seeded(0):
        net = fc_stack(4, 8, in_features=6, out_features=3)
    return gradflow.fit(net, tiny(), recipe, **options)


def test_each_step_is_told_and_no_bar_is_shown(capfd: pytest.CaptureFixture[str]) -> None:
    told: list[tuple[int, int]] = []
    history = fit(progress=lambda *where: told.append(where), trace_every=3)
    assert told == [(step, STEPS) for step in range(1, STEPS + 1)]
    assert history == fit(progress=False, trace_every=3)
    assert capfd.readouterr() == ("", "")


def test_what_the_listener_raises_ends_the_run_and_leaves_nothing_behind() -> None:
    class Enough(BaseException):
        pass

    def listen(step: int, total: int) -> None:
        if step == 3:
            raise Enough

    net = fc_stack(4, 8, in_features=6, out_features=3).eval()
    before = torch.get_rng_state()
    with pytest.raises(Enough):
        gradflow.fit(net, tiny(), RECIPE, progress=listen, trace_every=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert not net.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_a_run_that_diverges_leaves_its_history() -> None:
    """The trace is that of one put around the run, the curve that of the losses taken by hand between two steps."""
    data, losses = tiny(), []
    with seeded(0):
        net = fc_stack(4, 8, in_features=6, out_features=3)

    def listen(step: int, total: int) -> None:
        if step % (STEPS // 2) == 0:
            with torch.no_grad():
                losses.append(float(torch.nn.functional.cross_entropy(net(data[0][0]), data[0][1])))

    with (
        pytest.raises(FloatingPointError, match=r"at step \d+") as raised,
        gradflow.trace(net, quantities="weight_grad") as around,
    ):
        gradflow.fit(net, data, replace(RECIPE, epochs=20, lr=LARGE), progress=listen, trace_every=2)
    left = raised.value.history
    failed = int(str(raised.value).split("at step ")[1].split(":")[0])
    assert failed > STEPS // 2
    assert around.result.steps == failed
    np.testing.assert_array_equal(left.traced_steps, np.arange(0, failed, 2))
    np.testing.assert_array_equal(left.trace.values, around.result.values[::2])
    np.testing.assert_array_equal(left.steps, np.arange(0, failed, STEPS // 2))
    np.testing.assert_array_equal(left.train_loss[1:], losses)
    assert left.epochs == len(losses) == len(left.epoch) - 1


@pytest.mark.parametrize("evaluate_train", [True, False])
@pytest.mark.parametrize(
    ("weight", "words"),
    [
        (float("nan"), ": the weights of layer units.0.branch.fc2 are not finite; draw or load others$"),
        (3e38, ": the output of layer units.0.branch.fc2 went first; make the initial weights, .* no learning rate"),
    ],
)
def test_a_run_whose_first_loss_is_not_finite_says_so_and_leaves_none(
    weight: float, words: str, evaluate_train: bool
) -> None:
    net = fc_stack(4, 8, in_features=6, out_features=3)
    with torch.no_grad():
        net.get_parameter("units.0.branch.fc2.weight").fill_(weight)
    with pytest.raises(FloatingPointError, match=f"before the first step{words}") as raised:
        gradflow.fit(net, tiny(), RECIPE, progress=False, trace_every=1, evaluate_train=evaluate_train)
    assert "smaller lr" not in str(raised.value)
    assert evaluate_train is False or not hasattr(raised.value, "history")
