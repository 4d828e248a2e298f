"""Every word a reader of a figure sees, one table per language."""

from __future__ import annotations

from gradflow.plots import captions

ENGLISH: dict[str, str] = {
    # axes
    "layer": "weighted layer (1 = nearest the input)",
    "relative_depth": "relative depth (0 = nearest the input)",
    "epoch": "epoch",
    "depth": "depth (weighted layers)",
    "step": "optimiser step",
    "error": "error (%)",
    "train_error": "training error (%)",
    "test_error": "test error (%)",
    "steps_to": "optimiser steps",
    "factor": "change of the gradient per layer toward the input (factor)",
    "elements": "elements",
    "relative_norm": "norm (last convolution = 1)",
    "drift": r"distance from start  $\|w_t-w_0\|/\|w_0\|$",
    # quantities
    "output_grad": r"∂loss/∂output",
    "input_grad": r"∂loss/∂input",
    "weight_grad": r"∂loss/∂weight",
    "activation": "activation",
    "activation_std": "standard deviation of the activation",
    "dead": "fraction of dead units",
    "saturation": "fraction of saturated outputs",
    "weight": "weight",
    "update_ratio": r"log$_{10}$(update : weight)",
    # norms
    "rms": "RMS",
    "l2": "L2 norm",
    "mean_abs": "mean absolute value",
    "max": "largest absolute value",
    # models and marks
    "plain": "plain",
    "residual": "residual",
    "theory": "theory",
    "measured": "measured",
    "underflow": "zero (underflow)",
    "nonfinite": "not finite",
    "never": "not within {budget}",
    "sgd": "SGD",
    "adam": "Adam",
    # panels
    "layers_panel": "{layers} layers",
    "without_norm": "50 layers, no BatchNorm",
    "with_norm": "50 layers, BatchNorm",
    "median_and_range": "median and range of {seeds} seeds",
    "degradation:a": "a  training",
    "degradation:b": "b  test",
    "degradation:c": "c  final test error",
    "degradation:d": "d  steps to {percent:g} % training error",
    "degradation:e": "e  plain-56, {longer} times longer",
    "degradation:slow": "a matter of time: the plain net is slow, not stuck",
    "degradation:narrowing": "narrowing, not closed: the plain net is slow, and four times the steps are not enough",
    "degradation:lasting": "lasting: four times the steps hardly help",
    "drift_panel": "{kind}, {optimizer} (training error {error:.0f} %)",
    **captions.ENGLISH,
}


def text(key: str, **values: object) -> str:
    """The words for a key, or the key itself when it is a name given by the user."""
    return ENGLISH.get(key, key).format(**values) if values else ENGLISH.get(key, key)


def norm_of(norm: str, quantity: str) -> str:
    """An axis label such as "RMS of ∂loss/∂output"."""
    if quantity in ("activation_std", "dead", "saturation", "update_ratio", "drift"):
        return text(quantity)
    return f"{text(norm)} of {text(quantity)}"
