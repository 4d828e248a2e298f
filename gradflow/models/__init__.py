"""Networks made of units: stacks for the laboratory, ResNets for comparison, and their plain twins."""

from gradflow.models.initialisation import INITS, initialise
from gradflow.models.resnets import resnet
from gradflow.models.shortcuts import Identity, NoShortcut, Projection, Scaled, Shortcut, ZeroPad
from gradflow.models.stacks import conv_stack, fc_stack, textbook_fc
from gradflow.models.twins import duplicate, plain_twin, share_weights
from gradflow.models.units import ACTIVATIONS, PLACEMENTS, Network, Unit

__all__ = [
    "ACTIVATIONS",
    "INITS",
    "PLACEMENTS",
    "Identity",
    "Network",
    "NoShortcut",
    "Projection",
    "Scaled",
    "Shortcut",
    "Unit",
    "ZeroPad",
    "conv_stack",
    "duplicate",
    "fc_stack",
    "initialise",
    "plain_twin",
    "resnet",
    "share_weights",
    "textbook_fc",
]
