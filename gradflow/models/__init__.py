"""Networks made of units: stacks for the laboratory, ResNets for comparison, and their plain twins."""

from gradflow.models.deepening import deepen, zero_init
from gradflow.models.initialisation import INITS, initialise
from gradflow.models.resnets import resnet
from gradflow.models.shortcuts import (
    Constant,
    Dropped,
    Gate,
    Gated,
    Identity,
    Joint,
    NoShortcut,
    Projection,
    Scaled,
    Shortcut,
    Size,
    ZeroPad,
)
from gradflow.models.stacks import conv_stack, fc_stack, textbook_fc
from gradflow.models.twins import duplicate, plain_twin, share_weights
from gradflow.models.units import ACTIVATIONS, PLACEMENTS, Network, Placement, Unit
from gradflow.models.variants import (
    OPTIONS,
    VARIANTS,
    conv1x1,
    dropout,
    exclusive_gate,
    scaled,
    shortcut_only_gate,
)

__all__ = [
    "ACTIVATIONS",
    "INITS",
    "OPTIONS",
    "PLACEMENTS",
    "VARIANTS",
    "Constant",
    "Dropped",
    "Gate",
    "Gated",
    "Identity",
    "Joint",
    "Network",
    "NoShortcut",
    "Placement",
    "Projection",
    "Scaled",
    "Shortcut",
    "Size",
    "Unit",
    "ZeroPad",
    "conv1x1",
    "conv_stack",
    "deepen",
    "dropout",
    "duplicate",
    "exclusive_gate",
    "fc_stack",
    "initialise",
    "plain_twin",
    "resnet",
    "scaled",
    "share_weights",
    "shortcut_only_gate",
    "textbook_fc",
    "zero_init",
]
