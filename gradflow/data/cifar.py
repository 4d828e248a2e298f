"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009) from the official files."""

from __future__ import annotations

import os

import numpy as np
import torch

from gradflow.data.formats import decode
from gradflow.data.official import CIFAR10, CIFAR100, Labels, Official, OfficialFile
from gradflow.data.samples import Samples, Split
from gradflow.data.sources import Source, choose, locate


def cifar10(folder: str | os.PathLike[str] | None = None, *, holdout: int = 0) -> Split:
    """CIFAR-10: 50,000 training and 10,000 test images of 10 classes, uint8 (N, 3, 32, 32) RGB, labels (N,) int64.

    Every file is checked against its published md5 before it is opened. It takes one or two seconds.

    Args:
        folder: holds an official archive (python or binary version), or what was extracted from it; by default the
            folder in the environment's GRADFLOW_DATA, else pooch's cache folder for gradflow.
        holdout: so many of the last training images become the test set, and the real test set stays unused: 5,000
            for the 45,000 / 5,000 of He et al. (2015, §4.2).

    Raises FileNotFoundError or ValueError, with both checksums and what to do, for files that are missing, truncated
    or altered; ValueError for a ``holdout`` that leaves nothing to train on.
    """
    return read(CIFAR10, CIFAR10.labels[0], folder, holdout=holdout)


def cifar100(folder: str | os.PathLike[str] | None = None, *, holdout: int = 0, labels: str = "fine") -> Split:
    """CIFAR-100: as :func:`cifar10`, with "fine" labels of 100 classes or "coarse" labels of their 20 groups.

    Raises what :func:`cifar10` raises, and ValueError for other ``labels``.
    """
    kinds = {kind.name: kind for kind in CIFAR100.labels}
    if labels not in kinds:
        raise ValueError(f"labels must be one of {', '.join(kinds)}; got labels={labels!r}")
    return read(CIFAR100, kinds[labels], folder, holdout=holdout)


def read(official: Official, kind: Labels, folder: str | os.PathLike[str] | None, *, holdout: int = 0) -> Split:
    """The door for both: find, verify, decode, count."""
    source = choose(official, locate(folder))
    available = sum(file.images for file in source.version.train)
    if isinstance(holdout, bool) or not isinstance(holdout, int) or not 0 <= holdout < available:
        raise ValueError(f"holdout must be a whole number from 0 to {available - 1}; got holdout={holdout!r}")
    decoded = {file.path: decode(content, official, source.version, file, kind) for file, content in source.contents()}
    x, y = _joined(decoded, source, source.version.train, kind)
    test = _joined(decoded, source, source.version.test, kind)
    return Split((x[:-holdout], y[:-holdout]), (x[-holdout:], y[-holdout:])) if holdout else Split((x, y), test)


def _joined(
    decoded: dict[str, tuple[np.ndarray, np.ndarray]], source: Source, files: tuple[OfficialFile, ...], kind: Labels
) -> Samples:
    """The files' images and labels in official order. Raises ValueError unless every class has as many images."""
    images, labels = (np.concatenate([decoded[file.path][part] for file in files]) for part in (0, 1))
    counts = np.bincount(labels, minlength=kind.classes)
    if (counts != len(labels) / kind.classes).any():
        raise ValueError(
            f"{', '.join(file.path for file in files)} in {source.folder}: expected {len(labels) / kind.classes:g} "
            f"images of each of {kind.classes} classes; got {counts.tolist()}"
        )
    return torch.from_numpy(images), torch.from_numpy(labels)
