"""Random changes of training images, on the device they lie on: the random numbers and the pixels kept apart."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

PAD_MODES = ("constant", "reflect")

_ATTEMPTS = 10
"""torchvision's RandomErasing tries ten rectangles before it leaves an image alone."""


class Augmentation(ABC):
    """A random change of a batch of images: ``draw`` decides for each image, ``apply`` carries it out.

    New pixels are 0, the mean of normalised images. Pixels are moved or blanked, never mixed (but by ``Resize``), and
    gradients pass through.
    """

    parameters: ClassVar[tuple[str, ...]] = ()
    """What is drawn for each image: the k columns of ``draw``."""

    @abstractmethod
    def draw(self, images_shape: Sequence[int], generator: torch.Generator) -> Tensor:
        """The random numbers (B, k) float32 for a batch of this shape (B, C, H, W), on the generator's device."""

    def apply(self, images: Tensor, drawn: Tensor) -> Tensor:
        """The images (B, C, H, W), floating point, changed as drawn (B, k); what came is left as it was.

        Raises TypeError for images of whole numbers and ValueError for wrong shapes.
        """
        _check_images(images)
        expected = (len(images), len(self.parameters))
        if tuple(drawn.shape) != expected:
            raise ValueError(f"{self} needs parameters {expected} for these images; got {tuple(drawn.shape)}")
        return self._changed(images, drawn.to(images.device))

    @abstractmethod
    def _changed(self, images: Tensor, drawn: Tensor) -> Tensor:
        """``apply``, after the checks."""


def augmented(
    images: Tensor,
    augmentations: Iterable[Augmentation],
    generator: torch.Generator,
    rows: slice | Tensor | None = None,
    *,
    batch: int | None = None,
) -> Tensor:
    """Images (B, C, H, W), changed by each augmentation in turn.

    With ``rows`` the images are only these rows of a batch of size ``batch``: the random numbers are drawn for all of
    it, so that processes that share a batch change it just as one alone would, and their generators stay together.

    Args:
        images: floating point, normalised.
        augmentations: in the order in which they are applied.
        generator: where the random numbers come from; on any device.
        rows: a slice, or whole numbers, into the whole batch.
        batch: the size of the whole batch, given with ``rows``.

    Raises TypeError for images of whole numbers, ValueError where ``rows``, ``batch`` and images do not fit.
    """
    _check_images(images)
    if (rows is None) != (batch is None):
        raise ValueError(f"rows and batch go together; got rows={rows!r}, batch={batch!r}")
    size = len(images) if batch is None else batch
    if isinstance(rows, Tensor):
        rows = rows.to(generator.device)
    for augmentation in augmentations:
        drawn = augmentation.draw((size, *images.shape[1:]), generator)
        images = augmentation.apply(images, drawn if rows is None else drawn[rows])
    return images


@dataclass(frozen=True)
class Resize(Augmentation):
    """Bilinear scaling to ``size`` × ``size`` pixels, averaging where it shrinks; nothing is random."""

    size: int

    def __post_init__(self) -> None:
        _check_whole("size", self.size, 1)

    def draw(self, images_shape: Sequence[int], generator: torch.Generator) -> Tensor:
        """(B, 0): there is nothing to draw."""
        return torch.empty((images_shape[0], 0), device=generator.device)

    def _changed(self, images: Tensor, drawn: Tensor) -> Tensor:
        # Upwards `antialias` changes nothing but the speed: on a CPU it is twice as fast.
        return F.interpolate(images, size=(self.size, self.size), mode="bilinear", antialias=True)


@dataclass(frozen=True)
class PadCrop(Augmentation):
    """``padding`` pixels on each side, then a crop of the old size at a random place (He et al. 2015, §4.2).

    mode: "constant" pads with 0, "reflect" with the image mirrored at its border pixels.
    """

    padding: int
    mode: str = "constant"
    parameters: ClassVar[tuple[str, ...]] = ("top", "left")

    def __post_init__(self) -> None:
        _check_whole("padding", self.padding, 0)
        if self.mode not in PAD_MODES:
            raise ValueError(f"mode must be one of {', '.join(PAD_MODES)}; got mode={self.mode!r}")

    def draw(self, images_shape: Sequence[int], generator: torch.Generator) -> Tensor:
        """(B, 2): first row and first column of the crop in the padded image, whole numbers in 0 … 2 padding."""
        corners = (images_shape[0], 2)
        return torch.randint(2 * self.padding + 1, corners, generator=generator, device=generator.device).float()

    def _changed(self, images: Tensor, drawn: Tensor) -> Tensor:
        if self.mode == "reflect" and self.padding >= min(images.shape[2:]):
            raise ValueError(f"reflecting needs images larger than padding={self.padding}; got {tuple(images.shape)}")
        padded = F.pad(images, (self.padding,) * 4, mode=self.mode)
        return _windows(padded, drawn, images.shape[2], images.shape[3])


@dataclass(frozen=True)
class Flip(Augmentation):
    """Left and right exchanged with probability ``p``."""

    p: float = 0.5
    parameters: ClassVar[tuple[str, ...]] = ("flipped",)

    def __post_init__(self) -> None:
        _check_within("p", self.p, 0, 1)

    def draw(self, images_shape: Sequence[int], generator: torch.Generator) -> Tensor:
        """(B, 1): 1 to flip, else 0."""
        return (_uniform((images_shape[0], 1), generator) < self.p).float()

    def _changed(self, images: Tensor, drawn: Tensor) -> Tensor:
        return torch.where(drawn.view(-1, 1, 1, 1) > 0, images.flip(3), images)


@dataclass(frozen=True)
class Rotate(Augmentation):
    """A turn about the centre by up to ``degrees`` either way; each pixel takes its nearest, as in torchvision."""

    degrees: float
    parameters: ClassVar[tuple[str, ...]] = ("degrees",)

    def __post_init__(self) -> None:
        _check_within("degrees", self.degrees, 0, 180)

    def draw(self, images_shape: Sequence[int], generator: torch.Generator) -> Tensor:
        """(B, 1): degrees counter-clockwise, uniform in ± ``degrees``."""
        return (2 * _uniform((images_shape[0], 1), generator) - 1) * self.degrees

    def _changed(self, images: Tensor, drawn: Tensor) -> Tensor:
        height, width = images.shape[2:]
        angle = torch.deg2rad(drawn).view(-1, 1, 1)
        cosine, sine = angle.cos(), angle.sin()
        middle_y, middle_x = (height - 1) / 2, (width - 1) / 2
        y = (torch.arange(height, device=images.device) - middle_y).view(-1, 1)
        x = torch.arange(width, device=images.device) - middle_x
        # Where each new pixel comes from: its own place turned back, clockwise. Rows count downwards. All places
        # outside fall on a border of zeros. A float counts pixels exactly up to 2²⁴ of them.
        row = (sine * x + (cosine * y + middle_y)).round().clamp(-1, height) + 1
        column = (cosine * x + (middle_x - sine * y)).round().clamp(-1, width) + 1
        place = (row * (width + 2) + column).long().flatten(1)[:, None].expand(-1, images.shape[1], -1)
        return F.pad(images, (1, 1, 1, 1)).flatten(2).gather(2, place).view(images.shape)


@dataclass(frozen=True)
class Translate(Augmentation):
    """A shift by whole pixels, up to ``fraction`` of height and width either way (torchvision's RandomAffine)."""

    fraction: float
    parameters: ClassVar[tuple[str, ...]] = ("down", "right")

    def __post_init__(self) -> None:
        _check_within("fraction", self.fraction, 0, 1)

    def draw(self, images_shape: Sequence[int], generator: torch.Generator) -> Tensor:
        """(B, 2): pixels down and to the right, uniform in ± fraction × size, then rounded."""
        furthest = torch.tensor(images_shape[2:], device=generator.device) * self.fraction
        return ((2 * _uniform((images_shape[0], 2), generator) - 1) * furthest).round()

    def _changed(self, images: Tensor, drawn: Tensor) -> Tensor:
        # Also a crop of a padded image; padding by all that can be drawn needs no look at what was drawn.
        height, width = images.shape[2:]
        down, right = (math.ceil(self.fraction * size) for size in (height, width))
        padded = F.pad(images, (right, right, down, down))
        return _windows(padded, torch.tensor((down, right), device=drawn.device) - drawn, height, width)


@dataclass(frozen=True)
class Erase(Augmentation):
    """A rectangle set to 0 with probability ``p`` (Zhong et al. 2017, arXiv 1708.04896), as in torchvision.

    area: its least and greatest share of the image, uniform; ratio: its least and greatest height / width, uniform on
    a log scale. Of ten rectangles drawn the first that is smaller than the image in both directions is taken, and none
    where none is; its place is uniform.
    """

    p: float = 0.5
    area: tuple[float, float] = (0.02, 0.33)
    ratio: tuple[float, float] = (0.3, 3.3)
    parameters: ClassVar[tuple[str, ...]] = ("top", "left", "height", "width")

    def __post_init__(self) -> None:
        _check_within("p", self.p, 0, 1)
        for name, (low, high), most in (("area", self.area, 1.0), ("ratio", self.ratio, math.inf)):
            if not 0 < low <= high <= most or math.isinf(high):
                raise ValueError(f"{name} must be (least, greatest), positive and in order; got {name}={(low, high)!r}")

    def draw(self, images_shape: Sequence[int], generator: torch.Generator) -> Tensor:
        """(B, 4): first row, first column, height and width in pixels; 0 × 0 leaves the image alone."""
        batch, _, height, width = images_shape
        gate, y, x, areas, ratios = _uniform((batch, 3 + 2 * _ATTEMPTS), generator).split(
            (1, 1, 1, _ATTEMPTS, _ATTEMPTS), dim=1
        )
        area = height * width * _between(areas, *self.area)
        ratio = _between(ratios, *map(math.log, self.ratio)).exp()
        heights, widths = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
        fits = (heights < height) & (widths < width)
        first = fits.int().argmax(1, keepdim=True)  # the first of equal ones
        erased = fits.any(1, keepdim=True) & (gate < self.p)
        sizes = torch.cat([heights.gather(1, first), widths.gather(1, first)], 1) * erased
        free = torch.tensor((height, width), device=sizes.device) - sizes
        # The product can round up to free + 1.
        corners = torch.minimum((torch.cat([y, x], 1) * (free + 1)).floor(), free) * erased
        return torch.cat([corners, sizes], 1)

    def _changed(self, images: Tensor, drawn: Tensor) -> Tensor:
        top, left, height, width = drawn.view(-1, 4, 1, 1).unbind(1)
        row = torch.arange(images.shape[2], device=images.device).view(-1, 1)
        column = torch.arange(images.shape[3], device=images.device)
        inside = (row >= top) & (row < top + height) & (column >= left) & (column < left + width)
        return torch.where(inside[:, None], 0, images)


def _windows(padded: Tensor, corners: Tensor, height: int, width: int) -> Tensor:
    """From each image a window (C, height, width) whose first row and column are its corner (B, 2).

    Every row of a window is a run of ``width`` numbers in memory, so one selection of runs does it: on a CPU ten times
    as fast as an index for every pixel.
    """
    padded = padded.contiguous()
    batch, channels, rows, columns = padded.shape
    top, left = corners.long().view(-1, 2, 1, 1).unbind(1)
    planes = torch.arange(batch * channels, device=padded.device).view(batch, channels, 1) * (rows * columns)
    starts = planes + (top + torch.arange(height, device=padded.device)) * columns + left
    return padded.view(-1).unfold(0, width, 1).index_select(0, starts.view(-1)).view(batch, channels, height, width)


def _uniform(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device)


def _between(uniform: Tensor, low: float, high: float) -> Tensor:
    return low + (high - low) * uniform


def _check_images(images: Tensor) -> None:
    if images.ndim != 4:
        raise ValueError(f"expected images (B, C, H, W); got shape {tuple(images.shape)}")
    if not images.is_floating_point():
        raise TypeError(
            f"expected floating-point images; got {images.dtype}: normalise them first, so that 0 is their mean"
        )


def _check_whole(name: str, value: int, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}; got {name}={value!r}")


def _check_within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} must lie between {low} and {high}; got {name}={value!r}")
