"""What fit() and study() are given, checked before any work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from gradflow.data import Samples
from gradflow.training.checkpoints import check_file
from gradflow.training.recipes import RECIPES, Recipe, lecture_digits


def check_model(model: Any) -> None:
    """Raise TypeError for what is no module, ValueError for one without a parameter to train."""
    if not isinstance(model, nn.Module):
        name = getattr(model, "__name__", type(model).__name__)
        call = ": call it, and pass the model that it returns" if callable(model) else ""
        raise TypeError(f"model must be a torch.nn.Module; got {name}{call}")
    weights = list(model.parameters())
    if not any(weight.requires_grad for weight in weights):
        why = "model.requires_grad_() lets them be trained" if weights else "put a layer with weights into it"
        raise ValueError(
            f"{type(model).__name__} has nothing to train: none of its {len(weights)} parameters needs a gradient; "
            f"{why}"
        )


def check_recipe(recipe: Any) -> None:
    """Raise TypeError for what is no recipe, such as the name of one."""
    if not isinstance(recipe, Recipe):
        meant = RECIPES.get(str(recipe).replace("_", "-"), lecture_digits)
        raise TypeError(
            f"recipe must be a Recipe, e.g. gradflow.recipes.{meant.name.replace('-', '_')}; got {recipe!r}"
        )


def checked_data(data: Any) -> tuple[Samples, Samples]:
    """The (train, test) pairs.

    Raises TypeError for other things than pairs of tensors, ValueError for sets that are empty, whose labels do not
    fit, or that hold NaN or infinite inputs.
    """
    try:
        (x, y), (x_test, y_test) = data
    except (TypeError, ValueError):
        x = y = x_test = y_test = None
    if not all(isinstance(part, Tensor) for part in (x, y, x_test, y_test)):
        got = _types(data)
        raise TypeError(
            f"data must be ((x, y), (x, y)) of tensors for train and test, e.g. gradflow.data.digits(); got {got}"
            + ("; torch.as_tensor makes a tensor of an array" if "ndarray" in got else "")
        )
    sets = {"training": (x, y), "test": (x_test, y_test)}
    for name, (inputs, labels) in sets.items():
        if labels.ndim != 1 or labels.shape != inputs.shape[:1] or not len(labels) or labels.is_floating_point():
            raise ValueError(
                f"each set needs inputs (N, …) and as many integer labels (N,); the {name} set has x "
                f"{tuple(inputs.shape)} and y {tuple(labels.shape)}, {str(labels.dtype).removeprefix('torch.')}"
            )
        _check_finite(name, inputs)
    return sets["training"], sets["test"]


def _check_finite(name: str, x: Tensor) -> None:
    # The sum needs no second tensor; it may overflow where no input is infinite, so the inputs have the last word.
    if not x.is_floating_point() or bool(x.sum().isfinite()):
        return
    broken = ~x.isfinite()
    if count := int(broken.sum()):
        samples = int(broken.flatten(1).any(1).sum()) if x.ndim > 1 else count
        raise ValueError(
            f"x of the {name} set holds values that are not finite: {count}, in {samples} of {len(x)} samples; "
            "leave these samples out, or replace the values"
        )


def _types(value: Any, depth: int = 2) -> str:
    """The types in pairs of pairs: "((ndarray, ndarray), (ndarray, ndarray))"."""
    if depth and isinstance(value, (tuple, list)) and len(value) <= 2:
        return f"({', '.join(_types(one, depth - 1) for one in value)})"
    return type(value).__name__


def check_intervals(**intervals: int | None) -> None:
    """Raise ValueError for what is no number of steps or epochs."""
    for name, every in intervals.items():
        if every is not None and (not isinstance(every, int) or isinstance(every, bool) or every < 1):
            raise ValueError(f"{name} must be a whole number of at least 1; got {name}={every!r}")


def check_batches(samples: int, batch: int, processes: int) -> None:
    """Raise ValueError if a batch has fewer samples than there are processes."""
    smallest = min(batch, samples % batch or batch)
    if smallest < processes:
        raise ValueError(
            f"{samples} samples in batches of {batch} leave a batch of {smallest} for {processes} processes; "
            "choose another batch size"
        )


def check_checkpoint(checkpoint: str | Path | None, resume: bool) -> None:
    """Raise ValueError for nothing to resume from or no file of ours, FileExistsError for what would be overwritten."""
    if checkpoint is not None:
        check_file(Path(checkpoint), resume=resume)
    elif resume:
        raise ValueError("resume=True needs checkpoint=…, the file to go on from and to keep the run in")
