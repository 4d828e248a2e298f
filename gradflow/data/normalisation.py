"""From the bytes of an image to numbers around 0, by statistics of the training images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

NORMALISATIONS = ("channel", "pixel")

_CHUNK = 250
"""Images looked at together: few enough for a processor's cache."""


@dataclass(frozen=True, eq=False)
class Normalise:
    """(x / 255 − mean) / std of uint8 images.

    mean, std: per channel (C,) or per pixel (C, H, W), on the scale where 255 is 1; kept as float32. Raises ValueError
    for other shapes, numbers of channels that differ, and a std that is not positive.
    """

    mean: Tensor
    std: Tensor
    _scale: Tensor = field(init=False, repr=False)
    _shift: Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        mean, std = (torch.as_tensor(given, dtype=torch.float32) for given in (self.mean, self.std))
        for name, value in (("mean", mean), ("std", std)):
            if value.ndim not in (1, 3) or not bool(value.isfinite().all()):
                raise ValueError(f"{name} must be finite, (C,) or (C, H, W); got shape {tuple(value.shape)}, {value}")
        if len(mean) != len(std):
            raise ValueError(f"mean and std must have the same channels; got {len(mean)} and {len(std)}")
        if not bool((std > 0).all()):
            raise ValueError(f"std must be positive; got {std}")
        wide_mean, wide_std = (value if value.ndim == 3 else value.view(-1, 1, 1) for value in (mean, std))
        scale = 1 / (255 * wide_std)
        for name, value in (("mean", mean), ("std", std), ("_scale", scale), ("_shift", -wide_mean / wide_std)):
            object.__setattr__(self, name, value)

    def __call__(self, images: Tensor) -> Tensor:
        """Float32 images for uint8 images (B, C, H, W), on the same device.

        Raises TypeError for other dtypes and ValueError for other channels.
        """
        _check_images(images)
        if images.shape[1] != len(self.mean):
            raise ValueError(f"expected images of {len(self.mean)} channels; got {tuple(images.shape)}")
        return images.float().mul_(self._scale.to(images.device)).add_(self._shift.to(images.device))

    def to(self, device: torch.device | str) -> Normalise:
        """The same with its numbers on a device, which spares each call a copy there."""
        return Normalise(self.mean.to(device), self.std.to(device))


def normaliser(how: str | tuple[Sequence[float], Sequence[float]], images: Tensor) -> Normalise:
    """How to normalise, given the training images (N, C, H, W) uint8.

    Args:
        how: "channel" for mean and standard deviation of each channel over all images; "pixel" for the mean of each
            pixel, and no division (He et al. 2015, §4.2); or (means, deviations) per channel, where 255 is 1.
        images: the training images; the sums over them are exact.

    Raises ValueError for other choices and for images that are all alike, TypeError for images that are not uint8.
    """
    _check_images(images)
    if not len(images):
        raise ValueError("expected training images; got none")
    if how == "channel":
        return _by_channel(images)
    if how == "pixel":
        total = torch.stack([part.sum(0, dtype=torch.int64) for part in images.split(_CHUNK)]).sum(0)
        return Normalise((total.cpu().double() / (255 * len(images))).float(), torch.ones(images.shape[1]))
    if isinstance(how, str):
        raise ValueError(f"normalise by {' or '.join(NORMALISATIONS)}, or by (means, deviations); got {how!r}")
    means, deviations = how
    given = Normalise(torch.tensor(means, dtype=torch.float32), torch.tensor(deviations, dtype=torch.float32))
    if len(given.mean) != images.shape[1]:
        raise ValueError(f"expected {images.shape[1]} means and deviations, one for each channel; got {how!r}")
    return given


def _by_channel(images: Tensor) -> Normalise:
    """From how often each byte occurs in each channel: nothing is rounded before the end."""
    means, deviations = [], []
    for channel in images.unbind(1):
        parts = [torch.bincount(part.flatten(), minlength=256) for part in channel.split(_CHUNK)]
        counts = torch.stack(parts).sum(0).tolist()
        total = sum(counts)
        first = sum(value * count for value, count in enumerate(counts))
        second = sum(value * value * count for value, count in enumerate(counts))
        means.append(first / (255 * total))
        deviations.append((total * second - first * first) ** 0.5 / (255 * total))
    if not all(deviations):
        raise ValueError(f"a channel whose pixels are all alike cannot be divided by its deviation {deviations}")
    return Normalise(torch.tensor(means), torch.tensor(deviations))


def _check_images(images: Tensor) -> None:
    if images.dtype != torch.uint8:
        raise TypeError(f"expected uint8 images; got {images.dtype}: only bytes are normalised")
    if images.ndim != 4:
        raise ValueError(f"expected images (N, C, H, W); got shape {tuple(images.shape)}")
