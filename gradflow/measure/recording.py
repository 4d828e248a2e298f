"""The hooks of a trace, and how what they see becomes steps: the only file that knows hooks.

A forward hook on each chosen module puts a tensor hook on its output. Unlike ``register_full_backward_hook`` this
survives in-place ReLUs and additions, sees the gradient of the value as it was before them, and returns nothing.
What a backward pass showed is gathered by call and becomes one step when the pass ends.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from gradflow.measure import norms
from gradflow.measure.calls import Call, Layer, Pass
from gradflow.measure.provenance import describe
from gradflow.measure.signals import FORWARD, Options, Sample, change, read_output, sample, scaled, tensors_in
from gradflow.measure.steps import Step

WEIGHTS = ("weight", "update_ratio", "drift")
"""Quantities read from the weights themselves."""

_FETCH_EVERY = 64
"""Steps whose readings may wait on a GPU before they are fetched together: a few megabytes, and no waiting in most."""


class Recorder:
    """The hooks and the readings of one ``with trace`` block."""

    def __init__(self, modules: Mapping[str, nn.Module], options: Options) -> None:
        quantities = options.quantities
        self.options = options
        self.of_output = tuple(quantity for quantity in quantities if quantity in FORWARD)
        self.of_weights = tuple(quantity for quantity in quantities if quantity in WEIGHTS)
        self.forward_only = len(self.of_output) == len(quantities)
        self.wants_output_grad = "output_grad" in quantities
        needs_weights = bool(self.of_weights) or "weight_grad" in quantities
        self.layers = [Layer(i, name, module, needs_weights) for i, (name, module) in enumerate(modules.items())]
        self.handles: list[RemovableHandle] = []
        self.active = False
        self.recording = False
        self.model: nn.Module | None = None
        self.provenance: dict[str, Any] = {}
        self.seen_steps = 0
        self.steps: list[Step] = []
        self.order: dict[int, None] = {}
        self.last: Layer | None = None
        # Forward passes are told apart only where something is read in them.
        self.current = Pass() if self.of_output else None
        # What the backward pass under way has shown; nothing of it outlives the pass.
        self.closing: weakref.ref[Callable[[], None]] | None = None
        self.leaves: dict[tuple[int, int, str], weakref.ref[Tensor]] = {}
        self.scale = 1.0
        self.touched: list[Pass] = []
        self.found: list[tuple[Call | Layer, Sample]] = []
        self.small: list[tuple[Call | Layer, str, Tensor]] = []

    # ── between two steps ──

    def state(self) -> dict[str, Any]:
        """What was recorded so far and is needed to go on, as numbers, text and tensors."""
        self._read_updates()
        return {
            "seen_steps": self.seen_steps,
            "steps": [step.state() for step in self.steps],
            "order": list(self.order),
            "provenance": self.provenance,
            "shapes": [layer.shape for layer in self.layers],
            "at_start": [layer.at_start for layer in self.layers],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where :meth:`state` was taken, with the same layers and options."""
        self.seen_steps = state["seen_steps"]
        self.recording = self.seen_steps % self.options.every == 0
        self.steps = [Step.from_state(step) for step in state["steps"]]
        self.order = dict.fromkeys(state["order"])
        self.provenance = state["provenance"]
        for layer, shape, at_start in zip(self.layers, state["shapes"], state["at_start"], strict=True):
            layer.shape = tuple(shape)
            layer.at_start = [kept.to(now.device) for kept, now in zip(at_start, layer.values(), strict=False)]

    # ── putting hooks on and taking them off ──

    def start(self, model: nn.Module) -> None:
        self.model = model
        self.active = self.recording = True
        if self.current is not None:
            self.handles.append(model.register_forward_pre_hook(_Hook(self._pass_starter(model))))
        for layer in self.layers:
            if "input_grad" in self.options.quantities:
                self.handles.append(
                    layer.module.register_forward_pre_hook(_Hook(self._input_observer(layer)), with_kwargs=True)
                )
            self.handles.append(layer.module.register_forward_hook(_Hook(self._output_observer(layer))))
            self._watch_weights(layer)
            if "drift" in self.of_weights:
                layer.at_start = layer.copies()
        if self.of_output or self.of_weights or self.options.every > 1:
            self.handles.append(model.register_forward_hook(_Hook(self._pass_ender(model))))

    def stop(self) -> None:
        if self.forward_only and self.current is not None and self.current.calls:
            self._end_step(self.current.calls)  # layers were called without the whole model
        self.active = self.recording = False
        for handle in self.handles:
            handle.remove()
        self._forget_step()
        self._read_updates()
        for step in self.steps:
            step.fetch()

    def _watch_weights(self, layer: Layer) -> None:
        """Put a hook on each weight that has a gradient; one frozen now may be thawed later, so look again each
        call."""
        if "weight_grad" not in self.options.quantities:
            layer.unwatched = {}
        for name, weight in list(layer.unwatched.items()):
            if weight.requires_grad:
                del layer.unwatched[name]
                self.handles.append(weight.register_hook(self._gradient_observer(layer, "weight_grad")))

    # ── the observers: named functions that return None, silent for copies of the module and after the block ──

    def _pass_starter(self, model: nn.Module) -> Callable[..., None]:
        def start_pass(module: nn.Module, args: Any) -> None:
            if self.active and module is model and not _in_backward():
                self.current = Pass()

        return start_pass

    def _pass_ender(self, model: nn.Module) -> Callable[..., None]:
        def end_pass(module: nn.Module, args: Any, output: Any) -> None:
            if not self.active or module is not model or _in_backward():
                return
            ended = self.current
            if ended is not None:
                self.current = Pass()
            if self.forward_only:
                self._end_step(ended.calls if ended is not None else [])
                return
            for tensor in tensors_in(output):
                if tensor.requires_grad:
                    tensor.register_hook(self._step_opener(ended))

        return end_pass

    def _step_opener(self, owner: Pass | None) -> Callable[[Tensor], None]:
        def open_step(grad: Tensor) -> None:
            if self.active:
                self._open_step()
                if owner is not None and owner not in self.touched:
                    self.touched.append(owner)

        return open_step

    def _output_observer(self, layer: Layer) -> Callable[..., None]:
        def observe_output(module: nn.Module, args: Any, output: Any) -> None:
            if not self.active or module is not layer.module:
                return
            recomputing = _in_backward()
            if recomputing and not self.forward_only:
                self._open_step()
            if not self.recording or (recomputing and not layer.without_grad and layer.started is None):
                return
            tensors = (output,) if type(output) is Tensor else _distinct(tensors_in(output))
            if not layer.shape and tensors:
                self._first_call(layer, tensors[0])
            if layer.unwatched:
                self._watch_weights(layer)
            self.last = layer
            call, layer.started = layer.started or self._call(layer, recomputing), None
            if self.of_output and not recomputing:
                call.forward = read_output(layer.module, tensors, self.of_output, self.options)
            if self.wants_output_grad:
                self._watch_gradient(call, "output_grad", tensors)

        return observe_output

    def _first_call(self, layer: Layer, output: Tensor) -> None:
        layer.shape = tuple(output.shape)
        self.order.setdefault(layer.index)

    def _input_observer(self, layer: Layer) -> Callable[..., None]:
        def observe_input(module: nn.Module, args: Any, kwargs: Any) -> None:
            # Before the call, because an in-place layer overwrites its input.
            recomputing = _in_backward()
            if not self.recording or module is not layer.module or (recomputing and not layer.without_grad):
                return
            layer.started = self._call(layer, recomputing)
            if torch.is_grad_enabled():
                self._watch_gradient(layer.started, "input_grad", _distinct(tensors_in((args, kwargs))))

        return observe_input

    def _watch_gradient(self, call: Call, quantity: str, tensors: Iterable[Tensor]) -> None:
        for tensor in tensors:
            if tensor.grad_fn is not None:
                tensor.register_hook(self._gradient_observer(call, quantity))
            elif tensor.requires_grad:
                self._watch_leaf(call, quantity, tensor)

    def _watch_leaf(self, call: Call, quantity: str, leaf: Tensor) -> None:
        """Hook a leaf that goes in or out of a layer once: unlike a graph, it outlives the step and the block."""
        key = (id(leaf), call.layer.index, quantity)
        if key not in self.leaves or self.leaves[key]() is not leaf:
            self.leaves[key] = weakref.ref(leaf)
            self.handles.append(leaf.register_hook(self._gradient_observer(call.layer, quantity)))

    def _gradient_observer(self, source: Call | Layer, quantity: str) -> Callable[[Tensor], None]:
        def observe_gradient(grad: Tensor) -> None:
            if not self.active:
                return
            self._open_step()
            if not self.recording:
                return
            if norms.is_small(grad) and not self.options.histograms:
                # Held until the pass ends, 16 KiB at most, and measured together: one call instead of many.
                self.small.append((source, quantity, grad))
            else:
                self.found.append((source, sample(quantity, grad, self.options, self.scale)))

        return observe_gradient

    # ── calls and steps ──

    def _call(self, layer: Layer, recomputing: bool) -> Call:
        """A new call of the layer, or, when reentrant checkpointing runs forward again, the call that awaits it.

        That kind of checkpointing runs forward first with autograd off. The other kind keeps the first graph, whose
        hooks see the gradient; its recomputation is ignored.
        """
        if recomputing:
            call = layer.without_grad.pop()
            call.counts = True
            return call
        call = Call(layer, self.current)
        if call.counts:
            layer.without_grad = []
        else:
            layer.without_grad.append(call)
        return call

    def _served(self) -> set[Call]:
        """The calls whose gradient this backward pass has shown so far."""
        return {entry[0] for entry in (*self.found, *self.small) if type(entry[0]) is Call}

    def _open_step(self) -> None:
        # The engine drops its callbacks with a backward pass that fails: then the step is not open any more.
        if self.closing is not None and self.closing() is not None:
            return
        self._forget_step()
        self.scale = self.options.scaler.get_scale() if self.options.scaler is not None else 1.0

        def close() -> None:
            self._close_step()

        self.closing = weakref.ref(close)
        # The engine's own way to run something when this backward pass is over, as DistributedDataParallel does.
        torch.autograd.Variable._execution_engine.queue_callback(close)

    def _close_step(self) -> None:
        if self.active:
            if self.small:
                self._measure_small()
            calls = self._served()
            for owner in {call.owner for call in calls if call.owner is not None}.union(self.touched):
                calls.update(owner.calls)
            self._end_step(sorted((call for call in calls if call.counts), key=lambda call: call.start))
        if self.current is not None:
            self.current = Pass()
        self._forget_step()

    def _measure_small(self) -> None:
        sources, quantities, tensors = zip(*self.small, strict=True)
        readings = norms.measure_small(list(tensors), self.options.norm)
        for source, quantity, reading in zip(sources, quantities, readings, strict=True):
            self.found.append((source, Sample(quantity, scaled(reading, self.scale), torch.float32)))

    def _forget_step(self) -> None:
        self.closing = None
        self.touched, self.found, self.small = [], [], []

    def _end_step(self, calls: list[Call]) -> None:
        """Keep the step if it is one of those to record, and say whether the next is."""
        self._read_updates()
        if self.recording:
            if not self.steps:
                # The first step's setting: later the mode may be that of an evaluation.
                batch = next((layer.shape[0] for layer in self.layers if layer.shape), None)
                self.provenance = describe(self.model, batch=batch)
            self.steps.append(self._packed(calls))
            if len(self.steps) > _FETCH_EVERY:
                self.steps[-_FETCH_EVERY].fetch()
        self.seen_steps += 1
        self.recording = self.seen_steps % self.options.every == 0

    def _packed(self, calls: list[Call]) -> Step:
        """What the calls and the weights showed; calls of one layer are numbered from 1."""
        step = Step()
        made = [0] * len(self.layers)
        number: dict[Call, int] = {}
        for call in calls:
            made[call.layer.index] += 1
            number[call] = made[call.layer.index]
            for one in call.forward:
                step.add(call.layer.index, number[call], one)
        for source, one in self.found:
            if type(source) is Call:
                step.add(source.layer.index, number[source], one)
            else:
                step.add(source.index, 1, one)  # type: ignore[union-attr]
        for layer in self.layers if self.of_weights else ():
            for one in self._read_weights(layer):
                step.add(layer.index, 1, one)
        return step

    def _read_weights(self, layer: Layer) -> Iterator[Sample]:
        if "weight" in self.of_weights:
            for weight in layer.values():
                yield sample("weight", weight, self.options)
        if "drift" in self.of_weights and layer.weights:
            yield change("drift", layer.values(), layer.at_start)
        if "update_ratio" in self.of_weights:
            layer.before = layer.copies()

    def _read_updates(self) -> None:
        """Credit the change of the weights since a recorded step to that step."""
        for layer in self.layers if "update_ratio" in self.of_weights else ():
            if layer.before:
                self.steps[-1].add(layer.index, 1, change("update_ratio", layer.values(), layer.before))
                layer.before = []


def _distinct(tensors: Iterable[Tensor]) -> tuple[Tensor, ...]:
    """Each tensor once, though a module may take or return it several times."""
    return tuple({id(tensor): tensor for tensor in tensors}.values())


class _Hook:
    """An observer on a module. Copies and pickles of the module get one that does nothing."""

    def __init__(self, observe: Callable[..., None]) -> None:
        self.observe = observe

    def __call__(self, *arguments: Any) -> None:
        self.observe(*arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Hook, (_nothing,)

    def __deepcopy__(self, memo: dict[int, Any]) -> _Hook:
        return _Hook(_nothing)


def _nothing(*arguments: Any) -> None:
    """What is left of an observer in a copy."""


def _in_backward() -> bool:
    return bool(torch._C._current_graph_task_id() != -1)
