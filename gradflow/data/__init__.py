"""Data to look at gradients with: the embedded digits and Gaussian batches."""

from gradflow.data.embedded import Samples, Split, digits
from gradflow.data.noise import gaussian, shape_for

__all__ = ["Samples", "Split", "digits", "gaussian", "shape_for"]
