"""What the tests in a browser need, and what is said where it is missing."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from typing import Any, NoReturn

import pytest

try:
    from playwright.sync_api import expect
except ImportError:  # the fixtures skip every test that would call it
    expect: Any = None
else:
    expect.set_options(timeout=60_000)  # milliseconds; the machine may have more to do

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
REQUIRED = os.environ.get("GRADFLOW_REQUIRE_BROWSER") == "1"
"""Whether a missing browser is a failure, as it is in CI."""


def chromium() -> str:
    """The path of a Chromium; where that or a package is missing the test is skipped, or fails if it is required."""
    for package in ("playwright", "jupyterlab", "ipywidgets"):
        if find_spec(package) is None:
            _missing(f"{package} is not installed: pip install -c constraints.txt -e '.[dev]'")
    named = os.environ.get("GRADFLOW_BROWSER")
    if named and shutil.which(named) is None:
        pytest.fail(f"GRADFLOW_BROWSER must name a Chromium that can be run; got {named!r}", pytrace=False)
    found = next(filter(None, map(shutil.which, [named] if named else PROGRAMS)), None)
    if found is None:
        _missing(
            "no Chromium found: install it (Debian: apt-get install chromium), or say where it is with "
            "GRADFLOW_BROWSER=/path/to/chromium"
        )
    return found


def _missing(reason: str) -> NoReturn:
    if REQUIRED:
        pytest.fail(f"{reason} (GRADFLOW_REQUIRE_BROWSER=1)", pytrace=False)
    pytest.skip(reason)
