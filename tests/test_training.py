"""fit() against a training loop written out, and study() against fit()."""

from __future__ import annotations

import dataclasses
import math
import random
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from gradflow import fit, load, study
from gradflow.models import fc_stack
from gradflow.seeding import seeded
from gradflow.training.recipes import Recipe, lecture_digits

RECIPE = Recipe(name="tiny", batch=16, epochs=3, lr=0.05)


def tiny(samples: int = 40, classes: int = 3) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Two sets of 6 features whose class is where the largest of the first few is; the last batch is a small one."""
    x = torch.randn(2 * samples, 6, generator=torch.Generator().manual_seed(1))
    y = x[:, :classes].argmax(1)
    return (x[:samples], y[:samples]), (x[samples:], y[samples:])


def net(seed: int = 0, **options: Any) -> nn.Module:
    with seeded(seed):
        return fc_stack(4, 6, out_features=3, **options)


def by_hand(model: nn.Module, recipe: Recipe, seed: int) -> dict[str, list[float]]:
    """The same training: SGD or Adam, one-cycle or constant, batches reshuffled each epoch."""
    (x, y), test = tiny()
    steps = recipe.epochs * math.ceil(len(x) / recipe.batch)
    if recipe.optimizer == "adam":
        optimizer = torch.optim.Adam(model.parameters(), recipe.lr, weight_decay=recipe.weight_decay)
    else:
        optimizer = torch.optim.SGD(
            model.parameters(), recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay
        )
    one_cycle = recipe.schedule == "one-cycle"
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.lr, total_steps=steps) if one_cycle else None
    shuffle = torch.Generator().manual_seed(seed)
    found: dict[str, list[float]] = {name: [] for name in ("train_loss", "train_error", "test_loss", "test_error")}

    def note() -> None:
        model.eval()
        with torch.no_grad():
            for name, (inputs, labels) in (("train", (x, y)), ("test", test)):
                output = model(inputs)
                found[f"{name}_loss"].append(F.cross_entropy(output, labels).item())
                wrong = sum(int(row.argmax()) != int(label) for row, label in zip(output, labels, strict=True))
                found[f"{name}_error"].append(wrong / len(labels))
        model.train()

    note()
    for _ in range(recipe.epochs):
        order = torch.randperm(len(x), generator=shuffle)
        for start in range(0, len(x), recipe.batch):
            chosen = order[start : start + recipe.batch]
            optimizer.zero_grad()
            F.cross_entropy(model(x[chosen]), y[chosen]).backward()
            optimizer.step()
            if scheduler is not None:
                scheduler.step()
        note()
    return found


@pytest.mark.parametrize(
    "change", [{}, {"schedule": "constant"}, {"optimizer": "adam", "lr": 0.01}, {"batch": 7, "momentum": 0.5}]
)
@pytest.mark.parametrize("norm", [False, True])
def test_fit_is_bit_equal_to_a_loop_by_hand(change: dict[str, Any], norm: bool) -> None:
    recipe = dataclasses.replace(RECIPE, **change)
    model, other = net(norm=norm), net(norm=norm)
    history = fit(model, tiny(), recipe, seed=5, progress=False)
    expected = by_hand(other, recipe, 5)
    for name in ("train_loss", "train_error", "test_loss", "test_error"):
        assert getattr(history, name).tolist() == expected[name], name
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True))
    assert history.train_loss[-1] < history.train_loss[0], "something was learnt"


def test_one_cycle_warms_up_and_dies_out() -> None:
    recipe = dataclasses.replace(RECIPE, epochs=10)
    used: list[float] = []
    model = net()
    handle = register_optimizer_step_post_hook(lambda optimizer, *_: used.append(optimizer.param_groups[0]["lr"]))
    try:
        rates = fit(model, tiny(), recipe, progress=False).learning_rate
    finally:
        handle.remove()
    # OneCycleLR: from lr/25 by a cosine to lr over the first 30 %, then down to lr/250,000.
    peak, last, low = 0.3 * 30 - 1, 30 - 1, recipe.lr / 25e4
    for step, rate in enumerate(used):
        up = recipe.lr / 25 + (recipe.lr - recipe.lr / 25) * (1 - math.cos(math.pi * step / peak)) / 2
        down = low + (recipe.lr - low) * (1 + math.cos(math.pi * (step - peak) / (last - peak))) / 2
        assert rate == pytest.approx(up if step <= peak else down, rel=1e-6)
    assert len(used) == 30
    assert rates.tolist() == used[2::3], "the rate at the end of an epoch is that of its last step"


def test_history_fields() -> None:
    history = fit(net(), tiny(), RECIPE, seed=5, progress=False)
    assert history.epoch.tolist() == [0, 1, 2, 3]
    assert history.steps.tolist() == [0, 3, 6, 9]
    assert history.epochs == 3
    assert history.trace is None
    assert history.traced_steps is None
    assert history.seconds > 0
    facts = history.provenance
    assert (facts["seed"], facts["batch"], facts["loss"], facts["reduction"]) == (5, 16, "cross-entropy", "mean")
    assert facts["recipe"] == dataclasses.asdict(RECIPE)


def test_history_can_be_saved(tmp_path: Any) -> None:
    history = fit(net(), tiny(), RECIPE, progress=False, trace_every=2)
    history.save(tmp_path / "h.json")
    assert load(tmp_path / "h.json") == history


@pytest.mark.parametrize(("every", "epochs"), [(1, [0, 1, 2, 3, 4, 5]), (2, [0, 2, 4, 5]), (5, [0, 5]), (9, [0, 5])])
def test_evaluate_every(every: int, epochs: list[int]) -> None:
    recipe = dataclasses.replace(RECIPE, epochs=5)
    whole = fit(net(), tiny(), recipe, progress=False)
    some = fit(net(), tiny(), recipe, progress=False, evaluate_every=every)
    assert some.epoch.tolist() == epochs
    assert some.steps.tolist() == [3 * epoch for epoch in epochs]
    np.testing.assert_array_equal(some.test_loss, whole.test_loss[epochs])
    assert len(some.learning_rate) == 5


def test_trace_every_records_those_steps() -> None:
    every_step = fit(net(), tiny(), RECIPE, progress=False, trace_every=1, quantities=("weight_grad", "drift"))
    assert every_step.traced_steps.tolist() == list(range(9))
    assert every_step.trace.steps == 9
    drift = every_step.trace["drift"]
    assert (drift[0] == 0).all(), "nothing has moved before the first step"
    assert (drift[1:] > 0).all()
    assert (drift[-1] > drift[1]).all()
    some = fit(net(), tiny(), RECIPE, progress=False, trace_every=4, quantities=("weight_grad", "drift"))
    assert some.traced_steps.tolist() == [0, 4, 8]
    np.testing.assert_array_equal(some.trace.values, every_step.trace.values[::4])
    untraced = fit(net(), tiny(), RECIPE, progress=False)
    np.testing.assert_array_equal(some.train_loss, untraced.train_loss, err_msg="watching changes nothing")


def test_first_traced_gradient_is_that_of_the_first_batch() -> None:
    model, other = net(), net()
    history = fit(model, tiny(), RECIPE, seed=3, progress=False, trace_every=1)
    (x, y), _ = tiny()
    chosen = torch.randperm(len(x), generator=torch.Generator().manual_seed(3))[:16]
    F.cross_entropy(other(x[chosen]), y[chosen]).backward()
    expected = [float(p.grad.square().mean().sqrt()) for p in other.parameters() if p.dim() == 2]
    np.testing.assert_allclose(history.trace["weight_grad"][0], expected, rtol=1e-5)


@pytest.mark.parametrize("quantities", ["activation", ("dead", "activation"), ("activation", "weight_grad")])
def test_traces_of_forward_quantities_leave_the_evaluations_out(quantities: Any) -> None:
    history = fit(net(), tiny(), RECIPE, progress=False, trace_every=2, quantities=quantities)
    assert history.traced_steps.tolist() == [0, 2, 4, 6, 8]
    assert history.trace.steps == 5
    assert {shape[0] for shape in history.trace.shapes} == {16}


def test_seeds_decide_the_order_of_the_batches() -> None:
    runs = [fit(net(), tiny(), RECIPE, seed=seed, progress=False) for seed in (0, 0, 1)]
    assert runs[0] == runs[1]
    assert runs[0].train_loss[0] == runs[2].train_loss[0]
    assert runs[0].train_loss[-1] != runs[2].train_loss[-1]


def test_seeds_decide_dropout_and_the_global_generators_stay() -> None:
    def build() -> nn.Module:
        with seeded(0):
            return nn.Sequential(nn.Linear(6, 20), nn.Dropout(0.5), nn.Linear(20, 3))

    before = random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state().tolist()
    first = fit(build(), tiny(), RECIPE, progress=False)
    assert (random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state().tolist()) == before
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(77)
        again = fit(build(), tiny(), RECIPE, progress=False)
    assert first == again


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_given_back(training: bool) -> None:
    model = net(norm=True).train(training)
    fit(model, tiny(), RECIPE, progress=False)
    assert all(module.training is training for module in model.modules())


@pytest.mark.parametrize("training", [True, False])
def test_a_run_that_diverges_says_so_and_gives_the_mode_back(training: bool) -> None:
    model = net().train(training)
    state = torch.get_rng_state()
    with pytest.raises(FloatingPointError, match=r"after epoch [123]; try a smaller lr than 1e\+30"):
        fit(model, tiny(), dataclasses.replace(RECIPE, lr=1e30), progress=False, trace_every=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(module._forward_hooks for module in model.modules())
    assert model.training is training


def test_progress(capfd: pytest.CaptureFixture[str]) -> None:
    fit(net(), tiny(), RECIPE, progress=False)
    study(partial(fc_stack, 3, 6), {"span": (1,)}, tiny(), RECIPE, progress=False)
    assert capfd.readouterr() == ("", "")
    fit(net(), tiny(), RECIPE)
    out, err = capfd.readouterr()
    assert out == ""
    assert "tiny" in err


X, Y = torch.ones(4, 6), torch.zeros(4, dtype=torch.int64)


@pytest.mark.parametrize(
    ("error", "data"),
    [
        (TypeError, None),
        (TypeError, (X, Y)),
        (TypeError, ((X, Y),)),
        (TypeError, ((X, Y), None)),
        (TypeError, ((X.tolist(), Y), (X, Y))),
        (ValueError, ((X, Y[:3]), (X, Y))),
        (ValueError, ((X, Y), (X[:2], Y))),
        (ValueError, ((X, Y.float()), (X, Y))),
        (ValueError, ((X, Y), (X, Y.float()))),
        (ValueError, ((X[:0], Y[:0]), (X, Y))),
        (ValueError, ((X, Y), (X[:0], Y[:0]))),
    ],
)
def test_data_that_does_not_fit_is_refused_before_training(error: type[Exception], data: Any) -> None:
    model = net()
    before = [parameter.clone() for parameter in model.parameters()]
    with pytest.raises(error, match=r"data must be|each set needs"):
        fit(model, data, RECIPE, progress=False)
    assert all(map(torch.equal, before, model.parameters()))


@pytest.mark.parametrize("name", ["trace_every", "evaluate_every"])
@pytest.mark.parametrize("value", [0, -1, 1.5])
def test_bad_intervals(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name}={value}"):
        fit(net(), tiny(), RECIPE, progress=False, **{name: value})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"optimizer": "lbfgs"}, "sgd, adam; got 'lbfgs'"),
        ({"schedule": "cosine"}, "one-cycle, constant; got 'cosine'"),
        ({"batch": 0}, "batch"),
        ({"epochs": 1.5}, "epochs"),
        ({"lr": 0}, "lr must be positive"),
        ({"lr": math.nan}, "lr must be positive"),
    ],
)
def test_bad_recipes(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(RECIPE, **change)


def test_the_lecture_recipe_is_that_of_the_reference() -> None:
    # REFERENCE §5: SGD .1, momentum .9, one-cycle, batch 128, 15 epochs, weight decay 1e-4.
    r = lecture_digits
    assert (r.optimizer, r.lr, r.momentum, r.weight_decay) == ("sgd", 0.1, 0.9, 1e-4)
    assert (r.schedule, r.batch, r.epochs) == ("one-cycle", 128, 15)
    assert r.epochs * math.ceil(1347 / r.batch) == 165


# ── study ──

GRID = {"depth": (3, 4), "shortcut": (None, 1.0), "seed": (0, 1)}


def build(depth: int, shortcut: float | None) -> nn.Module:
    return fc_stack(depth, 6, out_features=3, shortcut=shortcut)


def test_study_is_fit_over_the_grid_in_order() -> None:
    result = study(build, {**GRID, "evaluate_every": (3,)}, tiny(), RECIPE, progress=False)
    assert [tuple(setting.values())[:3] for setting in result.settings] == [
        (depth, shortcut, seed) for depth in (3, 4) for shortcut in (None, 1.0) for seed in (0, 1)
    ]
    for setting, history in zip(result.settings, result.histories, strict=True):
        with seeded(setting["seed"]):
            model = build(setting["depth"], setting["shortcut"])
        alone = fit(model, tiny(), RECIPE, seed=setting["seed"], progress=False, evaluate_every=3)
        assert history == alone
    assert result.select(depth=4, seed=1) == [result.histories[5], result.histories[7]]
    errors = result.final(depth=3, shortcut=None)
    assert errors.tolist() == [run.test_error[-1] for run in result.histories[:2]]
    assert len({history.train_loss[-1] for history in result.histories}) == 8


def test_settings_may_change_the_recipe_and_grids_may_follow_each_other() -> None:
    grids = [{"depth": (3,), "lr": (0.01, 0.02)}, {"depth": (4,), "epochs": (1,), "trace_every": (3,)}]
    result = study(lambda depth: build(depth, None), grids, tiny(), RECIPE, progress=False)
    assert [(s["depth"], s.get("lr"), s.get("epochs")) for s in result.settings] == [
        (3, 0.01, None),
        (3, 0.02, None),
        (4, None, 1),
    ]
    for setting, history in zip(result.settings, result.histories, strict=True):
        with seeded(0):
            model = build(setting["depth"], None)
        changes = {name: setting[name] for name in ("lr", "epochs") if name in setting}
        recipe = dataclasses.replace(RECIPE, **changes)
        assert history == fit(model, tiny(), recipe, progress=False, trace_every=setting.get("trace_every"))
    part = result.subset(depth=3)
    assert (part.settings, part.histories) == (result.settings[:2], result.histories[:2])


def test_study_without_seeds_uses_seed_0() -> None:
    result = study(build, {"depth": (3,), "shortcut": (None,)}, tiny(), RECIPE, progress=False)
    seeded_one = study(build, {"depth": (3,), "shortcut": (None,), "seed": (0,)}, tiny(), RECIPE, progress=False)
    assert result.histories == seeded_one.histories
    assert dict(result.settings[0]) == {"depth": 3, "shortcut": None}


def test_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    seen: list[int] = []

    def watch(depth: int) -> nn.Module:
        seen.append(torch.get_num_threads())
        if depth == 9:
            raise ArithmeticError("broken on purpose")
        return fc_stack(depth, 6, out_features=3)

    try:
        torch.set_num_threads(2)
        result = study(watch, {"depth": (3,)}, tiny(), RECIPE, threads=1, progress=False)
        assert torch.get_num_threads() == 2
        with pytest.raises(ArithmeticError):
            study(watch, {"depth": (9,)}, tiny(), RECIPE, threads=1, progress=False)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert seen == [1, 1]
    assert result.provenance["threads"] == 1
    assert result.histories[0].provenance["threads"] == 1


@pytest.mark.slow
def test_two_jobs_give_what_one_gives() -> None:
    def build(depth: int, shortcut: float | None) -> nn.Module:  # a local function travels by value
        from gradflow.models import fc_stack

        return fc_stack(depth, 6, out_features=3, shortcut=shortcut)

    one, two = (study(build, GRID, tiny(), RECIPE, jobs=jobs, progress=False) for jobs in (1, 2))
    assert one == two


@pytest.mark.parametrize("grid", [{}, {"depth": ()}, {"depth": (3,), "seed": ()}])
def test_empty_grids(grid: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="grid needs"):
        study(build, grid, tiny(), RECIPE, progress=False)
