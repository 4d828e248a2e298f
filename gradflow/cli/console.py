"""What every command says: answers on standard output, a mistake as one line on standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterable


def show(text: str) -> None:
    """Print an answer at once, also into a pipe."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def complain(message: str, status: int) -> int:
    """Print what went wrong as one line and return the exit status; under torchrun once on each machine."""
    if os.environ.get("LOCAL_RANK", "0") == "0":
        sys.stderr.write(f"gradflow: {' '.join(message.split())}\n")
    return status


def check(what: str, wanted: Iterable[str], known: Collection[str]) -> None:
    """Raise ValueError, with all that are known, if one that is wanted is not."""
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ValueError(f"{what} must be among {', '.join(known)}; got {', '.join(map(repr, unknown))}")


def check_counts(**counts: int | None) -> None:
    """Raise ValueError for an option, by name, that was given and is below 1."""
    for name, count in counts.items():
        if count is not None and count < 1:
            raise ValueError(f"--{name.replace('_', '-')} must be at least 1; got {count}")
