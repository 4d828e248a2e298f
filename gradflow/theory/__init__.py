"""What mean field theory says of signals and gradients at initialisation, in closed form.

Every number is a second moment, averaged over the weights a wide net could have drawn: independent, of zero mean. A
pre-activation is then Gaussian with variance q. Forward, a layer maps q to n_in·Var(w)·E[φ(√q z)²] + Var(b); backward,
it multiplies the gradient's second moment by n_out·Var(w)·E[φ'(√q z)²], z ~ N(0, 1) (Schoenholz et al., 1611.01232).
Moments are natural logarithms, path counts and products decimal ones: a thousand layers leave float64's range.

Rooms: `moments` of inits and activations, `meanfield` of stacks layer by layer, `residual` of units, `products` of
shortcuts and paths, `correlation` between the gradients at two inputs.
"""

from gradflow.theory.correlation import Correlation, balduzzi_correlation, gradient_correlation
from gradflow.theory.meanfield import Growth, Moments, Profile, gradient_factor, stack_profile
from gradflow.theory.moments import ACTIVATIONS, INITS, activation_moments, parse_init, weight_variance
from gradflow.theory.products import (
    log10_path_counts,
    log10_path_moments,
    log10_shortcut_product,
    path_length_interval,
    path_share,
)
from gradflow.theory.residual import original_growth, residual_growth

__all__ = [
    "ACTIVATIONS",
    "INITS",
    "Correlation",
    "Growth",
    "Moments",
    "Profile",
    "activation_moments",
    "balduzzi_correlation",
    "gradient_correlation",
    "gradient_factor",
    "log10_path_counts",
    "log10_path_moments",
    "log10_shortcut_product",
    "original_growth",
    "parse_init",
    "path_length_interval",
    "path_share",
    "residual_growth",
    "stack_profile",
    "weight_variance",
]
