"""Official archives from the network: verified, and continued where a download broke off."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradflow.data.official import Official, named
from gradflow.data.sources import advice, locate

_CHUNK = 2**16
_PATIENCE = 30
"""Seconds without a byte before a server counts as gone."""


def fetch(name: str, folder: str | os.PathLike[str] | None = None, *, progress: bool = True) -> Path:
    """Download the official archive of "cifar10" or "cifar100", unless it is there; its path.

    What came before a broken connection is kept in a ``.part`` file, and the next call goes on from there.

    Args:
        folder: where it goes; by default where the data sets look for it.
        progress: show a bar.

    Raises ValueError for another ``name``, and for an archive whose md5 is not the published one, which is thrown
    away; ConnectionError when the network fails. Both say how to do it by hand.
    """
    return fetch_official(named(name), locate(folder), progress=progress)


def fetch_official(official: Official, folder: Path, *, progress: bool) -> Path:
    """:func:`fetch` for any table of files."""
    import pooch
    import requests
    import urllib3

    version = official.versions[0]
    url = official.url(version)
    try:
        found = pooch.retrieve(
            url, known_hash=f"md5:{version.md5}", fname=version.archive, path=folder, downloader=_Resuming(progress)
        )
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise ConnectionError(
            f"{url} could not be downloaded: {error}. Try again to go on where it stopped. {advice(official, folder)}"
        ) from error
    except ValueError as error:
        raise ValueError(f"{error}. {advice(official, folder)}") from error
    return Path(found)


@dataclass(frozen=True)
class _Resuming:
    """A downloader for pooch, which itself begins anew each time."""

    progress: bool

    def __call__(self, url: str, output_file: str, pooch: Any) -> None:
        """Bring the whole file to ``output_file``, which pooch then verifies."""
        part = Path(output_file).with_name(url.rsplit("/", 1)[-1] + ".part")
        self._complete(url, part)
        # A whole download that turns out wrong is gone with pooch's file, so that the next one starts afresh.
        os.replace(part, output_file)

    def _complete(self, url: str, part: Path) -> None:
        import requests
        from tqdm.auto import tqdm

        have = part.stat().st_size if part.exists() else 0
        # Without "identity" a server may pack the archive once more, and positions would count in other bytes.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        with requests.get(url, headers=headers, stream=True, timeout=_PATIENCE) as response:
            if have and response.status_code == requests.codes.requested_range_not_satisfiable:
                return  # nothing lies behind what is here: it is whole, or wrong, as its md5 will tell
            response.raise_for_status()
            if response.status_code != requests.codes.partial_content:
                have = 0  # the server sends all of it
            length = response.headers.get("Content-Length")
            total = have + int(length) if length is not None else None
            bar = tqdm(desc=part.stem, total=total, initial=have, unit="B", unit_scale=True, disable=not self.progress)
            with bar, part.open("ab" if have else "wb") as file:
                for chunk in response.raw.stream(_CHUNK, decode_content=False):
                    file.write(chunk)
                    bar.update(len(chunk))
