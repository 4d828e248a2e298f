"""The house as DESIGN.md draws it: what loads what, and what the names at the door are."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import gradflow

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "matplotlib.pyplot", "sklearn", "pandas", "ipywidgets")
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(gradflow.__path__, "gradflow.")
    if not module.name.endswith("__main__")
)


def python(code: str) -> str:
    """What a fresh interpreter prints."""
    found = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert found.returncode == 0, found.stderr
    return found.stdout.strip()


def loaded(code: str) -> set[str]:
    """The heavy packages that are loaded after some code."""
    return set(python(f"{code}\nimport sys\nprint(*(set({HEAVY!r}) & set(sys.modules)))").split())


def test_import_costs_next_to_nothing() -> None:
    assert loaded("import gradflow; dir(gradflow); gradflow.__version__") == set()
    assert "numpy" not in python("import gradflow, sys; print(*sys.modules)").split()


def test_the_number_wing_leaves_torch_alone() -> None:
    assert "torch" not in loaded("import gradflow.plots, gradflow.theory, gradflow.verdicts; from gradflow import load")
    assert loaded("import gradflow.results") == set()


def test_the_tensor_wing_draws_nothing() -> None:
    assert loaded("from gradflow import compare, trace, fit, study, models, data") == {"torch"}


def test_a_saved_result_is_redrawn_without_torch(each_kind: dict[str, Any], tmp_path: Path) -> None:
    for kind in ("Comparison", "Study"):
        path = tmp_path / f"{kind}.json"
        each_kind[kind].save(path).save(path.with_suffix(".svg"))
        code = f"import gradflow; gradflow.load({str(path)!r}).save({str(tmp_path / 'again.svg')!r})"
        assert "torch" not in loaded(code)
        assert (tmp_path / "again.svg").read_bytes() == path.with_suffix(".svg").read_bytes(), "byte for byte"


def test_contracts_between_the_wings() -> None:
    tool = Path(sys.executable).parent / "lint-imports"
    if not tool.exists():
        pytest.skip("import-linter is not installed")
    found = subprocess.run([tool, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize("name", gradflow.__all__)
def test_every_public_name_is_there_and_explained(name: str) -> None:
    value = getattr(gradflow, name)
    assert inspect.getdoc(value)
    assert name in dir(gradflow)
    if not inspect.ismodule(value):
        first = inspect.getdoc(value).split("\n\n")[0]
        assert first.rstrip().endswith((".", ":class:`Trace`.")), "the first paragraph is a sentence"


@pytest.mark.parametrize("namespace", ["data", "models", "plots", "recipes"])
def test_public_functions_of_the_namespaces_are_explained(namespace: str) -> None:
    module = getattr(gradflow, namespace)
    for name in getattr(module, "__all__", []):
        value = getattr(module, name)
        if inspect.isfunction(value) or inspect.isclass(value):
            assert inspect.getdoc(value), f"{namespace}.{name}"


def test_unknown_names() -> None:
    with pytest.raises(AttributeError, match=r"no 'comparison_of'; it has compare, data"):
        gradflow.comparison_of  # noqa: B018
    with pytest.raises(ImportError):
        exec("from gradflow import comparison_of")
    assert not hasattr(gradflow, "__path_to_nowhere__")


@pytest.mark.parametrize("name", MODULES)
def test_no_module_has_the_name_of_a_function_it_exports(name: str) -> None:
    module = importlib.import_module(name)
    value = getattr(module, name.split(".")[-1], None)
    assert value is None or inspect.ismodule(value), f"{name} exports {value}, which hides the module from its package"


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_it_is(name: str) -> None:
    if name == "gradflow.measure":
        return
    assert inspect.getdoc(importlib.import_module(name))


def test_nothing_prints() -> None:
    for path in (ROOT / "gradflow").rglob("*.py"):
        if path.name not in ("cli.py", "__main__.py"):
            assert "print(" not in path.read_text(), path
