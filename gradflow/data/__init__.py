"""Data to look at gradients with: the embedded digits and Gaussian batches."""

from gradflow.data.digits import Samples, Split, digits
from gradflow.data.gaussian import gaussian, shape_for

__all__ = ["Samples", "Split", "digits", "gaussian", "shape_for"]
