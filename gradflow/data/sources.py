"""Where the official files lie on this machine, and their bytes, which nobody sees before the checksum is right."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gradflow.data.official import Official, OfficialFile, Version

ENVIRONMENT = "GRADFLOW_DATA"


@dataclass(frozen=True)
class Source:
    """One version of a data set in a folder: its archive, or the files extracted from it."""

    official: Official
    version: Version
    folder: Path
    packed: bool

    @property
    def files(self) -> tuple[tuple[Path, str], ...]:
        """Every file that is read, with the md5 it must have."""
        if self.packed:
            return ((self.folder / self.version.archive, self.version.md5),)
        return tuple((self.folder / file.path, file.md5) for file in self.version.files)

    def contents(self) -> Iterator[tuple[OfficialFile, bytes]]:
        """The official files in any order, verified.

        Raises FileNotFoundError or ValueError for one that is missing, truncated or altered.
        """
        if self.packed:
            yield from self._unpacked()
        else:
            for file in self.version.files:
                yield file, self._verified(self.folder / file.path, file.md5)

    def _unpacked(self) -> Iterator[tuple[OfficialFile, bytes]]:
        """Read from the verified archive in one pass, in memory: nothing is extracted to the disk."""
        path = self.folder / self.version.archive
        wanted = {file.path: file for file in self.version.files}
        with tarfile.open(fileobj=io.BytesIO(self._verified(path, self.version.md5)), mode="r|*") as archive:
            for member in archive:
                if member.name not in wanted:
                    continue
                file, stream = wanted.pop(member.name), archive.extractfile(member)
                content = stream.read() if stream is not None else b""
                if md5(content) != file.md5:
                    raise ValueError(self._complaint(path / file.path, file.md5, md5(content)))
                yield file, content
        if wanted:
            raise FileNotFoundError(f"{path} holds no {', '.join(wanted)}")

    def _verified(self, path: Path, expected: str) -> bytes:
        """The bytes that were checked are the bytes that are used: the file is read once."""
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise FileNotFoundError(self._complaint(path, expected, None)) from None
        if (found := md5(content)) != expected:
            raise ValueError(self._complaint(path, expected, found))
        return content

    def _complaint(self, path: Path, expected: str, found: str | None) -> str:
        what = "there is no such file" if found is None else f"found md5 {found}: the file is truncated or altered"
        return f"{path}: expected md5 {expected}, {what}. {advice(self.official, self.folder)}"


def locate(folder: str | os.PathLike[str] | None) -> Path:
    """The folder for data sets: this one, else that of the environment's GRADFLOW_DATA, else pooch's cache folder."""
    chosen = folder if folder is not None else os.environ.get(ENVIRONMENT) or None
    if chosen is not None:
        return Path(chosen).expanduser()
    import pooch  # takes a while, and is needed here only

    return Path(pooch.os_cache("gradflow"))


def choose(official: Official, folder: Path) -> Source:
    """The source that is read: the first that is complete; else the first that has begun; else the one to fetch.

    Archives go before extracted files, and what ``fetch`` brings before all, so that a fetch mends whatever is there.
    """
    sources = [Source(official, version, folder, packed) for packed in (True, False) for version in official.versions]
    for enough in (all, any):
        for source in sources:
            if enough(path.exists() for path, _ in source.files):
                return source
    return sources[0]


def advice(official: Official, folder: Path) -> str:
    """How to get a data set into a folder, as the end of a complaint."""
    elsewhere = "" if folder == locate(None) else f" --data-dir {folder}"
    command = f"`gradflow data fetch {official.name}{elsewhere}`"
    by_hand = " or ".join(f"{official.url(version)} (md5 {version.md5})" for version in official.versions)
    return f"Run {command}, or by hand: put {by_hand} into {folder}, packed or extracted"


def md5(content: bytes) -> str:
    """The checksum that is published for CIFAR, as 32 hexadecimal digits."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
