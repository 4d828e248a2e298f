"""Pictures: arrays in, axes out. Importing this loads matplotlib, and never torch."""

from gradflow.plots.curves import KINDS, drift_by_layer, error_by_depth, error_curves, learning_curves, steps_by_depth
from gradflow.plots.flow import element_steps, gradient_flow, layer_factors, relative_norms, trace_lines
from gradflow.plots.look import DOUBLE_MM, SINGLE_MM, model_color, new_figure, render, shared_legend, style

__all__ = [
    "DOUBLE_MM",
    "KINDS",
    "SINGLE_MM",
    "drift_by_layer",
    "element_steps",
    "error_by_depth",
    "error_curves",
    "gradient_flow",
    "layer_factors",
    "learning_curves",
    "model_color",
    "new_figure",
    "relative_norms",
    "render",
    "shared_legend",
    "steps_by_depth",
    "style",
    "trace_lines",
]
