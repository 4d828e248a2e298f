"""gradflow shows how gradients travel through deep networks with and without shortcuts."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradflow import data, models, plots, teaching, theory
    from gradflow.analysis import path_spectrum, split
    from gradflow.comparison import compare
    from gradflow.explorer import explore
    from gradflow.measure.landscape import loss_slice
    from gradflow.measure.lesions import lesion
    from gradflow.measure.shattering import gradient_correlation, input_gradients
    from gradflow.measure.tracing import trace
    from gradflow.results import load
    from gradflow.training import fit, recipes, study

__version__ = "0.1.0"

_WHERE = {
    "compare": "gradflow.comparison",
    "explore": "gradflow.explorer",
    "trace": "gradflow.measure.tracing",
    "fit": "gradflow.training",
    "study": "gradflow.training",
    "recipes": "gradflow.training",
    "gradient_correlation": "gradflow.measure.shattering",
    "input_gradients": "gradflow.measure.shattering",
    "load": "gradflow.results",
    "loss_slice": "gradflow.measure.landscape",
    "lesion": "gradflow.measure.lesions",
    "path_spectrum": "gradflow.analysis",
    "split": "gradflow.analysis",
}
_NAMESPACES = ("data", "models", "plots", "teaching", "theory")

__all__ = [
    "compare",
    "data",
    "explore",
    "fit",
    "gradient_correlation",
    "input_gradients",
    "lesion",
    "load",
    "loss_slice",
    "models",
    "path_spectrum",
    "plots",
    "recipes",
    "split",
    "study",
    "teaching",
    "theory",
    "trace",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that ``import gradflow`` costs next to nothing (PEP 562)."""
    if name in _WHERE:
        value = getattr(import_module(_WHERE[name]), name)
    elif name in _NAMESPACES:
        value = import_module(f"gradflow.{name}")
    else:
        raise AttributeError(f"gradflow has no {name!r}; it has {', '.join(__all__)}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, "__version__"})
