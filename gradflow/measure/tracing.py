"""trace(): watch gradients pass through any module, in any training loop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import torch
from torch import nn

from gradflow.measure import norms
from gradflow.measure.provenance import describe
from gradflow.measure.recording import WEIGHTS, Recorder
from gradflow.measure.selection import Layers, select
from gradflow.measure.signals import BOUNDED, FORWARD, Options
from gradflow.measure.steps import assemble
from gradflow.results import Trace

GRADIENTS = ("output_grad", "input_grad", "weight_grad")
QUANTITIES = GRADIENTS + FORWARD + WEIGHTS


class trace:  # noqa: N801 - a context manager that reads as a verb
    """Record norms by layer over every backward pass inside the ``with`` block; ``.result`` is a :class:`Trace`.

    >>> with trace(model, quantities=("output_grad", "weight_grad")) as watched:
    ...     loss_function(model(x), y).backward()
    >>> watched.result

    One backward pass is one step; under gradient accumulation each micro-batch is one. When nothing but forward
    quantities (activation, activation_std, dead, saturation) is asked for, a step is one forward call of ``model``. A
    module called several times in a step appears as ``name``, ``name@2``, …

    model: any ``nn.Module``. DataParallel on one device and DistributedDataParallel are looked through (the latter
    shows this process's gradient before averaging); compiled and scripted models are refused.
    layers: "weighted", "all", "units", a module type, a name pattern such as ``"*.conv1"``, a predicate of (name,
    module), or a tuple of these.
    quantities: any of
    output_grad, input_grad: norm of ∂loss/∂output and of ∂loss/∂input, the latter over everything the input feeds;
    weight_grad: norm of this pass's ∂loss/∂weight over the matrices or kernels the layer owns;
    activation, activation_std: norm and standard deviation of the output;
    dead: fraction of units (channels; features in the last dimension of a layer without channels) whose output is ≤ 0
    for the whole batch: silent behind a ReLU; saturation: fraction of outputs of a tanh or sigmoid in the outer 1.5 %
    of their range on either side;
    weight: norm of the weights; update_ratio: log10(‖w_{t+1} − w_t‖₂/‖w_t‖₂), NaN where no update followed;
    drift: ‖w_t − w_0‖₂/‖w_0‖₂ since the block was entered.
    norm: rms, l2, mean_abs or max, for gradients, activation and weight.
    histograms: also count log10|element| of gradients and activations.
    scaler: the GradScaler in use; gradients are then divided by its scale.
    every: record only every n-th step, the first included.

    A weight used in several segments under reentrant checkpointing gets its gradient in parts, and ``weight_grad`` is
    then the norm of the parts taken side by side, not of their sum; ``use_reentrant=False`` has no such limit.

    Nothing in the model changes; all hooks are gone after the block, also when it raises. Frozen and unused layers give
    NaN, or are listed as ``unseen``. Raises ValueError or TypeError before any work for arguments that cannot be used.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        layers: Layers = "weighted",
        quantities: tuple[str, ...] | str = ("output_grad", "weight_grad"),
        norm: str = "rms",
        histograms: bool = False,
        scaler: Any = None,
        every: int = 1,
    ) -> None:
        self._model = unwrap(model)
        self._modules = select(self._model, layers)
        norms.check_norm(norm)
        if scaler is not None and not hasattr(scaler, "get_scale"):
            raise TypeError(f"scaler must be a torch.amp.GradScaler; got {type(scaler).__name__}")
        if not isinstance(every, int) or isinstance(every, bool) or every < 1:
            raise ValueError(f"every must be a whole number of at least 1; got {every!r}")
        self._options = Options(_checked(quantities, self._modules), norm, histograms, scaler, every)
        self._recorder: Recorder | None = None

    def __enter__(self) -> Self:
        if self._recorder is not None:
            raise RuntimeError("this trace was used before; write trace(...) again for a new one")
        self._recorder = Recorder(self._modules, self._options)
        self._recorder.start(self._model)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._recorder is not None:
            self._recorder.stop()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Look away inside the block, for example while the model is evaluated."""
        recorder = self._recorder
        if recorder is None:
            raise RuntimeError("nothing to pause yet: use `with trace(model) as watched:`")
        was_active, recorder.active = recorder.active, False
        was_recording, recorder.recording = recorder.recording, False
        try:
            yield
        finally:
            recorder.active, recorder.recording = was_active, was_recording

    def state_dict(self) -> dict[str, Any]:
        """Everything recorded so far, for a checkpoint between two steps: numbers, text and tensors."""
        return self._entered().state()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where another trace of the same model, layers and options was when ``state_dict`` was called.

        Inside the block, before its first step.
        """
        self._entered().restore(state)

    def _entered(self) -> Recorder:
        if self._recorder is None:
            raise RuntimeError("nothing to save or load yet: use `with trace(model) as watched:`")
        return self._recorder

    @property
    def result(self) -> Trace:
        """The steps recorded so far. Raises RuntimeError before the block was entered."""
        if self._recorder is None:
            raise RuntimeError(
                "nothing recorded yet: use `with trace(model) as watched:` and run a backward pass in it"
            )
        recorder = self._recorder
        return assemble(
            recorder.steps,
            tuple((layer.name, layer.shape) for layer in recorder.layers),
            recorder.order,
            self._options.quantities,
            norm=self._options.norm,
            histograms=self._options.histograms,
            provenance=recorder.provenance or describe(self._model),
        )

    @property
    def reached(self) -> str | None:
        """The chosen layer that last finished a forward call: where to look when a model fails."""
        last = self._recorder.last if self._recorder is not None else None
        return last.name if last is not None else None


def unwrap(model: nn.Module) -> nn.Module:
    """The module inside DataParallel (on at most one device) or DistributedDataParallel, or ``model`` itself.

    Raises TypeError for what cannot be watched: no module, a compiled or a scripted one, or replicas on many devices.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module; got {type(model).__name__}")
    if isinstance(model, torch.jit.ScriptModule) or hasattr(model, "_orig_mod"):
        what = "compiled" if hasattr(model, "_orig_mod") else "scripted"
        raise TypeError(
            f"a {what} model runs without Python hooks; trace the module it was made from, and run that one"
        )
    if isinstance(model, nn.DataParallel):
        if len(model.device_ids) > 1:
            raise TypeError(
                "DataParallel makes new replicas each step, which cannot be watched; trace model.module on one device"
            )
        return unwrap(model.module)
    return unwrap(model.module) if isinstance(model, nn.parallel.DistributedDataParallel) else model


def _checked(quantities: tuple[str, ...] | str, modules: Mapping[str, nn.Module]) -> tuple[str, ...]:
    wanted = (quantities,) if isinstance(quantities, str) else tuple(quantities)
    unknown = [quantity for quantity in wanted if quantity not in QUANTITIES]
    if unknown or not wanted:
        raise ValueError(f"quantities must be among {', '.join(QUANTITIES)}; got {quantities!r}")
    if "saturation" in wanted and not any(type(module) in BOUNDED for module in modules.values()):
        names = ", ".join(kind.__name__ for kind in BOUNDED)
        raise ValueError(
            f'saturation needs one of {names} among the layers; pass layers="all" or a type such as nn.Tanh'
        )
    return tuple(dict.fromkeys(wanted))
