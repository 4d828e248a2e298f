"""The border between tensors and numbers: frozen results that hold arrays and say where they came from."""

from gradflow.quantiles import quantile
from gradflow.results.base import ENDINGS, PICTURES, Result, load
from gradflow.results.costs import Cost
from gradflow.results.gradients import HISTOGRAM_EDGES, Comparison, Trace
from gradflow.results.landscape import LossSlice
from gradflow.results.lesions import Lesion
from gradflow.results.paths import PathSpectrum
from gradflow.results.runs import History, Study
from gradflow.results.shattering import Autocorrelation, GradientCorrelation, InputGradients, autocorrelation
from gradflow.results.splits import RATIO_EDGES, GradientSplit
from gradflow.results.tables import Panels, Table

__all__ = [
    "ENDINGS",
    "HISTOGRAM_EDGES",
    "PICTURES",
    "RATIO_EDGES",
    "Autocorrelation",
    "Comparison",
    "Cost",
    "GradientCorrelation",
    "GradientSplit",
    "History",
    "InputGradients",
    "Lesion",
    "LossSlice",
    "Panels",
    "PathSpectrum",
    "Result",
    "Study",
    "Table",
    "Trace",
    "autocorrelation",
    "load",
    "quantile",
]
