"""The exercises of notebook 06, full ResNets."""

import math

import torch

from gradflow import models
from gradflow.teaching.checking import Exercise, Mistake, absolute, relative

_GROUPED, _GROUPED_LAYER, _GROUPS = "resnext50-32x4d", "units.0.branch.conv2", 32
_BOTTLENECK = "resnet50"
_ERROR, _IMAGES = 0.07, 10_000
"""Test error of a network as a part, and the number of test images of CIFAR."""


def _flops() -> float:
    cost = models.ARCHITECTURES[_GROUPED].cost()
    return float(cost.flops[cost.layers.index(_GROUPED_LAYER)])


def _parameters() -> float:
    with torch.device("meta"):
        unit = models.build(_BOTTLENECK).units[0]
    return float(sum(parameter.numel() for parameter in unit.parameters()))


def _standard_error() -> float:
    return 100 * math.sqrt(_ERROR * (1 - _ERROR) / _IMAGES)


EXERCISES: dict[str, Exercise] = {
    "flops": Exercise(
        question=(
            "The second convolution of a ResNeXt-50 (32×4d) is 3×3, from 128 channels to 128 channels in 32 groups, on "
            "56×56 positions. How many FLOPs does it take for one image, counted as two for each multiply-add?"
        ),
        right=_flops,
        near=relative(0.001),
        mistakes=(
            Mistake(lambda right: right / 2, "That counts multiply-adds. Each is two FLOPs here."),
            Mistake(lambda right: right * _GROUPS, "How many input channels does one output channel see in its group?"),
            Mistake(lambda right: right * _GROUPS / 2, "You left out the groups, and you count multiply-adds."),
            Mistake(lambda right: right / 9, "At each position the kernel has K² places."),
            Mistake(lambda right: right / 3, "The kernel is K places high and K places wide."),
            Mistake(lambda right: right / _GROUPS, "All groups have to be computed: C_out is that of the whole layer."),
        ),
        otherwise="Write down 2·C_in·K²·H·W·C_out and put in the numbers one by one; C_in is that of one group.",
        because="Grouping divides the cost by the number of groups. ResNeXt spends what it saves on more channels.",
    ),
    "parameters": Exercise(
        question=(
            "The first unit of ResNet-50 takes 64 channels. Its branch is 1×1 to 64, 3×3 to 64 and 1×1 to 256 "
            "channels, its shortcut a 1×1 projection to 256. No convolution has a bias, and BatchNorm follows each of "
            "the four. How many parameters has the unit?"
        ),
        right=_parameters,
        near=absolute(0.5),
        mistakes=(
            Mistake(73_728, "You have the four convolutions. What does BatchNorm learn for each channel?"),
            Mistake(74_368, "BatchNorm learns two numbers for each channel, not one."),
            Mistake(76_288, "BatchNorm's running mean and variance are measured, not learned."),
            Mistake(75_648, "A convolution in front of a BatchNorm needs no bias: the mean is subtracted at once."),
            Mistake(58_112, "You left out the projection, and its BatchNorm."),
            Mistake(57_344, "You have the three convolutions of the branch. What else is in the unit?"),
        ),
        otherwise="C_in·K²·C_out for each convolution, 2·C for each BatchNorm; add up eight numbers.",
        because="More than a fifth of it is the projection, which is needed only where sizes change.",
    ),
    "noise": Exercise(
        question=(
            f"A net answers {_ERROR:.0%} of {_IMAGES:,} test images wrong. How large is the standard error of this "
            "number, in percentage points?"
        ),
        right=_standard_error,
        near=relative(0.05),
        mistakes=(
            Mistake(lambda right: right / 100, "That is a part of one. The answer is asked in percentage points."),
            Mistake(100 * math.sqrt(_ERROR * (1 - _ERROR)), "That is the spread of one image. The mean is of 10,000."),
            Mistake(
                100 * _ERROR / math.sqrt(_IMAGES),
                "Dividing by √10,000 is right. But what is the spread of a single image?",
            ),
            Mistake(100 / math.sqrt(_IMAGES), "Every image is right or wrong, with variance p(1 − p), not 1."),
            Mistake(lambda right: 2 * right, "That is about two standard errors."),
        ),
        otherwise="Every image is one throw of a coin with p = 0.07. What is the standard deviation of the mean?",
        because="A difference of half a point between two nets can be chance, before other seeds are looked at.",
    ),
}
