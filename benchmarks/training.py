"""What fit() and study() cost beside loops written by hand."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import gradflow
from benchmarks.timing import ratios
from gradflow.data import Split
from gradflow.models import resnet
from gradflow.training.recipes import Recipe, he15_cifar10

_IMAGES, _ROUNDS = 1280, 7


def random_images(samples: int = _IMAGES) -> Split:
    """As many bytes as CIFAR-10 has in so many images; what they show does not matter for the time."""
    x = torch.randint(0, 256, (samples, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    y = torch.randint(10, (samples,), generator=torch.Generator().manual_seed(1))
    return Split((x, y), (x[:10], y[:10]))


def timed(work: Callable[[], Any]) -> Callable[[], float]:
    """The seconds a piece of work takes."""

    def once() -> float:
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    return once


def by_hand(model: nn.Module, batches: Callable[[], Any], recipe: Recipe) -> None:
    """The loop of every tutorial, over one epoch."""
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), recipe.lr, momentum=0.9, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [10**6])
    running = 0.0
    for x, y in batches():
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        scheduler.step()
        running += loss.item()


def in_memory(x: Tensor, y: Tensor) -> Callable[[], Any]:
    """Batches of 128 by indexing."""
    return lambda: ((x[chosen], y[chosen]) for chosen in torch.randperm(len(x)).split(128))


class PerImage(Dataset):
    """What torchvision's CIFAR-10 does with RandomCrop(32, 4), RandomHorizontalFlip, ToTensor and Normalize."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.pictures, self.y = x.permute(0, 2, 3, 1).contiguous().numpy(), y.tolist()
        self.mean = torch.tensor([0.49, 0.48, 0.45])[:, None, None]

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        picture = ImageOps.expand(Image.fromarray(self.pictures[place]), 4)
        top, left = torch.randint(0, 9, (2,)).tolist()
        picture = picture.crop((left, top, left + 32, top + 32))
        if torch.rand(1).item() < 0.5:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        tensor = torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous().float().div(255)
        return tensor.sub(self.mean).div(0.25), self.y[place]


def stepping() -> None:
    """Steps per second of fit() beside loops by hand, on the same net: ResNet-20 of He15's width and of half of it."""
    data = random_images()
    (x, y), test = data
    floats = (x.float() / 255 - 0.5, y)
    plain, augmenting = (replace(he15_cifar10, epochs=1, augment=found) for found in ((), he15_cifar10.augment))
    loaders = {
        "DataLoader, images changed one by one": DataLoader(PerImage(x, y), batch_size=128, shuffle=True),
        "the same with 2 worker processes": DataLoader(
            PerImage(x, y), batch_size=128, shuffle=True, num_workers=2, persistent_workers=True
        ),
    }
    options = {"progress": False, "evaluate_train": False}
    for width in (16, 8):
        quick, usual = resnet(20, width=width).to(memory_format=torch.channels_last), resnet(20, width=width)
        fit_plain = timed(lambda: gradflow.fit(quick, (floats, (test[0].float(), test[1])), plain, **options))
        fit_images = timed(lambda: gradflow.fit(quick, data, augmenting, **options))
        by_index = timed(lambda: by_hand(quick, in_memory(*floats), plain))
        found = ratios({"the same loop by hand, data in memory": by_index}, fit_plain, _ROUNDS)
        usually = {
            name: timed(lambda loader=loader: by_hand(usual, lambda: loader, plain)) for name, loader in loaders.items()
        }
        found |= ratios(usually, fit_images, _ROUNDS)
        print(f"\nResNet-20 of width {width}, batch 128×3×32×32: steps per second of fit() ÷ those of")
        for name, ratio in found.items():
            print(f"  {ratio:6.3f}  {name}")


def choices() -> None:
    """What the choices of the engine gain or cost on this machine: step time ÷ that of the default."""
    data, recipe = random_images(), replace(he15_cifar10, epochs=1)
    net = resnet(20)

    def fit(**options: Any) -> Callable[[], float]:
        return timed(lambda: gradflow.fit(net, data, recipe, progress=False, **options))

    def contiguous() -> float:
        return timed(lambda: by_hand(net.to(memory_format=torch.contiguous_format), in_memory(*floats), recipe))()

    floats = (data.train[0].float() / 255 - 0.5, data.train[1])
    found = ratios({"bfloat16": fit(precision="bfloat16"), "fused": fit(fused=True)}, fit(), _ROUNDS)
    last = timed(lambda: by_hand(net.to(memory_format=torch.channels_last), in_memory(*floats), recipe))
    found |= ratios({"channels first instead of last (loop by hand)": contiguous}, last, _ROUNDS)
    print("\nResNet-20, batch 128×3×32×32: time of a step ÷ the default's")
    for name, ratio in found.items():
        print(f"  {ratio:6.3f}  {name}")


def watching() -> None:
    """What a trace and checkpoints add to a run."""
    data, recipe = random_images(), replace(he15_cifar10, epochs=1)
    net = resnet(20)

    def fit(**options: Any) -> None:
        gradflow.fit(net, data, recipe, progress=False, **options)

    def kept() -> None:
        with TemporaryDirectory() as folder:
            fit(checkpoint=Path(folder) / "c.pt", checkpoint_every=0.0)

    work = {
        "a trace of weight gradients at every step": timed(lambda: fit(trace_every=1)),
        "at every tenth step": timed(lambda: fit(trace_every=10)),
        "a checkpoint after every step": timed(kept),
    }
    print("\nResNet-20, batch 128×3×32×32: time of a run ÷ that of the bare run")
    for name, ratio in ratios(work, timed(fit), _ROUNDS).items():
        print(f"  {ratio:6.3f}  {name}")


def studying() -> None:
    """The six runs of the digits study one after the other, and two at a time."""
    from gradflow.training.plans import run_plan

    def study(**options: Any) -> Callable[[], float]:
        def once() -> float:
            with TemporaryDirectory() as folder:
                return timed(lambda: run_plan("digits", folder=Path(folder), progress=False, **options))()

        return once

    cores = len(os.sched_getaffinity(0))
    serial, both = study(jobs=1, threads=1), study(jobs=cores, threads=1)
    both()
    pairs = [(both(), serial()) for _ in range(3)]
    ratio = statistics.median(one / other for one, other in pairs)
    seconds = statistics.median(other for _, other in pairs)
    print(f"\nstudy of the digits, six runs, {cores} processes ÷ one process ({seconds:.0f} s)\n  {ratio:6.3f}")
