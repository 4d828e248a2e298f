"""Train networks and keep what happened: recipes, one run, and grids of runs."""

from gradflow.training import recipes
from gradflow.training.fitting import fit
from gradflow.training.studying import study

__all__ = ["fit", "recipes", "study"]
