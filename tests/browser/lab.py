"""A JupyterLab server of the tests' own: a free port, settings and folders that nobody else uses, no network."""

from __future__ import annotations

import json
import os
import queue
import re
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import matplotlib as mpl
import matplotlib.font_manager

STARTS_WITHIN = 120.0
"""Seconds; JupyterLab takes two when nothing else runs."""
_SETTINGS = {
    # Every cell is really there, so that looking for errors does not depend on how far somebody scrolled.
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
    "@jupyterlab/apputils-extension:notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
}
_LEFT_OUT = {"@jupyterlab/apputils-extension:announcements": True}


@dataclass(frozen=True, kw_only=True)
class Lab:
    """A running server: its ``address``, its ``token``, the ``folder`` it serves and what it has to say (``log``)."""

    address: str
    token: str
    folder: Path
    log: Path

    def url(self, notebook: str) -> str:
        """Where a notebook is opened, in a workspace of its own."""
        return f"{self.address}/lab/workspaces/{Path(notebook).stem}/tree/{notebook}?reset&token={self.token}"


@contextmanager
def running_lab(folder: Path, *, home: Path) -> Iterator[Lab]:
    """Serve ``folder`` until the block ends, with everything Jupyter keeps in ``home``.

    Raises RuntimeError, with what the server said, where it does not start.
    """
    _write_settings(home)
    token, log = secrets.token_hex(16), home / "jupyterlab.log"
    options = {
        "ServerApp.port": 0,
        "IdentityProvider.token": token,
        "ServerApp.root_dir": folder,
        "ServerApp.terminals_enabled": False,
        "LabApp.news_url": None,
        "LabApp.extension_manager": "readonly",
        # Should the tests die without a word, the server does not outlive them for long.
        "ServerApp.shutdown_no_activity_timeout": 900,
        "MappingKernelManager.cull_idle_timeout": 600,
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += [f"--{name}={value}" for name, value in options.items()]
    server = subprocess.Popen(
        command, cwd=folder, env=_environment(home), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        assert server.stderr is not None
        yield Lab(address=_address(server.stderr, log), token=token, folder=folder, log=log)
    finally:
        server.terminate()  # it ends its kernels first
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _write_settings(home: Path) -> None:
    folder = home / "config" / "labconfig"
    folder.mkdir(parents=True)
    (folder / "default_setting_overrides.json").write_text(json.dumps(_SETTINGS))
    (folder / "page_config.json").write_text(json.dumps({"disabledExtensions": _LEFT_OUT}))


def _environment(home: Path) -> dict[str, str]:
    """That of the tests, without any setting of Jupyter or of the course, and with one thread for each kernel.

    matplotlib's list of fonts is shared: the first process that draws says on stderr that it has to make one.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "GRADFLOW_FULL"))}
    for name in ("config", "data", "runtime"):
        kept[f"JUPYTER_{name.upper()}_DIR"] = str(home / name)
    own = {"HOME": home, "IPYTHONDIR": home / "ipython", "JUPYTERLAB_SETTINGS_DIR": home / "settings"}
    own |= {"JUPYTERLAB_WORKSPACES_DIR": home / "workspaces", "MPLCONFIGDIR": Path(mpl.get_cachedir())}
    return kept | {name: str(path) for name, path in own.items()} | {"OMP_NUM_THREADS": "1", "LANG": "C.UTF-8"}


def _address(said: IO[str], log: Path) -> str:
    """The address that the server names once it listens; all it says goes on into the log."""
    found: queue.Queue[str | None] = queue.Queue()

    def follow() -> None:
        with said, log.open("w") as lines:
            for line in said:
                lines.write(line)
                lines.flush()
                if named := re.search(r"(http://(?:127\.0\.0\.1|localhost):\d+)/lab", line):
                    found.put(named[1])
        found.put(None)

    threading.Thread(target=follow, name="jupyterlab log", daemon=True).start()
    try:
        address = found.get(timeout=STARTS_WITHIN)
    except queue.Empty:
        address = None
    if address is None:
        raise RuntimeError(f"JupyterLab did not start within {STARTS_WITHIN:g} s:\n{log.read_text()[-2000:]}")
    return address
