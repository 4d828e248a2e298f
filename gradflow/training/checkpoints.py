"""Checkpoints: one file that is always whole, and that only the run it belongs to goes on from."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from zipfile import BadZipFile, ZipFile
from zlib import crc32

import torch
from filelock import FileLock, Timeout
from torch import Tensor, nn

from gradflow.files import whole_file
from gradflow.measure.provenance import describe

_OURS = "gradflow-checkpoint-"
FORMAT = f"{_OURS}1"

_log = logging.getLogger(__name__)


class Checkpoint:
    """The checkpoint file of one run, held against other processes while the block lasts.

    identity: what the run is: model, recipe, seed, data. every: seconds between two checkpoints, 0 for one after each
    step. The file is replaced as a whole or not at all, so that there is a good one at any moment.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any], *, every: float, writes: bool = True) -> None:
        self.path, self.identity, self.every, self.writes = path, dict(identity), every, writes
        self._lock = FileLock(f"{path}.lock")
        self._last = time.monotonic()

    def __enter__(self) -> Self:
        if not self.writes:
            return self
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(blocking=False)
        except Timeout as error:
            raise BlockingIOError(
                f"another process is training to {self.path}; wait for it, or choose another checkpoint"
            ) from error
        except OSError as error:
            raise _unwritable(self.path, error) from error
        for left_over in self.path.parent.glob(f".{self.path.name}.*"):
            left_over.unlink(missing_ok=True)  # half of a file, from a process that was killed
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._lock.release()

    @property
    def is_due(self) -> bool:
        """Whether the last checkpoint is old enough for a new one."""
        return time.monotonic() - self._last >= self.every

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the file. Raises OSError that says what is left on disk."""
        self._last = time.monotonic()
        if not self.writes:
            return
        content = {"format": FORMAT, "identity": self.identity, "setting": _setting(), "state": dict(state)}
        try:
            with whole_file(self.path) as file:
                torch.save(content, file)
        except (OSError, RuntimeError) as error:  # torch's zip writer turns a full disk into a RuntimeError
            raise _unwritable(self.path, error) from error

    def load(self) -> dict[str, Any]:
        """The state in the file, on the CPU.

        Raises ValueError if the file is no checkpoint, is damaged, or belongs to another run: then with what differs.
        """
        try:
            content = torch.load(self.path, map_location="cpu", weights_only=True)
        except OSError:
            raise
        except Exception as error:
            raise ValueError(_foreign(self.path)) from error
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise ValueError(f"{self.path} is no checkpoint of this version of gradflow: choose another file")
        differences = list(_differences(content["identity"], self.identity))
        if differences:
            raise ValueError(
                f"{self.path} belongs to another run: {'; '.join(differences)}. "
                "Go on with the model, recipe, seed and data it was made with, or choose another checkpoint"
            )
        for name, value in _setting().items():
            if content["setting"][name] != value:
                _log.warning(
                    "%s was written with %s %s, this is %s: the last bits may differ from an uninterrupted run's",
                    *(self.path, name, content["setting"][name], value),
                )
        return content["state"]


def check_file(path: Path, *, resume: bool) -> None:
    """Raise ValueError for a folder and for what there is to resume from but no checkpoint; else FileExistsError."""
    if path.is_dir():
        raise ValueError(f"checkpoint must be a file, e.g. {path / 'checkpoint.pt'}; {path} is a folder")
    if not path.exists():
        return
    ours = _is_ours(path)
    if resume and not ours:
        raise ValueError(_foreign(path))
    if not resume:
        holds = (
            f"{path} holds a run already: resume=True goes on with it; to begin anew delete it or choose another file"
        )
        raise FileExistsError(holds if ours else _foreign(path))


def _is_ours(path: Path) -> bool:
    """Whether a file is a whole checkpoint of some version of gradflow, as far as one can tell without loading it."""
    try:
        with ZipFile(path) as file:
            return any(_OURS.encode() in file.read(name) for name in file.namelist() if name.endswith("data.pkl"))
    except BadZipFile:
        return False


def _foreign(path: Path) -> str:
    return f"{path} is no checkpoint of gradflow, or a damaged one: choose another file, or move this one away"


def identity_of(
    model: nn.Module,
    recipe: Mapping[str, Any],
    seed: int,
    data: tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]],
    **options: Any,
) -> dict[str, Any]:
    """What makes a run the one it is, as plain values: shapes of the model, recipe, seed, a checksum of the data."""
    return {
        "model": {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()},
        "recipe": _plain(recipe),
        "seed": seed,
        "data": {
            f"{part} {name}": f"{tuple(tensor.shape)} {crc32(tensor.contiguous().cpu().numpy().data):08x}"
            for part, pair in zip(("train", "test"), data, strict=True)
            for name, tensor in zip("xy", pair, strict=True)
        },
        "options": _plain(options),
    }


def _plain(value: Any) -> Any:
    """A value as a checkpoint gives it back; of classes and functions their name."""
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, (tuple, list)):
        return tuple(map(_plain, value))
    if isinstance(value, (str, int, float, type(None))):
        return value
    return getattr(value, "__qualname__", repr(value))


def _differences(theirs: Mapping[str, Any], ours: Mapping[str, Any], path: str = "") -> Any:
    """What differs between two identities, in words; of the model's shapes only the first."""
    for name in dict.fromkeys([*theirs, *ours]):
        one, other = theirs.get(name), ours.get(name)
        if one == other:
            continue
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            found = list(_differences(one, other, f"{name} "))
            yield from found[:1] if name == "model" else found
        else:
            yield f"{path}{name} there is {one}, here {other}"


def _setting() -> dict[str, Any]:
    """What decides the last bits beside the run itself."""
    return {"torch": describe()["versions"]["torch"], "threads": torch.get_num_threads()}


def _unwritable(path: Path, error: Exception) -> OSError:
    kept = "the checkpoint that was there is unharmed" if path.exists() else "nothing was written"
    return OSError(
        f"cannot write {path}: {_first_line(error)}; {kept}. Make room, allow writing there, or choose another folder"
    )


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
