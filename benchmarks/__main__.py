"""``make bench``: what tracing, comparing and training cost beside the bare passes and beside other ways to do them.

``python -m benchmarks stepping studying`` runs some parts only.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import gradflow
from benchmarks import training
from benchmarks.exploring import exploring
from benchmarks.timing import ratios
from gradflow.models import fc_stack, resnet, textbook_fc

ROUNDS = 15


@contextmanager
def bare(model: nn.Module) -> Iterator[None]:
    """No observer at all: what the others are divided by."""
    yield


@contextmanager
def ours(model: nn.Module) -> Iterator[None]:
    """output_grad and weight_grad of every weighted layer."""
    with gradflow.trace(model) as watched:
        yield
    assert watched.result.steps


def tensor_hooks(accumulate: torch.dtype) -> Callable[[nn.Module], contextmanager]:
    """A plain tensor hook on every leaf's output and on its parameters, adding in one dtype."""

    @contextmanager
    def observe(model: nn.Module) -> Iterator[None]:
        found: list[float] = []

        def norm(grad: Tensor) -> None:
            found.append(float(torch.linalg.vector_norm(grad, dtype=accumulate)))

        def watch(module: nn.Module, args: object, output: Tensor) -> None:
            if output.requires_grad:
                output.register_hook(norm)

        leaves = [module for module in model.modules() if not list(module.children())]
        handles = [module.register_forward_hook(watch) for module in leaves]
        handles += [parameter.register_hook(norm) for parameter in model.parameters()]
        yield
        for handle in handles:
            handle.remove()

    return observe


@contextmanager
def full_backward_hooks(model: nn.Module) -> Iterator[None]:
    """register_full_backward_hook and .item(), as most tutorials do."""
    found: list[float] = []

    def norm(module: nn.Module, grad_input: object, grad_output: tuple[Tensor, ...]) -> None:
        found.append(grad_output[0].norm().item())

    leaves = [module for module in model.modules() if not list(module.children())]
    handles = [module.register_full_backward_hook(norm) for module in leaves]
    yield
    for handle in handles:
        handle.remove()


WAYS = {
    "gradflow.trace": ours,
    "float32 tensor hooks on every leaf (underflow)": tensor_hooks(torch.float32),
    "the same accumulated in float64": tensor_hooks(torch.float64),
    "full backward hooks and .item()": full_backward_hooks,
}


def cases() -> dict[str, tuple[nn.Module, Tensor, Tensor, int]]:
    """Model, batch, target and steps per timing."""
    torch.manual_seed(0)
    images, labels = torch.randn(128, 3, 32, 32), torch.randint(0, 10, (128,))
    wide, small = torch.randn(2, 128, 256), torch.randn(2, 32, 8)
    return {
        "ResNet-20, batch 128×3×32×32": (resnet(20), images, labels, 1),
        "50 × 256 FC, batch 128, He init": (fc_stack(50, 256, init="he"), *wide, 10),
        "50 × 256 FC, batch 128, vanishing": (fc_stack(50, 256), *wide, 10),
        "5 × 8 FC, batch 32": (textbook_fc(), *small, 300),
    }


def seconds(model: nn.Module, x: Tensor, y: Tensor, steps: int, way: Callable = bare) -> float:
    """Wall time of some training steps without the optimiser, under an observer."""
    loss = F.mse_loss if y.is_floating_point() else F.cross_entropy
    started = time.perf_counter()
    with way(model):
        for _ in range(steps):
            model.zero_grad(set_to_none=True)
            loss(model(x), y).backward()
    return (time.perf_counter() - started) / steps


def tracing() -> None:
    for case, (model, x, y, steps) in cases().items():
        timed = {name: lambda way=way: seconds(model, x, y, steps, way) for name, way in WAYS.items()}
        for timer in timed.values():
            timer()
        rounds = ROUNDS if steps > 1 else 9
        print(f"\n{case}: step time ÷ bare step time")
        for name, ratio in ratios(timed, lambda: seconds(model, x, y, steps), rounds).items():
            print(f"  {ratio:6.3f}  {name}")


def comparing() -> None:
    plain, residual = fc_stack(50, 64), fc_stack(50, 64, shortcut=1.0)
    x, y = torch.randn(2, 32, 64)

    def compare() -> float:
        started = time.perf_counter()
        gradflow.compare(plain, residual)
        return time.perf_counter() - started

    def passes() -> float:
        return seconds(plain, x, y, 1) + seconds(residual, x, y, 1)

    compare()
    found = ratios({"compare": compare}, passes, 25)
    print("\ncompare() of two 50 × 64 FC stacks ÷ the two bare passes")
    print(f"  {found['compare']:6.3f}")
    started = time.perf_counter()
    gradflow.compare(lambda: fc_stack(50, 64), lambda: fc_stack(50, 64, shortcut=1.0), repeats=100)
    print(f"the same with builders and repeats=100\n  {time.perf_counter() - started:.2f} s")


def paths() -> None:
    """Wall time of the exact path spectrum, whose cost is that of about U²/2 passes back through one branch."""
    nets = {
        "ResNet-110, batch 8×3×32×32": (resnet(110), torch.randn(8, 3, 32, 32)),
        "54 FC units of width 64, batch 32": (fc_stack(110, 64, shortcut=1.0, init="he"), torch.randn(32, 64)),
    }
    print("\npath_spectrum, seconds (median of 5)")
    for name, (net, x) in nets.items():
        gradflow.path_spectrum(net, x)
        times = []
        for _ in range(5):
            started = time.perf_counter()
            gradflow.path_spectrum(net, x)
            times.append(time.perf_counter() - started)
        print(f"  {statistics.median(times):6.2f}  {name}")


def importing() -> None:
    def run(code: str) -> Callable[[], float]:
        def once() -> float:
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            return time.perf_counter() - started

        return once

    both, torch_alone = run("import torch, gradflow"), run("import torch")
    both()
    extra = statistics.median(both() - torch_alone() for _ in range(7))
    print(f"\nimport gradflow beside import torch\n  {extra:+.3f} s")


PARTS = {
    "tracing": tracing,
    "comparing": comparing,
    "paths": paths,
    "importing": importing,
    "stepping": training.stepping,
    "choices": training.choices,
    "watching": training.watching,
    "studying": training.studying,
    "exploring": exploring,
}


if __name__ == "__main__":
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; medians of ratios, interleaved")
    for part in sys.argv[1:] or PARTS:
        PARTS[part]()
