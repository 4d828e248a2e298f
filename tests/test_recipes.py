"""The published recipes, their schedules step by step, and what fit makes of them."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from gradflow import fit
from gradflow.data import Erase, Flip, PadCrop, Resize, Rotate, Translate, augmented
from gradflow.models import fc_stack, resnet
from gradflow.seeding import derived_seed, seeded
from gradflow.training import recipes
from gradflow.training.recipes import RECIPES, Recipe
from gradflow.training.run import Run

TINY = Recipe(name="tiny", batch=10, epochs=10, lr=0.1, schedule="constant")


def flat(samples: int = 40) -> Any:
    x = torch.randn(2 * samples, 6, generator=torch.Generator().manual_seed(1))
    y = x[:, :3].argmax(1)
    return (x[:samples], y[:samples]), (x[samples:], y[samples:])


def net() -> nn.Module:
    with seeded(0):
        return fc_stack(3, 6, out_features=3)


def rates_of(recipe: Recipe, data: Any = None) -> list[float]:
    """The learning rate of every step that is really taken."""
    used: list[float] = []
    handle = register_optimizer_step_post_hook(lambda optimizer, *_: used.append(optimizer.param_groups[0]["lr"]))
    try:
        fit(net(), data or flat(), recipe, progress=False)
    finally:
        handle.remove()
    return used


def test_steps_fall_at_fractions_of_the_run() -> None:
    recipe = dataclasses.replace(TINY, schedule="steps", milestones=(0.3, 0.6, 0.8), factor=0.2)
    expected = [0.1] * 12 + [0.02] * 12 + [0.004] * 8 + [0.0008] * 8
    assert rates_of(recipe) == pytest.approx(expected)
    assert rates_of(dataclasses.replace(recipe, epochs=5)) == pytest.approx(expected[::2]), "the shape stays"


def test_exponential_ends_a_factor_lower() -> None:
    recipe = dataclasses.replace(TINY, schedule="exponential", factor=0.01)
    assert rates_of(recipe) == pytest.approx([0.1 * 0.01 ** (step / 40) for step in range(40)])


@pytest.mark.parametrize("max_steps", [1, 7, 8, 39, 99])
def test_max_steps_ends_a_run_early(max_steps: int) -> None:
    recipe = dataclasses.replace(TINY, max_steps=max_steps, schedule="steps", milestones=(0.5,), factor=0.1)
    taken, history = rates_of(recipe), fit(net(), flat(), recipe, progress=False)
    steps = min(max_steps, 40)
    assert len(taken) == steps == history.steps[-1]
    assert taken == pytest.approx([0.1 if step < round(steps / 2) else 0.01 for step in range(steps)])
    assert history.epoch.tolist() == list(range(math.ceil(steps / 4) + 1))
    assert history.steps.tolist() == [min(4 * epoch, steps) for epoch in history.epoch]
    assert len(history.learning_rate) == history.epochs == history.epoch[-1]


def test_warm_up_for_some_steps_leaves_the_schedule_as_it_is() -> None:
    recipe = dataclasses.replace(TINY, schedule="steps", milestones=(0.5,), factor=0.1)
    warmed = dataclasses.replace(recipe, warmup_lr=0.001, warmup_steps=6)
    assert rates_of(warmed) == [0.001] * 6 + rates_of(recipe)[6:]


def test_warm_up_until_the_error_of_the_last_hundred_batches_is_low(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = dataclasses.replace(TINY, epochs=60, warmup_lr=0.02, warmup_error=0.3)
    wrong: list[float] = []
    take_step = Run.take_step

    def watching(self: Run) -> None:
        take_step(self)
        wrong.append(self.recent[-1])

    monkeypatch.setattr(Run, "take_step", watching)
    rates = rates_of(recipe)
    # The error of a batch is known when its own step is taken, except for that batch itself.
    ends = next(step for step in range(100, 240) if np.mean(wrong[step - 100 : step]) < 0.3)
    assert 100 < ends < 240
    assert rates == [0.02] * ends + [0.1] * (240 - ends)


def test_the_recipes_are_those_of_the_papers() -> None:
    he15, wrn, chapter = recipes.he15_cifar10, recipes.wrn, recipes.chapter_cifar100
    for samples in (45_000, 50_000):
        assert he15.steps(samples) == 64_000
    assert [round(place * 64_000) for place in he15.milestones] == [32_000, 48_000]
    assert (he15.lr, he15.factor, he15.momentum, he15.weight_decay, he15.batch) == (0.1, 0.1, 0.9, 1e-4, 128)
    assert (he15.normalise, he15.augment) == ("pixel", (PadCrop(4), Flip(0.5)))
    warmed = recipes.he15_cifar10_warmup
    assert (warmed.warmup_lr, warmed.warmup_error, warmed.warmup_steps) == (0.01, 0.8, None)
    assert (recipes.he16_cifar10.warmup_lr, recipes.he16_cifar10.warmup_steps) == (0.01, 400)
    assert chapter.steps(50_000) == 100 * 782
    assert [round(place * chapter.epochs) for place in chapter.milestones] == [30, 60, 80]
    assert (chapter.batch, chapter.weight_decay, chapter.factor) == (64, 5e-4, 0.2)
    assert chapter.augment == (Flip(0.1), Rotate(10), Translate(0.1), Erase(0.1), PadCrop(4)), "the chapter's order"
    assert recipes.chapter_cifar100_224.augment == (Resize(224), *chapter.augment)
    exponential = recipes.chapter_cifar100_exponential
    assert exponential.lr * exponential.factor == pytest.approx(0.0008), "where the chapter's steps end"
    assert [round(place * wrn.epochs) for place in wrn.milestones] == [60, 120, 160]
    assert (wrn.nesterov, wrn.weight_decay, wrn.batch, wrn.factor) == (True, 5e-4, 128, 0.2)
    assert set(RECIPES) >= {"he15-cifar10", "he16-cifar10", "chapter-cifar100", "wrn", "lecture-digits"}
    assert all(dataclasses.replace(recipe, epochs=3).epochs == 3 for recipe in RECIPES.values())


def test_what_is_written_down_of_a_recipe() -> None:
    assert TINY.described() == {
        "name": "tiny",
        "optimizer": "sgd",
        "lr": 0.1,
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "batch": 10,
        "epochs": 10,
        "schedule": "constant",
    }
    assert recipes.he15_cifar10.described()["augment"] == tuple(map(repr, recipes.he15_cifar10.augment))
    assert dataclasses.replace(TINY, weight_decay=0.0).described()["weight_decay"] == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"optimizer": "lbfgs"}, "sgd, adam; got 'lbfgs'"),
        ({"schedule": "cosine"}, "one-cycle, constant, steps, exponential; got 'cosine'"),
        ({"batch": 0}, "batch"),
        ({"epochs": 1.5}, "epochs"),
        ({"epochs": True}, "epochs"),
        ({"max_steps": 0}, "max_steps"),
        ({"lr": 0}, "lr must be positive"),
        ({"lr": math.nan}, "lr must be positive"),
        ({"momentum": -0.1}, "momentum"),
        ({"weight_decay": math.nan}, "weight_decay"),
        ({"schedule": "steps", "milestones": (0.5,)}, "factor"),
        ({"schedule": "steps", "milestones": (0.5,), "factor": 2.0}, "factor"),
        ({"schedule": "steps", "factor": 0.1}, "milestones"),
        ({"milestones": (0.5,)}, "milestones"),
        ({"schedule": "steps", "milestones": (0.8, 0.5), "factor": 0.1}, "in order"),
        ({"schedule": "steps", "milestones": (30,), "factor": 0.1}, "fractions of the run"),
        ({"schedule": "exponential"}, "factor"),
        ({"warmup_lr": 0.01}, "either warmup_steps or warmup_error"),
        ({"warmup_steps": 4}, "needs warmup_lr"),
        ({"warmup_lr": 0.01, "warmup_steps": 4, "warmup_error": 0.5}, "either"),
        ({"warmup_lr": 0.0, "warmup_steps": 4}, "warmup_lr must be positive"),
        ({"normalise": "pixels"}, "channel, pixel"),
    ],
)
def test_bad_recipes(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(TINY, **change)


# ── images ──


def images(samples: int = 24, size: int = 8) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    x = torch.randint(
        0, 256, (2 * samples, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )
    y = x.double().mean((2, 3)).argmax(1)
    return (x[:samples], y[:samples]), (x[samples:], y[samples:])


def small(size: int = 8, **options: Any) -> nn.Module:
    with seeded(0):
        return resnet(8, width=4, size=size, num_classes=3, **options)


def test_images_are_normalised_and_augmented_batch_by_batch() -> None:
    """The whole training written out: per-pixel mean, pad, crop, flip, nesterov SGD, one step schedule."""
    recipe = Recipe(
        name="images", batch=10, epochs=3, lr=0.05, nesterov=True, schedule="steps", milestones=(0.5,), factor=0.1,
        normalise="pixel", augment=(PadCrop(1), Flip(0.5)),
    )  # fmt: skip
    (x, y), (x_test, y_test) = images()
    model, other = small(), small().to(memory_format=torch.channels_last)
    history = fit(model, images(), recipe, seed=4, progress=False, evaluate_train=False)

    mean = x.double().mean(0) / 255

    def prepared(batch: Tensor) -> Tensor:
        return (batch.double() / 255 - mean).float()

    optimizer = torch.optim.SGD(other.parameters(), 0.05, momentum=0.9, weight_decay=1e-4, nesterov=True)
    shuffle = torch.Generator().manual_seed(4)
    augmenting = torch.Generator().manual_seed(derived_seed(4, 7))
    step, losses, errors = 0, [], []
    for _ in range(3):
        total = wrong = 0.0
        for chosen in torch.randperm(len(x), generator=shuffle).split(10):
            batch = augmented(prepared(x[chosen]), recipe.augment, augmenting)
            for group in optimizer.param_groups:
                group["lr"] = 0.05 if step < round(9 * 0.5) else 0.005
            optimizer.zero_grad()
            output = other(batch)
            loss = F.cross_entropy(output, y[chosen])
            loss.backward()
            optimizer.step()
            step += 1
            total += loss.item() * len(chosen)
            wrong += float((output.argmax(1) != y[chosen]).sum())
        losses.append(total / len(x))
        errors.append(wrong / len(x))
    np.testing.assert_allclose(history.train_loss[1:], losses, rtol=1e-4)
    np.testing.assert_allclose(history.train_error[1:], errors, atol=1 / 24 + 1e-9)
    other.eval()
    with torch.no_grad():
        assert history.test_loss[-1] == pytest.approx(F.cross_entropy(other(prepared(x_test)), y_test).item(), rel=1e-4)


def test_images_are_enlarged_for_evaluation_too() -> None:
    seen: set[tuple[bool, int]] = set()
    model = small(16)
    model.register_forward_pre_hook(lambda module, args: seen.add((module.training, args[0].shape[-1])))
    fit(model, images(), Recipe(name="enlarged", epochs=1, augment=(Resize(16), Flip(0.5))), progress=False)
    assert seen == {(True, 16), (False, 16)}


def test_numbers_are_taken_as_they_are() -> None:
    (x, y), (x_test, y_test) = images()
    data = ((x.float(), y), (x_test.float(), y_test))
    recipe = Recipe(name="plain", epochs=1, normalise="channel")
    first: list[Tensor] = []
    model = small()
    model.register_forward_pre_hook(lambda module, args: first.append(args[0]) if module.training else None)
    fit(model, data, recipe, progress=False)
    chosen = torch.randperm(24, generator=torch.Generator().manual_seed(0))
    assert torch.equal(first[0], x.float()[chosen])


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_autocast_learns_nearly_the_same(precision: str) -> None:
    recipe = Recipe(name="half", batch=12, epochs=4, lr=0.02)
    usual = fit(small(), images(), recipe, progress=False)
    half = fit(small(), images(), recipe, progress=False, precision=precision)
    assert half.provenance["precision"] == precision
    assert "precision" not in usual.provenance
    assert half.train_loss[0] == pytest.approx(usual.train_loss[0], rel=0.02)
    assert (half.train_loss != usual.train_loss).all()
    assert half.train_loss[-1] < half.train_loss[0]


def test_bad_options() -> None:
    with pytest.raises(ValueError, match="float32, bfloat16, float16; got 'fp16'"):
        fit(net(), flat(), TINY, precision="fp16", progress=False)
    with pytest.raises(ValueError, match="compiled"):
        fit(net(), flat(), TINY, compile=True, trace_every=1, progress=False)
    with pytest.raises(ValueError, match='"auto", "cpu", "cuda"'):
        fit(net(), flat(), TINY, device="gpu", progress=False)
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="torch sees 0 GPUs"):
            fit(net(), flat(), TINY, device="cuda", progress=False)
