"""cost(): against published numbers, the source chapter's formula by hand, and sums of one's own."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import gradflow
from gradflow import models
from gradflow.models import ARCHITECTURES, cost, fc_stack, resnet
from gradflow.results import Cost


def on_meta(make: Callable[..., nn.Module], *args: Any, **options: Any) -> nn.Module:
    with torch.device("meta"):
        return make(*args, **options)


# ── published numbers ──


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("resnet18", 1.8e9),
        ("resnet34", 3.6e9),
        ("resnet50", 3.8e9),
        ("resnet101", 7.6e9),
        ("resnet152", 11.3e9),
        ("vgg19", 19.6e9),
        ("resnext50-32x4d", 4.23e9),
        ("resnext101-32x8d", 16.41e9),
        ("wrn-50-2", 11.40e9),
        ("vgg16", 15.47e9),
        ("wrn-28-10", 5.2e9),
        ("wrn-40-4", 1.3e9),
        ("resnext29-8x64d", 5.4e9),
        ("resnet110", 0.25e9),
        ("plain34", 3.6e9),
    ],
)
def test_multiply_adds_as_published(name: str, published: float) -> None:
    """He15 Table 1 and Fig. 3, and the papers and pages of the later families."""
    found = ARCHITECTURES[name].cost()
    assert found.total_multiply_adds == pytest.approx(published, rel=0.03)
    assert found.total_flops == 2 * found.total_multiply_adds
    assert found.input_shape == ARCHITECTURES[name].input_shape


@pytest.mark.parametrize(("depth", "published"), [(50, 4.09e9), (101, 7.80e9), (152, 11.51e9)])
def test_multiply_adds_with_the_stride_on_the_3x3(depth: int, published: float) -> None:
    found = cost(on_meta(resnet, depth, data="imagenet", stride_at="3x3"))
    assert found.total_multiply_adds == pytest.approx(published, rel=0.002)


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("resnet20", 269_722),
        ("resnet56", 853_018),
        ("resnet18", 11_689_512),
        ("resnet152", 60_192_808),
        ("vgg16", 138_357_544),
        ("vgg19", 143_667_240),
    ],
)
def test_parameters(name: str, count: int) -> None:
    assert ARCHITECTURES[name].cost().total_parameters == count


def conv_flops(c_in: int, c_out: int, kernel: int, size: int) -> int:
    """Source chapter 15.6: 2·C_in·K²·H·W·C_out."""
    return 2 * c_in * kernel**2 * size**2 * c_out


def test_resnet18_by_the_chapters_formula() -> None:
    expected = {"stem.conv": conv_flops(3, 64, 7, 112)}
    width, size = 64, 56
    for unit in range(8):
        out, after = (2 * width, size // 2) if unit in (2, 4, 6) else (width, size)
        expected[f"units.{unit}.branch.conv1"] = conv_flops(width, out, 3, after)
        expected[f"units.{unit}.branch.conv2"] = conv_flops(out, out, 3, after)
        if out != width:
            expected[f"units.{unit}.shortcut.conv"] = conv_flops(width, out, 1, after)
        width, size = out, after
    expected["head.fc"] = 2 * 512 * 1000
    found = ARCHITECTURES["resnet18"].cost()
    flops = dict(zip(found.layers, found.flops.tolist(), strict=True))
    assert {name: value for name, value in flops.items() if value} == expected
    assert found.total_flops == sum(expected.values())
    assert dict(zip(found.layers, found.shapes, strict=True))["units.2.branch.conv1"] == (128, 28, 28)


def test_groups_divide_the_channels_that_come_in() -> None:
    found = cost(nn.Sequential(nn.Conv2d(8, 12, (3, 5), padding=(1, 2), groups=4)), (8, 6, 7))
    assert found.flops.tolist() == [2 * (8 // 4) * 15 * 6 * 7 * 12]
    assert found.parameters.tolist() == [12 * 2 * 15 + 12]


def test_fc_stack() -> None:
    found = cost(fc_stack(6, 8, shortcut=1.0, in_features=3, out_features=2, norm=True))
    wide = [row for row, kind in enumerate(found.types) if kind == "Linear"]
    assert found.flops[wide].tolist() == [2 * 3 * 8, *[2 * 64] * 4, 2 * 8 * 2]
    assert found.input_shape == (3,)
    assert found.flops.sum() == found.flops[wide].sum(), "BatchNorm is left out"


# ── any module ──


class Odd(nn.Module):
    """Layers in a list, one used twice, a shared weight, a product outside any layer, a gate without parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 6), nn.Linear(6, 6)])
        self.tied = nn.Linear(6, 6)
        self.tied.weight = self.layers[1].weight
        self.mix = nn.Parameter(torch.ones(6, 5))
        self.unused = nn.Linear(2, 2)
        self.fixed = torch.ones(5)

    def forward(self, x: Tensor) -> tuple[Tensor, str]:
        x = self.layers[0](x)
        x = self.tied(self.layers[1](self.layers[1](x)))
        return (x @ self.mix) * self.fixed, "more"


def test_whatever_multiplies_is_counted_where_it_happens() -> None:
    found = cost(Odd(), (3, 4))
    flops = dict(zip(found.layers, found.flops.tolist(), strict=True))
    assert flops == {
        "Odd": 2 * 3 * 6 * 5,
        "layers.0": 2 * 3 * 4 * 6,
        "layers.1": 2 * 2 * 3 * 6 * 6,
        "tied": 2 * 3 * 6 * 6,
        "unused": 0,
    }
    owned = dict(zip(found.layers, found.parameters.tolist(), strict=True))
    assert owned == {"Odd": 30, "layers.0": 30, "layers.1": 42, "tied": 6, "unused": 6}
    assert found.total_parameters == sum(p.numel() for p in Odd().parameters())
    shapes = dict(zip(found.layers, found.shapes, strict=True))
    assert (shapes["Odd"], shapes["tied"], shapes["unused"]) == ((3, 5), (3, 6), ())
    assert re.search(r"unused +Linear +– +6 +0 +0\n", repr(found))


def test_a_recurrent_layer_and_a_transposed_convolution() -> None:
    found = cost(nn.GRU(5, 6, batch_first=True), (7, 5))
    assert found.flops.tolist() == [7 * 2 * (5 * 18 + 6 * 18)]
    assert cost(nn.ConvTranspose1d(4, 3, 5), (4, 10)).flops.tolist() == [2 * 4 * 10 * 3 * 5]


def test_old_style_weight_norm_keeps_its_weight() -> None:
    layer = torch.nn.utils.spectral_norm(nn.Linear(3, 4))
    assert cost(layer).flops.tolist() == [2 * 12]


def test_input_size() -> None:
    small = resnet(8, width=4)
    assert cost(small).input_shape == (3, 32, 32)
    half = cost(small, 16)
    assert half == cost(small, (3, 16, 16)) == cost(small, [3, 16, 16])
    head = 2 * 16 * 10
    assert 4 * (half.total_flops - head) == cost(small).total_flops - head
    assert cost(nn.Conv2d(2, 3, 3)).input_shape == (2, 32, 32)


# ── the user's model ──


def test_the_model_is_left_alone() -> None:
    model = resnet(8, width=4).train()
    called: list[str] = []
    for module in model.modules():
        module.register_forward_hook(lambda *_: called.append("forward"))
        module.register_forward_pre_hook(lambda *_: called.append("pre"))
    model(torch.randn(2, 3, 8, 8)).sum().backward()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    hooks = [list(module._forward_hooks) for module in model.modules()]
    called.clear()
    state = torch.get_rng_state()
    cost(model)
    assert called == []
    assert torch.equal(torch.get_rng_state(), state)
    assert [list(module._forward_hooks) for module in model.modules()] == hooks
    assert all(module.training for module in model.modules())
    assert {str(p.device) for p in model.parameters()} == {"cpu"}
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(torch.equal(p.grad, was) for p, was in zip(model.parameters(), gradients, strict=True))


def test_inside_a_trace_and_without_gradients() -> None:
    model = resnet(8, width=4, size=8)
    alone = cost(model)
    with gradflow.trace(model) as watched:
        model(torch.randn(2, 3, 8, 8)).sum().backward()
        assert cost(model) == alone
    assert len(watched.result.values) == 1
    with torch.inference_mode():
        assert cost(model) == alone
    assert cost(on_meta(resnet, 8, width=4, size=8)) == alone
    assert cost(model.double().eval()) == alone


class Looks(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x) if x.sum() > 0 else x


@pytest.mark.parametrize(
    ("model", "size", "kind", "words"),
    [
        (lambda: "resnet18", None, TypeError, ["torch.nn.Module", "'resnet18'"]),
        (lambda: resnet(8, width=2), 0, ValueError, ["input_size=0"]),
        (lambda: resnet(8, width=2), 32.0, ValueError, ["input_size=32.0"]),
        (lambda: resnet(8, width=2), (3, -1, 4), ValueError, ["input_size=-1"]),
        (lambda: resnet(8, width=2), "32", ValueError, ["input_size='32'"]),
        (lambda: fc_stack(4, 3), 5, ValueError, ["no images", "input_size=5"]),
        (lambda: nn.ReLU(), None, ValueError, ["ReLU"]),
        (lambda: resnet(8, width=2), (4, 8, 8), RuntimeError, ["Network failed in stem.conv", "(4, 8, 8)"]),
        (Looks, None, RuntimeError, ["Looks failed in its own forward", "(4,)", "without values"]),
    ],
)
def test_mistakes(model: Callable[[], Any], size: Any, kind: type[Exception], words: list[str]) -> None:
    with pytest.raises(kind) as caught:
        cost(model(), size)
    assert all(word in str(caught.value) for word in words), str(caught.value)


# ── the result ──


def test_the_table() -> None:
    found = cost(models.resnet20(width=4, num_classes=7))
    text = repr(found)
    lines = text.splitlines()
    assert "for one sample of 3×32×32" in lines[0]
    assert f"{found.total_parameters:,} parameters" in lines[0]
    assert re.fullmatch(r"stem\.conv +Conv2d +4×32×32 +108 +110,592 +221,184", lines[2])
    assert re.fullmatch(
        rf"total +{found.total_parameters:,} +{found.total_multiply_adds:,} +{found.total_flops:,}", lines[-2]
    )
    assert "BatchNorm" in lines[-1]
    frame = found.to_frame()
    assert list(frame.columns) == ["layer", "type", "output", "parameters", "multiply_adds", "flops"]
    assert frame["flops"].sum() == found.total_flops
    assert frame["output"][0] == (4, 32, 32)


def test_it_is_saved_and_loaded(tmp_path: Path) -> None:
    found = cost(resnet(8, width=2))
    found.save(tmp_path / "cost.json")
    back = gradflow.load(tmp_path / "cost.json")
    assert isinstance(back, Cost)
    assert back == found
    assert repr(back) == repr(found)
    assert back.shapes == found.shapes
    with pytest.raises(TypeError, match="no picture"):
        found.plot()
    assert "<pre style=" in found._repr_mimebundle_()["text/html"]
