"""split(): asks the tensor wing for both parts of the gradient, sets theory beside them, answers with a result."""

from __future__ import annotations

import torch

from gradflow.measure.splitting import split_gradient
from gradflow.measure.task import Data, Loss, Model
from gradflow.prediction import predict_units
from gradflow.results import GradientSplit


def split(
    model: Model,
    data: Data = None,
    *,
    loss: Loss | None = None,
    start: str = "loss",
    repeats: int = 1,
    mode: str = "train",
    dtype: torch.dtype | None = torch.float64,
    seed: int = 0,
    batch: int = 32,
) -> GradientSplit:
    """Split ∂E/∂x_l at every unit into what came through shortcuts alone and all the rest (He16 eq. 5–8).

    Numbers are the RMS over B × D of each part, in the result's text and picture relative to that of ∂E/∂x_U. For
    x_{l+1} = λ_l x_l + F(x_l) the shortcut part is (∏ λ_i) ∂E/∂x_U exactly, and stands beside it. For any other
    shortcut h (gate, 1×1 convolution, dropout, projection) it is (∏ h′_i)ᵀ ∂E/∂x_U, where h′ is the derivative of the
    whole term. A post-activation's derivative at the actual point belongs to both parts, so that they always add up to
    the gradient; BatchNorm's coupling of the samples belongs to the maps.

    model: a network with units in a row (:class:`gradflow.models.Unit`), or a function that builds one; it is copied,
    never changed. λ may be constant, one per unit, random or learned: ``fc_stack(50, 64, shortcut=lams)``.
    data, loss, repeats, mode, seed, batch: as in :func:`gradflow.compare`. dtype: of the copy, by default float64.
    start: "loss", or "random" for N(0, 1) numbers in place of ∂E/∂x_U, which depend on no weight and need no loss; λ
    may then be so large or small (1e±3 over 1,000 units) that the signal itself leaves the dtype's range.

    Raises TypeError for a model without units; ValueError for units that do not stand in a row, for a signal out of
    range and for bad arguments.
    """
    return split_gradient(
        model,
        data,
        loss=loss,
        start=start,
        repeats=repeats,
        mode=mode,
        dtype=dtype,
        seed=seed,
        batch=batch,
        predict=predict_units,
    )
