"""fit(): train one model by a recipe and write down what happened."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from gradflow.data import Samples, Split
from gradflow.measure.provenance import describe
from gradflow.measure.selection import Layers
from gradflow.measure.tracing import trace
from gradflow.results import History
from gradflow.seeding import seeded
from gradflow.training.checking import (
    check_batches,
    check_checkpoint,
    check_intervals,
    check_model,
    check_recipe,
    checked_data,
)
from gradflow.training.checkpoints import Checkpoint, identity_of
from gradflow.training.engine import Engine
from gradflow.training.interruption import waiting_interruption
from gradflow.training.processes import chosen_device
from gradflow.training.recipes import Recipe, lecture_digits
from gradflow.training.run import Run

_SMALL = 10_000
"""Training sets up to this size are evaluated as a whole after each epoch unless the caller decides."""


def fit(
    model: nn.Module,
    data: Split | tuple[Samples, Samples],
    recipe: Recipe = lecture_digits,
    *,
    seed: int = 0,
    device: str | torch.device | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_every: float = 60.0,
    resume: bool = False,
    trace_every: int | None = None,
    quantities: tuple[str, ...] | str = ("weight_grad",),
    layers: Layers = "weighted",
    evaluate_every: int = 1,
    evaluate_train: bool | None = None,
    precision: str = "float32",
    fused: bool = False,
    compile: bool | str = False,
    progress: bool | Callable[[int, int], None] = True,
) -> History:
    """Train ``model`` in place with cross-entropy, and return loss and error on train and test after every epoch.

    data: ((x, y), (x, y)) for train and test, x (N, …) and integer y (N,); uint8 images (N, C, H, W) are normalised
    and augmented as the recipe says, other inputs are taken as they are. Batches are reshuffled each epoch with
    ``seed``; the last one may be smaller.
    device: where to train, e.g. "cuda" or "auto"; None: where the model is. The model stays there, its convolutions in
    channels-last order. precision: "float32", or "bfloat16" or "float16" (with a GradScaler) by autocast. fused: one
    kernel for the optimiser. compile: torch.compile the model, with that mode if it is a name, e.g. "reduce-overhead".
    What each of these gains is measured by ``make bench``; all change the last bits.
    checkpoint: a file that always holds the whole run, written every ``checkpoint_every`` seconds, at Ctrl-C and at the
    end. resume: go on from it if it is there; on a CPU, with the same versions and threads, the run then equals one
    that was never interrupted, bit for bit. Once it is finished its history is returned at once.
    trace_every: record ``quantities`` of ``layers`` (see :func:`gradflow.trace`) at every n-th step. evaluate_every:
    take the curves after every n-th epoch and the last. evaluate_train: take the training curve in eval mode over the
    whole training set (the default up to 10,000 samples); else it is the mean over the batches of each epoch as they
    were trained on, in train mode and augmented, without a second pass, and NaN before training. progress: show a bar,
    or a function that is told after each step how many are taken and of how many; what it raises ends the run.
    Inside a process group (torchrun) each process trains on its share of every batch, with BatchNorm's statistics and
    the trace those of that share; the gradients are those of the whole batch.

    Raises TypeError or ValueError for what does not fit (a model without weights to train, sizes, classes, inputs that
    are not finite, options, a file that is no checkpoint or one of another run); FileExistsError for a file that would
    be overwritten; OSError where it cannot be written or another process writes it, before training starts;
    FloatingPointError when the loss is not, or no longer, finite: with the step and the layer where it began, the
    checkpoint before it left as it was, and the History up to there, if there is one, as the error's ``history``.
    """
    check_model(model)
    check_recipe(recipe)
    check_intervals(trace_every=trace_every, evaluate_every=evaluate_every)
    check_checkpoint(checkpoint, resume)
    sets = checked_data(data)
    if compile and trace_every is not None:
        raise ValueError("a compiled model runs without hooks: leave out trace_every, or compile")
    place = _device_of(model) if device is None else chosen_device(device)
    engine = Engine(device=place, precision=precision, fused=fused, compile=compile)
    samples = len(sets[0][0])
    check_batches(samples, recipe.batch, engine.processes.count)
    if evaluate_train is None:
        evaluate_train = samples <= _SMALL
    watched = None
    if trace_every is not None:
        watched = trace(model, layers=layers, quantities=quantities, every=trace_every)
    options = {"evaluate_every": evaluate_every, "evaluate_train": evaluate_train}
    traced = {"trace_every": trace_every, "quantities": quantities, "layers": layers}
    with ExitStack() as stack:
        stack.enter_context(seeded(seed))
        stack.callback(model.train, model.training)
        run = Run(model, sets, recipe, engine=engine, seed=seed, watched=watched, evaluate_train=evaluate_train)
        run.check()
        kept = None
        if checkpoint is not None:
            identity = identity_of(model, recipe.described(), seed, sets, **options, **traced, **engine.choices())
            kept = Checkpoint(Path(checkpoint), identity, every=checkpoint_every, writes=engine.processes.is_first)
            stack.enter_context(kept)
        try:
            with watched or nullcontext():
                _train(run, kept, resume, evaluate_every, progress if engine.processes.is_first else False)
        except FloatingPointError as error:
            if run.curves:  # else not even the loss before training was finite
                error.history = _history(run, trace_every, seed)  # type: ignore[attr-defined]
            raise
        model.train()
        return _history(run, trace_every, seed)


def _train(
    run: Run,
    kept: Checkpoint | None,
    resume: bool,
    evaluate_every: int,
    progress: bool | Callable[[int, int], None],
) -> None:
    """Take the steps that are left, and keep curves and checkpoints."""
    paused = run.watched.paused if run.watched is not None else nullcontext
    if kept is not None and resume and kept.path.exists():
        run.load_state_dict(kept.load())
    if not run.curves:
        with paused():
            run.note()
    run.engine.processes.wait()
    if kept is not None:
        kept.save(run.state_dict())  # what cannot be written is found out now
    tell = progress if callable(progress) else None
    bar = tqdm(
        total=run.total,
        initial=run.step,
        desc=run.recipe.name,
        unit="step",
        disable=not progress or tell is not None,
        dynamic_ncols=True,
    )
    run.model.train()
    with bar, waiting_interruption() if kept is not None else nullcontext() as interruption:
        while run.step < run.total:
            run.take_step()
            bar.update()
            if run.at_epoch_end:
                run.rates.append(run.rate)
                if run.epoch % evaluate_every == 0 or run.step == run.total:
                    with paused():
                        run.note()
            if run.at_epoch_end or run.step % 10 == 0:
                bar.set_postfix_str(_standing(run), refresh=False)
            if kept is not None and interruption is not None:
                _keep(run, kept, stop=interruption.asked)
            if tell is not None:
                tell(run.step, run.total)


def _keep(run: Run, kept: Checkpoint, *, stop: bool) -> None:
    """Write a checkpoint where one is due, and stop there if somebody asked for it."""
    if not (stop or kept.is_due or run.step == run.total):
        return
    if run.is_finite:
        kept.save(run.state_dict())  # else the next step says what is wrong, and the last good checkpoint stays
    if stop and run.step < run.total:
        raise KeyboardInterrupt(
            f"stopped after step {run.step} of {run.total}; {kept.path} holds the run: "
            "go on with resume=True (--resume on the command line)"
        )


def _standing(run: Run) -> str:
    """Where the run stands, for the bar."""
    text = f"epoch {run.epoch}/{-(-run.total // run.steps_per_epoch)}"
    if run.seen:
        text += f", loss {run.loss_sum / run.seen:.3f}, error {run.wrong / run.seen:.1%}"
    return f"{text}, test {run.curves[-1][5]:.1%}" if len(run.curves) > 1 else text


def _history(run: Run, trace_every: int | None, seed: int) -> History:
    epoch, steps, train_loss, train_error, test_loss, test_error = np.array(run.curves).T
    trace = run.watched.result if run.watched is not None else None
    unusual = run.engine.choices()
    if run.engine.processes.count > 1:
        unusual["processes"] = run.engine.processes.count
    if not run.evaluate_train:
        unusual["train_curve"] = "mean over the batches of each epoch, train mode"
    return History(
        epoch=epoch.astype(np.int64),
        steps=steps.astype(np.int64),
        train_loss=train_loss,
        train_error=train_error,
        test_loss=test_loss,
        test_error=test_error,
        learning_rate=np.array(run.rates),
        trace=trace,
        traced_steps=np.arange(run.total)[::trace_every][: trace.steps] if trace is not None else None,
        provenance=describe(
            run.model,
            seconds=run.elapsed(),
            seed=seed,
            recipe=run.recipe.described(),
            batch=run.recipe.batch,
            loss="cross-entropy",
            reduction="mean",
            **unusual,
        ),
    )


def _device_of(model: nn.Module) -> torch.device:
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
