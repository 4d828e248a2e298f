"""Which layers to look at: by word, by type, by name pattern or by predicate."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import Any

from torch import nn
from torch.nn.utils import parametrize

Layers = str | type[nn.Module] | Callable[[str, nn.Module], bool] | Iterable[Any]
"""A word ("weighted", "all", "units"), a name pattern ("*.conv1"), a module type, a predicate of (name, module), or a
tuple of these."""


def select(model: nn.Module, layers: Layers = "weighted") -> dict[str, nn.Module]:
    """The chosen modules of a model by qualified name, in the order they were registered; a shared one appears once.

    "weighted" means modules that own a matrix or kernel, less those inside a shortcut: He15 leaves these out of the
    depth, too. "all" means modules without children, "units" the residual units. Raises ValueError if nothing matches,
    TypeError for anything else than the choices above.
    """
    chosen = _predicate(layers)
    modules = dict(model.named_modules())
    inside = tuple(f"{name}." for name, module in modules.items() if layers == "weighted" and _is_shortcut(module))
    found = {
        name or type(module).__name__: module
        for name, module in modules.items()
        if chosen(name, module)
        and not name.startswith(inside)
        and not isinstance(module, parametrize.ParametrizationList)
    }
    if not found:
        names = [name for name in modules if name]
        shown = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
        raise ValueError(
            f"layers={layers!r} matches no module of {type(model).__name__}; its modules are: {shown or 'none'}. "
            'Use "weighted", "all", "units", a type, a name pattern or a predicate of (name, module)'
        )
    return found


def weights(module: nn.Module) -> dict[str, nn.Parameter]:
    """The matrices and kernels a module owns itself (dimension 2 or more), with those behind a parametrization."""
    owned = {name: parameter for name, parameter in module._parameters.items() if parameter is not None}
    if "parametrizations" in module._modules:
        owned.update(module.parametrizations.named_parameters(prefix="parametrizations"))  # type: ignore[union-attr]
    return {name: parameter for name, parameter in owned.items() if parameter.dim() >= 2}


def _predicate(layers: Layers) -> Callable[[str, nn.Module], bool]:
    if isinstance(layers, str):
        return _WORDS.get(layers) or (lambda name, module: fnmatchcase(name, layers))
    if isinstance(layers, type) and issubclass(layers, nn.Module):
        return lambda name, module: isinstance(module, layers)
    if isinstance(layers, (tuple, list)) and layers:
        each = [_predicate(item) for item in layers]
        return lambda name, module: any(chosen(name, module) for chosen in each)
    if callable(layers) and not isinstance(layers, type):
        return layers
    raise TypeError(
        f'layers must be "weighted", "all", "units", a name pattern, a module type, a predicate of (name, module) '
        f"or a tuple of these; got {layers!r}"
    )


def _is_shortcut(module: nn.Module) -> bool:
    return getattr(type(module), "is_shortcut", False)


_WORDS: dict[str, Callable[[str, nn.Module], bool]] = {
    "weighted": lambda name, module: bool(weights(module)),
    "all": lambda name, module: not any(True for _ in module.children()) or parametrize.is_parametrized(module),
    "units": lambda name, module: getattr(type(module), "is_unit", False),
}
