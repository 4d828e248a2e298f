"""The two formats of the CIFAR files, bytes in, arrays out."""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradflow.data.official import Labels, Official, OfficialFile, Version

Bytes = NDArray[np.uint8]
Numbers = NDArray[np.int64]

SHAPE = (3, 32, 32)
PIXELS = 3 * 32 * 32

_RECONSTRUCT = np.empty(0).__reduce__()[0]
"""What rebuilds a pickled array; its module has another name in each NumPy."""


class _ArraysOnly(pickle.Unpickler):
    """Opens what a CIFAR file is made of, dicts, lists, bytes, numbers and arrays, and calls nothing else.

    Only verified files get here. This is the second lock: md5 is easy to forge for someone who makes both files.
    """

    def find_class(self, module: str, name: str) -> Any:
        match module, name:
            case (("numpy.core.multiarray" | "numpy._core.multiarray"), "_reconstruct"):
                return _RECONSTRUCT
            case "numpy", ("ndarray" | "dtype"):
                return getattr(np, name)
        raise pickle.UnpicklingError(f"a CIFAR file has no use for {module}.{name}: refused")


def decode(content: bytes, official: Official, version: Version, file: OfficialFile, kind: Labels) -> tuple[Any, Any]:
    """Images (N, 3, 32, 32) uint8 and labels (N,) int64 of one kind, from the bytes of one official file.

    Raises ValueError, which names the file, for what is not in the format, another number of images, or labels that
    are no class.
    """
    try:
        if version.format == "python":
            images, labels = _from_pickle(content, kind)
        else:
            images, labels = _from_records(content, len(official.labels), kind)
    except (pickle.UnpicklingError, EOFError, KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{file.path} is not in the format of {version.archive}: {error!r}") from error
    if images.shape != (file.images, PIXELS) or labels.shape != (file.images,):
        raise ValueError(
            f"{file.path}: expected {file.images:,} images of {PIXELS:,} bytes and as many {kind.name} labels; "
            f"got arrays {images.shape} and {labels.shape}"
        )
    if labels.size and not 0 <= labels.min() <= labels.max() < kind.classes:
        raise ValueError(
            f"{file.path}: expected {kind.name} labels 0 … {kind.classes - 1}; "
            f"got labels from {labels.min()} to {labels.max()}"
        )
    return images.reshape(-1, *SHAPE), labels


def _from_pickle(content: bytes, kind: Labels) -> tuple[Bytes, Numbers]:
    """The "python version": a dict with bytes for keys, written by Python 2."""
    # Python 2 wrote text as bytes; any other encoding would make text of the pixels.
    found = _ArraysOnly(io.BytesIO(content), encoding="bytes").load()
    images, labels = found[b"data"], np.asarray(found[kind.key])
    if images.dtype != np.uint8 or labels.dtype.kind not in "iu":
        raise ValueError(f"expected uint8 images and whole labels; got {images.dtype} and {labels.dtype}")
    return images, labels.astype(np.int64)


def _from_records(content: bytes, kinds: int, kind: Labels) -> tuple[Bytes, Numbers]:
    """The "binary version": for each image one byte for each kind of label, then the pixels."""
    records = np.frombuffer(content, np.uint8).reshape(-1, kinds + PIXELS)
    return records[:, kinds:], records[:, kind.byte].astype(np.int64)
