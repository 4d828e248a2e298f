"""Whether the files of a data set are there and as they were published."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gradflow.data.official import Official, named
from gradflow.data.sources import advice, choose, locate, md5


@dataclass(frozen=True)
class FileCheck:
    """One file: the md5 it must have, and the md5 it has (None where there is no file)."""

    path: Path
    expected: str
    found: str | None

    @property
    def state(self) -> Literal["found", "missing", "altered"]:
        """How the file is."""
        if self.found is None:
            return "missing"
        return "found" if self.found == self.expected else "altered"


@dataclass(frozen=True, repr=False)
class DataCheck:
    """The files that a data set is read from, each with its checksums; ``ok`` if it can be read."""

    name: str
    folder: Path
    files: tuple[FileCheck, ...]
    advice: str

    @property
    def ok(self) -> bool:
        """Whether every file is found and unaltered."""
        return all(file.state == "found" for file in self.files)

    def __repr__(self) -> str:
        lines = [f"{self.name} in {self.folder}: {'ok' if self.ok else 'not ok'}"]
        for file in self.files:
            line = f"{file.state:<8} {file.path.relative_to(self.folder)}  md5 {file.expected}"
            lines.append(line if file.state != "altered" else f"{line}, found {file.found}")
        return "\n".join(lines if self.ok else [*lines, self.advice])


def check(name: str, folder: str | os.PathLike[str] | None = None) -> DataCheck:
    """Compare with their published md5 the files that ``cifar10`` or ``cifar100`` would read from this folder.

    Raises ValueError for another ``name``.
    """
    return check_official(named(name), locate(folder))


def check_official(official: Official, folder: Path) -> DataCheck:
    """:func:`check` for any table of files."""
    files = choose(official, folder).files
    checked = (FileCheck(path, expected, md5(path.read_bytes()) if path.exists() else None) for path, expected in files)
    return DataCheck(official.name, folder, tuple(checked), advice(official, folder))
