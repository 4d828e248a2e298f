"""Gaussian noise shaped to fit a model."""

from __future__ import annotations

import torch
from torch import Tensor, nn

IMAGE_SIZE = 32
BATCH = 32


def gaussian(shape: tuple[int, ...], *, batch: int = BATCH, seed: int = 0) -> Tensor:
    """A batch (batch, *shape) of independent N(0, 1) numbers, float32; the global generators are not touched."""
    if not isinstance(batch, int) or batch < 1:
        raise ValueError(f"batch must be a whole number of at least 1; got batch={batch!r}")
    return torch.randn((batch, *shape), generator=torch.Generator().manual_seed(seed))


def shape_for(model: nn.Module) -> tuple[int, ...]:
    """The shape of one input sample: the model's ``input_shape``, or what its first layer takes (images 32 wide).

    Raises ValueError when the first layer takes no real-valued input of a known size.
    """
    declared = getattr(model, "input_shape", None)
    if declared is not None:
        return tuple(declared)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            return (module.in_features,)
        for dimensions, kind in enumerate((nn.Conv1d, nn.Conv2d, nn.Conv3d), start=1):
            if isinstance(module, kind):
                return (module.in_channels, *(IMAGE_SIZE,) * dimensions)
        if isinstance(module, (nn.Embedding, nn.EmbeddingBag, nn.RNNBase)):
            break
    raise ValueError(f"cannot make up a batch for {type(model).__name__}: pass data=x or data=(x, y)")
