"""Data to train on and to look at gradients with: embedded digits, CIFAR, Gaussian batches, changes of images."""

from gradflow.data.augmentation import Augmentation, Erase, Flip, PadCrop, Resize, Rotate, Translate, augmented
from gradflow.data.checking import DataCheck, FileCheck, check
from gradflow.data.cifar import cifar10, cifar100
from gradflow.data.embedded import digits
from gradflow.data.fetching import fetch
from gradflow.data.noise import gaussian, shape_for
from gradflow.data.normalisation import Normalise, normaliser
from gradflow.data.samples import Samples, Split

__all__ = [
    "Augmentation",
    "DataCheck",
    "Erase",
    "FileCheck",
    "Flip",
    "Normalise",
    "PadCrop",
    "Resize",
    "Rotate",
    "Samples",
    "Split",
    "Translate",
    "augmented",
    "check",
    "cifar10",
    "cifar100",
    "digits",
    "fetch",
    "gaussian",
    "normaliser",
    "shape_for",
]
