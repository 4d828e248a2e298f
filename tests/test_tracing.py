"""tracing.py against autograd: every quantity, norm, choice of layers and kind of step."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from closeness import approx
from torch import Tensor, nn

from gradflow.measure.norms import NORMS
from gradflow.measure.tracing import QUANTITIES, trace
from gradflow.models import Identity, Scaled, Unit, conv_stack, fc_stack, resnet, textbook_fc
from gradflow.results import HISTOGRAM_EDGES, Trace

FORWARD = ("activation", "activation_std", "dead")
GRADIENTS = ("output_grad", "input_grad", "weight_grad")


MODELS: dict[str, Callable[[], nn.Module]] = {
    "fc plain": lambda: fc_stack(7, 9, in_features=5, out_features=3),
    "fc residual": lambda: fc_stack(8, 6, shortcut=Identity(), activation="tanh", norm=True, placement="original"),
    "conv scaled": lambda: conv_stack(6, 4, shortcut=Scaled(0.9), size=6, init="he"),
    "conv plain": lambda: conv_stack(5, 4, norm=True, size=6),
    "resnet A": lambda: resnet(8, width=4, size=8),
    "resnet B v2": lambda: resnet(8, width=4, size=8, option="B", version=2),
    "textbook": lambda: textbook_fc(),
    "textbook skip": lambda: textbook_fc(skip=True),
}


def case(name: str, dtype: torch.dtype = torch.float64, batch: int = 5) -> tuple[nn.Module, Tensor]:
    model = MODELS[name]().to(dtype)
    return model, torch.randn(batch, *model.input_shape, dtype=dtype)


def loss_of(output: Tensor) -> Tensor:
    target = torch.linspace(-1, 1, output.numel(), dtype=torch.float64).view_as(output)
    return F.mse_loss(output.double(), target)


@dataclass
class Seen:
    """What plain autograd says about one call of one module."""

    inputs: list[Tensor]
    outputs: list[Tensor]
    input_grads: list[Tensor] = field(default_factory=list)
    output_grads: list[Tensor] = field(default_factory=list)


@dataclass
class Truth:
    """Calls by module name in the order they ended, and the gradients of the matrices and kernels of each module."""

    calls: dict[str, list[Seen]]
    weight_grads: dict[str, list[Tensor]]


def autograd(model: nn.Module, x: Tensor, loss: Callable[[Any], Tensor] = loss_of) -> Truth:
    """The true gradients of a float64 copy, asked of torch.autograd.grad by name; the model is left alone."""
    model, x = copy.deepcopy(model).double(), x.double()
    calls: dict[str, list[Seen]] = {}

    def keep(name: str) -> Callable[..., None]:
        def kept(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
            calls.setdefault(name, []).append(Seen([*args], [output]))

        return kept

    handles = [module.register_forward_hook(keep(name)) for name, module in model.named_modules()]
    total = loss(model(x))
    for handle in handles:
        handle.remove()

    def grads(tensors: list[Tensor]) -> list[Tensor]:
        wanted = [tensor for tensor in tensors if tensor.requires_grad]
        found = torch.autograd.grad(total, wanted, retain_graph=True, allow_unused=True) if wanted else ()
        return [grad for grad in found if grad is not None]

    for seen in (one for ones in calls.values() for one in ones):
        seen.input_grads, seen.output_grads = grads(seen.inputs), grads(seen.outputs)
    kernels = {
        name: [weight for weight in module.parameters(recurse=False) if weight.dim() >= 2]
        for name, module in model.named_modules()
    }
    return Truth(calls, {name: grads(weights) for name, weights in kernels.items() if weights})


def norm_of(tensors: list[Tensor], norm: str = "rms") -> float:
    values = np.abs(np.concatenate([tensor.detach().double().numpy().ravel() for tensor in tensors] or [np.empty(0)]))
    if not values.size:
        return math.nan
    squares = math.fsum((values * values).tolist())
    return {
        "rms": math.sqrt(squares / values.size),
        "l2": math.sqrt(squares),
        "mean_abs": math.fsum(values.tolist()) / values.size,
        "max": float(values.max()),
    }[norm]


def silent_fraction(output: Tensor) -> float:
    """Units that are ≤ 0 everywhere: channels of images, else features in the last dimension."""
    rows = output.movedim(1 if output.dim() == 4 else -1, 0).flatten(1)
    return sum(bool((row <= 0).all()) for row in rows) / len(rows)


def expected(truth: Truth, name: str, quantity: str, norm: str = "rms", call: int = 0) -> float:
    seen = truth.calls[name][call]
    if quantity == "activation_std":
        return float(seen.outputs[0].detach().std(correction=0))
    if quantity == "dead":
        return silent_fraction(seen.outputs[0])
    return norm_of(
        {
            "output_grad": seen.output_grads,
            "input_grad": seen.input_grads,
            "weight_grad": truth.weight_grads.get(name, []),
            "activation": seen.outputs,
        }[quantity],
        norm,
    )


def weighted_names(model: nn.Module) -> list[str]:
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, (nn.Linear, nn.Conv2d)) and ".shortcut." not in name
    ]


def assert_matches(result: Trace, truth: Truth, step: int = 0, rel: float = 1e-9) -> None:
    for quantity in result.quantities:
        for layer, value in zip(result.layers, result[quantity][step], strict=True):
            name, _, call = layer.partition("@")
            true = expected(truth, name, quantity, result.norm, int(call or 1) - 1)
            assert value == approx(true, rel=rel), (quantity, layer)


def traced(model: nn.Module, x: Tensor, **options: Any) -> Trace:
    with trace(model, **options) as watched:
        loss_of(model(x)).backward()
    return watched.result


# ── each quantity is the true one ──


@pytest.mark.parametrize("name", MODELS)
def test_gradients_and_activations_of_every_weighted_layer(name: str) -> None:
    model, x = case(name)
    truth = autograd(model, x)
    result = traced(model, x, quantities=GRADIENTS + FORWARD)
    assert list(result.layers) == weighted_names(model)
    assert result.values.shape == (1, len(result.layers), 6)
    assert not result.nonfinite.any()
    assert_matches(result, truth)
    assert result.shapes == tuple(tuple(truth.calls[layer][0].outputs[0].shape) for layer in result.layers)
    sizes = [[expected_size(truth, layer, quantity) for quantity in GRADIENTS] for layer in result.layers]
    assert result.sizes[:, :3].tolist() == sizes
    assert np.isnan(result["input_grad"][0, 0])


def expected_size(truth: Truth, name: str, quantity: str) -> int:
    seen = truth.calls[name][0]
    grads = {"output_grad": seen.output_grads, "input_grad": seen.input_grads, "weight_grad": truth.weight_grads[name]}
    return sum(grad.numel() for grad in grads[quantity])


@pytest.mark.parametrize("quantity", [*GRADIENTS, *FORWARD])
def test_each_quantity_asked_for_alone(quantity: str) -> None:
    model, x = case("resnet A")
    result = traced(model, x, quantities=quantity)
    assert result.quantities == (quantity,)
    assert result.steps == 1
    assert_matches(result, autograd(model, x))


@pytest.mark.parametrize("name", ["fc residual", "resnet A"])
@pytest.mark.parametrize("norm", NORMS)
def test_every_norm(name: str, norm: str) -> None:
    model, x = case(name)
    result = traced(model, x, quantities=(*GRADIENTS, "activation"), norm=norm)
    assert result.norm == norm
    assert_matches(result, autograd(model, x))


@pytest.mark.parametrize("name", MODELS)
def test_float32_agrees_with_autograd_in_float64(name: str) -> None:
    model, x = case(name, torch.float32)
    assert_matches(traced(model, x, quantities=GRADIENTS + FORWARD), autograd(model, x), rel=2e-3)


@pytest.mark.parametrize(("dtype", "rel"), [(torch.float16, 0.1), (torch.bfloat16, 0.2), (torch.float64, 1e-9)])
def test_models_of_other_dtypes(dtype: torch.dtype, rel: float) -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4)).to(dtype)
    x = torch.randn(5, 6, dtype=dtype)
    result = traced(model, x, quantities=(*GRADIENTS, "activation", "activation_std"))
    assert_matches(result, autograd(model, x), rel=rel)
    assert set(result.dtypes) == {str(dtype).removeprefix("torch.")}
    assert result.provenance["dtype"] == str(dtype).removeprefix("torch.")


def test_vanishing_float32_gradients_keep_their_digits() -> None:
    model = nn.Sequential(*(nn.Linear(4, 4, bias=False) for _ in range(9)))
    for layer in model:
        nn.init.constant_(layer.weight, 2.5e-6)
    result = traced(model, torch.ones(3, 4))
    assert result["output_grad"][0, 0] < 1e-38
    assert_matches(result, autograd(model, torch.ones(3, 4)), rel=2e-3)


def test_dead_and_saturated_units() -> None:
    model = nn.Sequential(nn.Conv2d(2, 6, 3), nn.ReLU(), nn.Conv2d(6, 5, 1), nn.Tanh(), nn.Flatten(1), nn.Linear(20, 7))
    model.append(nn.Sigmoid()).append(nn.ReLU()).double()
    with torch.no_grad():
        model[0].bias[:4] = -100
        model[2].weight.mul_(20)
        model[5].weight.mul_(20)
    x = torch.randn(3, 2, 4, 4, dtype=torch.float64)
    result = traced(model, x, layers="all", quantities=("dead", "saturation"))
    truth = autograd(model, x)
    assert_matches(traced(model, x, layers="all", quantities="dead"), truth)
    rows = dict(zip(result.layers, result.values[0], strict=True))
    assert rows["1"][0] == approx(4 / 6)
    tanh, sigmoid = (truth.calls[name][0].outputs[0] for name in ("3", "6"))
    assert rows["3"][1] == approx(float((tanh.abs() > 0.97).double().mean()))
    assert rows["6"][1] == approx(float(((sigmoid < 0.015) | (sigmoid > 0.985)).double().mean()))
    assert 0 < rows["3"][1] < 1
    assert 0 < rows["6"][1] < 1
    assert np.isnan(rows["0"][1])


def test_dead_features_of_a_sequence() -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU()).double()
    with torch.no_grad():
        model[0].bias[:2] = -50
    result = traced(model, torch.randn(2, 5, 4, dtype=torch.float64), layers=nn.ReLU, quantities="dead")
    assert result["dead"].item() == approx(2 / 6)


def test_activation_std_of_tiny_and_of_far_off_values() -> None:
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3))
    nn.init.constant_(model[0].weight, 1e-30)
    with torch.no_grad():
        model[1].bias += 1e4
        x = torch.randn(8, 3)
        with trace(model, quantities="activation_std") as watched:
            model(x)
        outputs = [model[0](x).double(), model(x).double()]
    stds = [float((output - output.mean()).pow(2).mean().sqrt()) for output in outputs]
    assert watched.result["activation_std"][0] == approx(stds, rel=1e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_weight_update_ratio_and_drift(norm: str) -> None:
    model, x = case("conv plain")
    twin = copy.deepcopy(model)
    kernels = [twin.get_submodule(name).weight for name in weighted_names(twin)]
    history = [[weight.detach().clone() for weight in kernels]]
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.05, momentum=0.9)
    for _ in range(3):
        optimizer.zero_grad()
        loss_of(twin(x)).backward()
        optimizer.step()
        history.append([weight.detach().clone() for weight in kernels])

    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    with trace(model, quantities=("weight", "update_ratio", "drift"), norm=norm) as watched:
        for _ in range(3):
            optimizer.zero_grad()
            loss_of(model(x)).backward()
            optimizer.step()
        loss_of(model(x)).backward()
    result = watched.result
    assert result.steps == 4
    for step in range(4):
        for i, start in enumerate(history[0]):
            now = history[step][i]
            assert result["weight"][step, i] == approx(norm_of([now], norm), rel=1e-12)
            drift = norm_of([now - start], "l2") / norm_of([start], "l2")
            assert result["drift"][step, i] == approx(drift, rel=1e-9)
            if step < 3:
                ratio = norm_of([history[step + 1][i] - now], "l2") / norm_of([now], "l2")
                assert result["update_ratio"][step, i] == approx(math.log10(ratio), rel=1e-9)
    assert np.isnan(result["update_ratio"][3]).all()
    assert (result["drift"][0] == 0).all()


def test_the_last_update_is_read_when_the_block_ends() -> None:
    model, x = case("textbook")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with trace(model, quantities="update_ratio") as watched:
        loss_of(model(x)).backward()
        optimizer.step()
    assert np.isfinite(watched.result["update_ratio"]).all()


# ── histograms ──


class Cotangent(nn.Module):
    """An identity layer whose output gradient is whatever the loss multiplies it with."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, size, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


def test_histograms_count_every_element_in_its_bin() -> None:
    values = [0.0, 1e-60, 3e-50, 2e-30, -2e-30, 0.3, -0.4, 1.0, 2.0, 4.0, 1e49, 1e60, math.inf, math.nan]
    grad = torch.tensor([values], dtype=torch.float64)
    model = Cotangent(len(values))
    x = torch.full((1, len(values)), 0.02, dtype=torch.float64)
    with trace(model, histograms=True, quantities=("output_grad", "activation", "weight")) as watched:
        (model(x) * grad).sum().backward()
    result = watched.result
    counts = result.histogram("output_grad")[0, 0]
    found = [np.searchsorted(HISTOGRAM_EDGES, math.log10(abs(v)), side="right") - 1 for v in values[2:12]]
    places = np.clip([0, 0, *found, 10**6], 0, len(HISTOGRAM_EDGES) - 2)
    assert counts.tolist() == np.bincount(places, minlength=len(HISTOGRAM_EDGES) - 1).tolist()
    assert result.nonfinite[0, 0, 0] == 2
    assert result.histogram("activation")[0, 0, 96] == len(values)
    assert result.histogram("weight").sum() == 0


def test_histogram_counts_sum_to_the_elements() -> None:
    model, x = case("resnet A", torch.float32)
    plain = traced(model, x, quantities=(*GRADIENTS, "activation"))
    result = traced(model, x, quantities=(*GRADIENTS, "activation"), histograms=True)
    assert plain.histograms is None
    assert result.histograms.shape == (*result.values.shape, len(HISTOGRAM_EDGES) - 1)
    assert (result.histograms[0].sum(-1) == result.sizes).all()
    assert result["output_grad"] == approx(plain["output_grad"], rel=1e-6)


# ── which layers ──


def test_layers_by_word_type_pattern_predicate_and_tuple() -> None:
    model, x = case("resnet B v2")
    truth = autograd(model, x)
    modules = dict(model.named_modules())
    leaves = [name for name, module in modules.items() if not list(module.children())]
    choices: dict[Any, list[str]] = {
        "weighted": weighted_names(model),
        "all": leaves,
        "units": [name for name, module in modules.items() if isinstance(module, Unit)],
        nn.BatchNorm2d: [name for name, module in modules.items() if isinstance(module, nn.BatchNorm2d)],
        "*.conv1": [name for name in modules if name.endswith(".conv1")],
        lambda name, module: "head" in name and isinstance(module, nn.Linear): ["head.fc"],
        ("stem*", nn.Linear): ["stem", "stem.conv", "head.fc"],
    }
    for choice, names in choices.items():
        result = traced(model, x, layers=choice, quantities=("output_grad", "activation"))
        assert set(result.layers) == set(names), choice
        assert_matches(result, truth)


def test_rows_stand_in_the_order_of_forward() -> None:
    class Crossed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last, self.first = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.first(x))

    model, x = Crossed(), torch.randn(2, 4)
    assert traced(model, x).layers == ("first", "last")
    assert traced(model, x, quantities="weight_grad").layers == ("first", "last")


# ── steps ──


def batches(model: nn.Module, count: int) -> list[Tensor]:
    return [torch.randn(4, *model.input_shape, dtype=torch.float64) for _ in range(count)]


def test_each_backward_pass_is_one_step() -> None:
    model, _ = case("fc residual")
    xs = batches(model, 3)
    truths = []
    with trace(model, quantities=GRADIENTS + FORWARD) as watched:
        for x in xs:
            truths.append(autograd(model, x))
            loss_of(model(x)).backward()
    assert watched.result.steps == 3
    for step, truth in enumerate(truths):
        assert_matches(watched.result, truth, step)


@pytest.mark.parametrize("quantity", [*GRADIENTS, "weight", "activation"])
@pytest.mark.parametrize("every", [2, 3])
def test_only_every_nth_step_is_recorded(quantity: str, every: int) -> None:
    model, _ = case("fc plain")
    xs = batches(model, 7)
    with trace(model, quantities=quantity, every=every) as watched:
        for x in xs:
            loss_of(model(x)).backward()
    result = watched.result
    assert result.steps == len(xs[::every])
    for step, x in enumerate(xs[::every]):
        if quantity != "weight":
            assert_matches(result, autograd(model, x), step)


def test_every_nth_step_with_all_quantities_and_training() -> None:
    model, x = case("conv plain")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    twin, options = copy.deepcopy(model), [q for q in QUANTITIES if q != "saturation"]
    results = []
    for one, every in ((twin, 1), (model, 3)):
        optimizer = torch.optim.SGD(one.parameters(), lr=0.05)
        with trace(one, quantities=options, every=every) as watched:
            for _ in range(5):
                optimizer.zero_grad()
                loss_of(one(x)).backward()
                optimizer.step()
        results.append(watched.result)
    assert results[1].values == approx(results[0].values[::3], rel=1e-12)


def test_forward_quantities_alone_need_no_backward() -> None:
    model, _ = case("resnet A")
    model.eval()
    xs = batches(model, 3)
    with trace(model, quantities=FORWARD) as watched, torch.no_grad():
        for x in xs:
            model(x)
    result = watched.result
    assert result.steps == 3
    for step, x in enumerate(xs):
        assert_matches(result, autograd(model, x), step)


def test_forward_quantities_under_inference_mode() -> None:
    model, x = case("textbook")
    with trace(model, quantities=FORWARD) as watched, torch.inference_mode():
        model(x)
    assert_matches(watched.result, autograd(model, x))


@pytest.mark.parametrize("quantities", [GRADIENTS, (*GRADIENTS, *FORWARD), ("activation", "weight")])
def test_passes_without_a_backward_do_not_count(quantities: tuple[str, ...]) -> None:
    model, x = case("fc residual")
    model.eval()
    other = torch.randn_like(x)
    with trace(model, quantities=quantities) as watched:
        with torch.no_grad():
            model(other)
        model(other)
        loss_of(model(x)).backward()
        with torch.no_grad():
            model(other)
        model(other)
        loss_of(model(x)).backward()
        model(other)
    result = watched.result
    assert result.steps == 2
    assert list(result.layers) == weighted_names(model)
    if "weight" not in quantities:
        assert_matches(result, autograd(model, x), 0)
        assert_matches(result, autograd(model, x), 1)


def test_two_forward_passes_before_two_backward_passes() -> None:
    model, _ = case("fc plain")
    first, second = batches(model, 2)
    with trace(model, quantities=GRADIENTS + FORWARD) as watched:
        losses = [loss_of(model(x)) for x in (first, second)]
        for loss in reversed(losses):
            loss.backward()
    assert_matches(watched.result, autograd(model, second), 0)
    assert_matches(watched.result, autograd(model, first), 1)


def test_the_result_can_be_read_inside_the_block() -> None:
    model, x = case("textbook")
    with trace(model) as watched:
        assert watched.result.steps == 0
        loss_of(model(x)).backward()
        assert_matches(watched.result, autograd(model, x))
        assert watched.reached == "head.fc5"


def test_provenance_says_how_it_was_while_recording() -> None:
    model, x = case("resnet A")
    result = traced(model.train(), x)
    assert (result.provenance["mode"], result.provenance["batch"]) == ("train", 5)
    with trace(model) as watched:
        loss_of(model(x)).backward()
    model.eval().float()
    assert (watched.result.provenance["mode"], watched.result.provenance["dtype"]) == ("train", "float64")


# ── at the door ──


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"quantities": ("output_grad", "gradient")}, ValueError, "output_grad, input_grad, weight_grad, activation"),
        ({"quantities": ()}, ValueError, "quantities must be among"),
        ({"norm": "l1"}, ValueError, "rms, l2, mean_abs, max; got 'l1'"),
        ({"every": 0}, ValueError, "at least 1; got 0"),
        ({"every": 1.5}, ValueError, "at least 1; got 1.5"),
        ({"every": True}, ValueError, "at least 1; got True"),
        ({"scaler": 1024.0}, TypeError, "GradScaler; got float"),
        ({"layers": "*.nothing"}, ValueError, r"matches no module of Network; its modules are: stem, stem\.fc1"),
        ({"layers": 3}, TypeError, '"weighted", "all", "units", a name pattern'),
        ({"layers": ()}, TypeError, '"weighted", "all"'),
        ({"layers": int}, TypeError, '"weighted", "all"'),
        ({"quantities": "saturation"}, ValueError, 'saturation needs one of Tanh, .*layers="all"'),
    ],
)
def test_bad_arguments_are_refused(options: dict[str, Any], error: type[Exception], words: str) -> None:
    model, _ = case("textbook")
    with pytest.raises(error, match=words):
        trace(model, **options)
    assert not any(module._forward_hooks for module in model.modules())


def test_only_modules_are_traced() -> None:
    with pytest.raises(TypeError, match=r"torch\.nn\.Module; got function"):
        trace(loss_of)


def test_a_result_needs_a_block_and_a_block_a_new_trace() -> None:
    model, x = case("textbook")
    watched = trace(model)
    assert watched.reached is None
    with pytest.raises(RuntimeError, match="nothing recorded yet: use `with trace"):
        _ = watched.result
    with watched:
        loss_of(model(x)).backward()
    with pytest.raises(RuntimeError, match="used before"), watched:
        pass
    assert watched.result.steps == 1
