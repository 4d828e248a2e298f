"""Weights under torchvision's names, against an implementation of its nets written here in its way."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gradflow import models
from gradflow.models import Network, build, deepen, fc_stack, load_torchvision, plain_twin, resnet

STAGES = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}


class Block(nn.Module):
    """A basic block or bottleneck in the style of torchvision: one ReLU, in place, and an in-place addition."""

    def __init__(self, n_in: int, planes: int, stride: int, *, deep: bool, inner: int, groups: int) -> None:
        super().__init__()
        n_out = planes * (4 if deep else 1)
        if deep:
            kernels = [(n_in, inner, 1, 1, 1), (inner, inner, 3, stride, groups), (inner, n_out, 1, 1, 1)]
        else:
            kernels = [(n_in, planes, 3, stride, 1), (planes, planes, 3, 1, 1)]
        for number, (ins, outs, kernel, step, parts) in enumerate(kernels, start=1):
            conv = nn.Conv2d(ins, outs, kernel, step, padding=kernel // 2, groups=parts, bias=False)
            self.add_module(f"conv{number}", conv)
            self.add_module(f"bn{number}", nn.BatchNorm2d(outs))
        self.count = len(kernels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or n_in != n_out:
            self.downsample = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        out = x
        for number in range(1, self.count + 1):
            out = getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(out))
            if number < self.count:
                out = self.relu(out)
        out += identity
        return self.relu(out)


class Theirs(nn.Module):
    def __init__(
        self, depth: int, *, width: int = 64, base_width: int = 64, groups: int = 1, classes: int = 1000
    ) -> None:
        super().__init__()
        deep = depth >= 50
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        channels = width
        for stage, count in enumerate(STAGES[depth]):
            planes = width * 2**stage
            inner = int(planes * base_width / 64) * groups
            blocks = []
            for place in range(count):
                stride = 2 if stage > 0 and place == 0 else 1
                blocks.append(Block(channels, planes, stride, deep=deep, inner=inner, groups=groups))
                channels = planes * (4 if deep else 1)
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for stage in range(1, 5):
            x = getattr(self, f"layer{stage}")(x)
        return self.fc(torch.flatten(self.avgpool(x), 1))


def used(model: nn.Module) -> nn.Module:
    """In float64, with weights and statistics of norms that tell one from another."""
    model.double()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(std=0.3)
                module.running_mean.normal_(std=0.3)
                module.running_var.uniform_(0.5, 2)
                module.num_batches_tracked.fill_(7)
    return model


small = {"width": 8, "num_classes": 5}
PAIRS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Network]]] = {
    "resnet18": (partial(Theirs, 18, width=8, classes=5), partial(models.resnet18, **small)),
    "resnet34": (partial(Theirs, 34, width=8, classes=5), partial(models.resnet34, **small)),
    "resnet50": (partial(Theirs, 50, width=8, classes=5), partial(models.resnet50, stride_at="3x3", **small)),
    "resnext50": (
        partial(Theirs, 50, width=8, base_width=16, groups=4, classes=5),
        partial(models.resnet50, stride_at="3x3", groups=4, inner_width=8, **small),
    ),
    "wide": (
        partial(Theirs, 50, width=8, base_width=128, classes=5),
        partial(models.resnet50, stride_at="3x3", inner_width=16, **small),
    ),
}


@pytest.mark.parametrize("name", list(PAIRS))
def test_the_same_outputs_and_gradients_in_train_and_eval(name: str) -> None:
    make_theirs, make_ours = PAIRS[name]
    theirs, ours = used(make_theirs()), make_ours().double()
    assert load_torchvision(ours, theirs.state_dict()) is ours
    x = torch.randn(3, 3, 64, 64, dtype=torch.float64)
    for training in (False, True):
        theirs.train(training)
        ours.train(training)
        one, other = theirs(x.clone()), ours(x.clone())
        assert one.std() > 1e-3
        torch.testing.assert_close(other, one, rtol=1e-10, atol=1e-12)
        one.square().sum().backward()
        other.square().sum().backward()
        torch.testing.assert_close(ours.stem.conv.weight.grad, theirs.conv1.weight.grad, rtol=1e-8, atol=1e-10)
    # The statistics of the batch went into the same buffers.
    torch.testing.assert_close(ours.units[-1].branch.norm2.running_var, theirs.layer4[-1].bn2.running_var)
    assert int(ours.stem.norm.num_batches_tracked) == 8


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (partial(Theirs, 18), partial(build, "resnet18")),
        (partial(Theirs, 34, classes=100), partial(build, "resnet34", num_classes=100)),
        (partial(Theirs, 50), partial(build, "resnet50", stride_at="3x3")),
        (partial(Theirs, 50, base_width=4, groups=32), partial(build, "resnext50-32x4d")),
        (partial(Theirs, 50, base_width=128), partial(build, "wrn-50-2")),
    ],
)
def test_the_real_sizes_fit_and_none_other(theirs: Callable[[], nn.Module], ours: Callable[[], Network]) -> None:
    with torch.device("meta"):
        state, model = theirs().state_dict(), ours()
        load_torchvision(model, state)
        other = build("resnet18", num_classes=7)
    with pytest.raises(ValueError, match=r"; build resnet\(") as caught:
        load_torchvision(other, state)
    call = re.search(r"build (resnet\(.*\))$", str(caught.value))
    assert call is not None
    with torch.device("meta"):
        advised = eval(call[1], {"resnet": resnet})
        load_torchvision(advised, state)
    assert repr(advised) == repr(model)


def test_old_state_dicts_do_not_count_batches() -> None:
    theirs, ours = used(Theirs(18, width=8)), models.resnet18(width=8).double()
    state = {name: value for name, value in theirs.state_dict().items() if "num_batches" not in name}
    load_torchvision(ours, state)
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))
    assert int(ours.stem.norm.num_batches_tracked) == 0


def test_weights_of_another_dtype_are_converted_and_not_shared() -> None:
    theirs, ours = used(Theirs(18, width=8)), models.resnet18(width=8)
    load_torchvision(ours, theirs.state_dict())
    assert ours.stem.conv.weight.dtype == torch.float32
    torch.testing.assert_close(ours.stem.conv.weight.double(), theirs.conv1.weight, rtol=1e-6, atol=1e-6)
    with torch.no_grad():
        theirs.fc.weight.zero_()
    assert ours.head.fc.weight.any()


def without(name: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if key != name}


R18, R50 = partial(Theirs, 18, width=8, classes=5), partial(Theirs, 50, width=8, classes=5)
BUILD18 = 'build resnet(18, data="imagenet", width=8, num_classes=5)'
BUILD50 = 'build resnet(50, data="imagenet", width=8, stride_at="3x3", num_classes=5)'


@pytest.mark.parametrize(
    ("model", "theirs", "words"),
    [
        (partial(models.resnet50, **small), R50, ["stride_at='1x1', not '3x3'", BUILD50]),
        (partial(models.resnet18, option="A", **small), R18, ["units with ZeroPad", BUILD18]),
        (
            partial(models.resnet18, option="C", **small),
            R18,
            ["missing: layer1.0.downsample.0.weight", BUILD18],
        ),
        (partial(models.resnet18, version=2, **small), R18, ["placement='preactivation', not 'original'"]),
        (partial(models.resnet18, stem="3x3", **small), R18, ["stem='3x3', not 'imagenet'", BUILD18]),
        (partial(models.resnet18, dropout=0.1, **small), R18, ["dropout", BUILD18]),
        (partial(models.resnet18, shortcut=0.5, **small), R18, ["units with Scaled", BUILD18]),
        (partial(models.resnet18, shortcut="exclusive-gate", **small), R18, ["units with Gated"]),
        (partial(models.resnet18, residual=False, **small), R18, ["units with NoShortcut"]),
        (lambda: plain_twin(models.resnet18(**small)), R18, ["units with NoShortcut"]),
        (lambda: deepen(models.resnet18(**small), 1), R18, ["deepened", BUILD18]),
        (lambda: fc_stack(4, 4), R18, ["no network of resnet(…), but fc", BUILD18]),
        (lambda: Network(nn.Identity(), [], nn.Identity(), input_shape=(1,)), R18, ["made by hand"]),
        (partial(models.resnet34, **small), R18, ["missing: layer1.2.conv1.weight", "more", BUILD18]),
        (partial(models.resnet18, **small), R50, ["not in the model: layer1.0.conv3.weight", "another shape", BUILD50]),
        (partial(models.resnet18, width=8), R18, ["fc.weight (5, 64) instead of (1000, 64)", "fc.bias", BUILD18]),
        (partial(models.resnet18, in_channels=1, **small), R18, ["conv1.weight (8, 3, 7, 7) instead of (8, 1, 7, 7)"]),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_changed(
    model: Callable[[], Network], theirs: Callable[[], nn.Module], words: list[str]
) -> None:
    net = model()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with pytest.raises(ValueError, match="does not fit the model") as caught:
        load_torchvision(net, theirs().state_dict())
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_a_state_dict_with_a_name_too_few_or_too_many() -> None:
    model, state = models.resnet18(**small), R18().state_dict()
    with pytest.raises(ValueError, match=r"missing: layer3\.1\.bn2\.running_var; build resnet\(18"):
        load_torchvision(model, without("layer3.1.bn2.running_var", state))
    with pytest.raises(ValueError, match=r"not in the model: aux\.weight; build"):
        load_torchvision(model, state | {"aux.weight": torch.ones(1)})
    with pytest.raises(ValueError, match=r"missing: fc\.weight; no network of resnet"):
        load_torchvision(model, without("fc.weight", state))
    with pytest.raises(ValueError, match=r"missing: conv1\.weight, bn1\.weight, bn1\.bias and .* no network of resnet"):
        load_torchvision(model, {})


@pytest.mark.parametrize(
    ("model", "state", "words"),
    [
        (R18, {}, "model must be a network built by gradflow.models; got Theirs"),
        (partial(models.resnet18, **small), [1], "state_dict must map names to tensors"),
        (partial(models.resnet18, **small), {"fc.weight": 1.0}, "state_dict must map names to tensors"),
    ],
)
def test_what_is_neither_model_nor_state(model: Callable[[], Any], state: Any, words: str) -> None:
    with pytest.raises(TypeError, match=re.escape(words)):
        load_torchvision(model(), state)
