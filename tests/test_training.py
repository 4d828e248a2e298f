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
    assert facts["recipe"] == RECIPE.described()


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
    with pytest.raises(FloatingPointError, match=r"at step \d.* went first.*; try a smaller lr than 1e\+30"):
        fit(model, tiny(), dataclasses.replace(RECIPE, lr=1e30), progress=False, trace_every=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(module._forward_hooks for module in model.modules())
    assert model.training is training


class Poison(torch.autograd.Function):
    """Passes numbers on, and a NaN back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad * math.nan


class Breaking(nn.Module):
    """A layer whose gradient is NaN from the given training call on."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at, self.calls = at, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += self.training
        return Poison.apply(x) if self.training and self.calls > self.at else x


def test_a_divergence_names_the_layer_whose_gradient_went_first() -> None:
    with seeded(0):
        model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), Breaking(4), nn.Linear(8, 3))
    # The gradient arrives whole at layer 4, and as NaN at layers 2 and 0; it travels backwards, so 2 is first.
    with pytest.raises(FloatingPointError, match=r"nan at step 5: at step 4 the gradient of layer 2 went first"):
        fit(model, tiny(), RECIPE, progress=False)


@pytest.mark.parametrize("evaluate_train", [True, False])
def test_a_divergence_in_the_last_step_is_found_too(evaluate_train: bool) -> None:
    with seeded(0):
        model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), Breaking(8), nn.Linear(8, 3))
    with pytest.raises(FloatingPointError, match=r"at step 8 the gradient of layer 2 went first"):
        fit(model, tiny(), RECIPE, progress=False, evaluate_train=evaluate_train)


def test_a_divergence_in_the_forward_pass_names_the_output_that_went_first() -> None:
    class Overflowing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            self.calls = getattr(self, "calls", 0) + self.training
            return x * 1e38 * 1e38 if self.calls > 2 else x

    with seeded(0):
        model = nn.Sequential(nn.Linear(6, 8), Overflowing(), nn.Linear(8, 3))
    with pytest.raises(FloatingPointError, match=r"at step 2: the output of layer 1 went first; .* step 1 were still"):
        fit(model, tiny(), RECIPE, progress=False)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: fc_stack(4, 7), r"does not fit samples of shape \(6,\), float32: .*6.*7"),
        (
            lambda: fc_stack(4, 6, out_features=2),
            r"labels run from 0 to 2, but Network has 2 classes; build it with 3 outputs",
        ),
        (lambda: nn.Sequential(nn.Linear(6, 3), nn.Unflatten(1, (3, 1))), "not a row of class scores"),
        (
            lambda: net().requires_grad_(False),
            r"none of its 8 parameters needs .*; model\.requires_grad_\(\) lets them",
        ),
        (nn.Flatten, "Flatten has nothing to train: none of its 0 parameters .*; put a layer with weights"),
    ],
)
def test_a_model_that_does_not_fit_the_data(build: Any, words: str) -> None:
    model = build()
    before = [weight.clone() for weight in model.parameters()]
    with pytest.raises(ValueError, match=words):
        fit(model, tiny(), RECIPE, progress=False)
    assert all(map(torch.equal, before, model.parameters()))


def test_a_model_may_be_frozen_in_part() -> None:
    model = net()
    first, *others = model.parameters()
    first.requires_grad_(False)
    before = [weight.clone() for weight in (first, *others)]
    fit(model, tiny(), RECIPE, progress=False)
    assert [torch.equal(*pair) for pair in zip(before, (first, *others), strict=True)] == [True] + [False] * len(others)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (fc_stack, "got fc_stack: call it, and pass the model that it returns"),
        (nn.Flatten, "got Flatten: call it"),
        (partial(fc_stack, 4, 6), "got partial: call it"),
        ("net", "got str$"),
        (None, "got NoneType$"),
    ],
)
def test_what_is_no_model(model: Any, words: str) -> None:
    with pytest.raises(TypeError, match=rf"model must be a torch\.nn\.Module; {words}"):
        fit(model, tiny(), RECIPE, progress=False)


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ("lecture_digits", r"gradflow\.recipes\.lecture_digits; got 'lecture_digits'"),
        ("he15-cifar10", r"gradflow\.recipes\.he15_cifar10; got 'he15-cifar10'"),
        (Recipe, r"gradflow\.recipes\.lecture_digits; got <class"),
        (None, r"gradflow\.recipes\.lecture_digits; got None"),
    ],
)
def test_what_is_no_recipe(recipe: Any, words: str) -> None:
    with pytest.raises(TypeError, match=f"recipe must be a Recipe, e.g. {words}"):
        fit(net(), tiny(), recipe, progress=False)


def test_resuming_needs_a_checkpoint() -> None:
    with pytest.raises(ValueError, match="resume=True needs checkpoint="):
        fit(net(), tiny(), RECIPE, progress=False, resume=True)


def test_progress(capfd: pytest.CaptureFixture[str]) -> None:
    fit(net(), tiny(), RECIPE, progress=False)
    study(partial(fc_stack, 3, 6), {"span": (1,)}, tiny(), RECIPE, progress=False)
    assert capfd.readouterr() == ("", "")
    fit(net(), tiny(), RECIPE)
    out, err = capfd.readouterr()
    assert out == ""
    assert "tiny" in err


X, Y = torch.ones(4, 6), torch.zeros(4, dtype=torch.int64)
NAN, INFINITE = X.clone(), X.double()
NAN[1, 2:4] = math.nan
INFINITE[3, 0] = -math.inf


@pytest.mark.parametrize(
    ("error", "data"),
    [
        (TypeError, None),
        (TypeError, (X, Y)),
        (TypeError, ((X, Y),)),
        (TypeError, ((X, Y), None)),
        (TypeError, ((X.tolist(), Y), (X, Y))),
        (TypeError, ((X.numpy(), Y.numpy()), (X.numpy(), Y.numpy()))),
        (TypeError, ((X, Y), (X, Y.numpy()))),
        (ValueError, ((X, Y[:, None]), (X, Y))),
        (ValueError, ((X[0, 0], Y[0]), (X, Y))),
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


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (((NAN, Y), (X, Y)), "training set holds values that are not finite: 2, in 1 of 4 samples"),
        (((X, Y), (NAN, Y)), "test set holds values that are not finite: 2, in 1 of 4 samples"),
        (((X, Y), (INFINITE, Y)), "test set holds values that are not finite: 1, in 1 of 4 samples"),
        (((NAN[:, 2], Y), (X, Y)), "training set holds values that are not finite: 1, in 1 of 4 samples"),
    ],
)
@pytest.mark.parametrize("evaluate_train", [True, False])
def test_inputs_that_are_not_finite_are_refused_before_training(data: Any, words: str, evaluate_train: bool) -> None:
    with pytest.raises(ValueError, match=f"x of the {words}"):
        fit(net(), data, RECIPE, progress=False, evaluate_train=evaluate_train)


def test_large_inputs_whose_sum_overflows_are_trained_on() -> None:
    (x, y), test = tiny()
    model = nn.Sequential(nn.Tanh(), net())
    large = torch.full_like(x, 3e38)
    assert large.sum().isinf()
    assert fit(model, ((large, y), test), RECIPE, progress=False).epochs == 3


def test_what_came_is_told_where_arrays_are_given() -> None:
    words = r"got \(\(Tensor, Tensor\), \(ndarray, Tensor\)\); torch.as_tensor makes a tensor of an array"
    with pytest.raises(TypeError, match=words):
        fit(net(), ((X, Y), (X.numpy(), Y)), RECIPE, progress=False)


@pytest.mark.parametrize("name", ["trace_every", "evaluate_every"])
@pytest.mark.parametrize("value", [0, -1, 1.5])
def test_bad_intervals(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name}={value}"):
        fit(net(), tiny(), RECIPE, progress=False, **{name: value})


def test_the_lecture_recipe_is_that_of_the_reference() -> None:
    # REFERENCE §5: SGD .1, momentum .9, one-cycle, batch 128, 15 epochs, weight decay 1e-4.
    r = lecture_digits
    assert (r.optimizer, r.lr, r.momentum, r.weight_decay) == ("sgd", 0.1, 0.9, 1e-4)
    assert (r.schedule, r.batch, r.epochs) == ("one-cycle", 128, 15)
    assert r.epochs * math.ceil(1347 / r.batch) == 165
