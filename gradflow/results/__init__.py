"""The border between tensors and numbers: frozen results that hold arrays and say where they came from."""

from gradflow.quantiles import quantile
from gradflow.results.base import PICTURES, Result, load
from gradflow.results.gradients import HISTOGRAM_EDGES, Comparison, Trace
from gradflow.results.runs import History, Study
from gradflow.results.tables import Panels, Table

__all__ = [
    "HISTOGRAM_EDGES",
    "PICTURES",
    "Comparison",
    "History",
    "Panels",
    "Result",
    "Study",
    "Table",
    "Trace",
    "load",
    "quantile",
]
