"""Pictures: arrays in, axes out. Importing this loads matplotlib, and never torch."""

from gradflow.plots.curves import KINDS, drift_by_layer, error_by_depth, error_curves, learning_curves, steps_by_depth
from gradflow.plots.flow import element_steps, gradient_flow, layer_factors, relative_norms, trace_lines
from gradflow.plots.landscape import loss_contours, loss_curves, loss_levels
from gradflow.plots.lesions import lesion_by_count, lesion_by_order, lesion_by_unit
from gradflow.plots.look import DOUBLE_MM, SINGLE_MM, look_of, model_color, new_figure, render, shared_legend, style
from gradflow.plots.settings import (
    FAILURE,
    correlation_lines,
    curves_by,
    error_rows,
    gain_rows,
    gradient_by_depth,
    median_and_range,
)
from gradflow.plots.shattering import autocorrelation, input_gradients, shades
from gradflow.plots.units import (
    branch_lines,
    gradient_per_path,
    part_ratio,
    path_counts,
    path_lengths,
    response_line,
    signal_lines,
    split_lines,
)

__all__ = [
    "DOUBLE_MM",
    "FAILURE",
    "KINDS",
    "SINGLE_MM",
    "autocorrelation",
    "branch_lines",
    "correlation_lines",
    "curves_by",
    "drift_by_layer",
    "element_steps",
    "error_by_depth",
    "error_curves",
    "error_rows",
    "gain_rows",
    "gradient_by_depth",
    "gradient_flow",
    "gradient_per_path",
    "input_gradients",
    "layer_factors",
    "learning_curves",
    "lesion_by_count",
    "lesion_by_order",
    "lesion_by_unit",
    "look_of",
    "loss_contours",
    "loss_curves",
    "loss_levels",
    "median_and_range",
    "model_color",
    "new_figure",
    "part_ratio",
    "path_counts",
    "path_lengths",
    "relative_norms",
    "render",
    "response_line",
    "shades",
    "shared_legend",
    "signal_lines",
    "split_lines",
    "steps_by_depth",
    "style",
    "trace_lines",
]
