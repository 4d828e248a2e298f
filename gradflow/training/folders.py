"""The folder of one run of a study: what it is, whether it is finished, and who works on it."""

from __future__ import annotations

import hashlib
import json
import re
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
from filelock import FileLock, Timeout
from torch import nn

from gradflow.files import write_whole
from gradflow.results import History, load
from gradflow.training.checkpoints import identity_of

Failure = dict[str, Any]
"""The type of an exception, its message, and the step it names, if any."""


@dataclass(frozen=True, eq=False, kw_only=True)
class RunFolder:
    """The folder of a run: ``setting.json`` says what it is, ``history.json`` that it is finished.

    While it is not there is ``checkpoint.pt``, and ``failure.json`` if it failed. ``lock`` is held by the process that
    trains it, and by none once that process is dead.
    """

    path: Path
    identity: dict[str, Any]
    old_failure: int | None
    """When the failure that was there before this study was written, if there was one."""

    @classmethod
    def at(cls, path: Path, whole: Mapping[str, Any]) -> Self:
        """The folder for the run that these values describe. Raises ValueError if it was made for another one."""
        identity = json.loads(_json(whole))
        failed = path / "failure.json"
        home = cls(path=path, identity=identity, old_failure=_written(failed))
        home.check()
        return home

    def outcome(self, train: Callable[..., History]) -> History | Failure | None:
        """The run's history, or why it failed: as another process found it, else trained now; None while one trains."""
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            held = FileLock(self.path / "lock").acquire(blocking=False)
        except Timeout:
            return None
        with held:
            self.check()
            return self._found() or self._trained(train)

    def check(self) -> None:
        """Raise ValueError if the folder was made for another run."""
        try:
            theirs = json.loads((self.path / "setting.json").read_bytes())
            differences = list(_differences(theirs, self.identity))
        except FileNotFoundError:
            return
        except (ValueError, AttributeError) as error:
            raise ValueError(f"{self.path / 'setting.json'} is damaged ({error}); delete {self.path}") from error
        if differences:
            raise ValueError(
                f"{self.path} holds another run: {'; '.join(differences)}. Choose another folder for this study, or "
                "delete that one to train anew; what a study compares belongs into its grid"
            )

    def _found(self) -> History | Failure | None:
        """What was found out already; failures only if they are new."""
        if (self.path / "history.json").exists():
            history = load(self.path / "history.json")
            if not isinstance(history, History):
                raise ValueError(f"{self.path / 'history.json'} holds no History; delete {self.path} to train anew")
            self._remove_checkpoint()
            return history
        if _written(self.path / "failure.json") in (None, self.old_failure):
            return None
        failure: Failure = json.loads((self.path / "failure.json").read_bytes())
        return {name: failure[name] for name in ("error", "message", "step")}

    def _trained(self, train: Callable[..., History]) -> History | Failure:
        write_whole(self.path / "setting.json", _json(self.identity).encode())
        (self.path / "failure.json").unlink(missing_ok=True)
        try:
            history = train(checkpoint=self.path / "checkpoint.pt", resume=True)
        except Exception as error:
            step = re.search(r"\bat step (\d+)", str(error))
            failure = {
                "error": type(error).__name__,
                "message": str(error),
                "step": int(step[1]) if step else None,
            }
            told = {**failure, "traceback": traceback.format_exception(error)}
            write_whole(self.path / "failure.json", _json(told).encode())
            return failure
        history.save(self.path / "history.json")
        self._remove_checkpoint()
        return history

    def _remove_checkpoint(self) -> None:
        """It takes hundreds of times the room of the history."""
        for name in ("checkpoint.pt", "checkpoint.pt.lock"):
            if (self.path / name).exists():
                (self.path / name).unlink(missing_ok=True)


_TAKEN = ("none", "true", "false", "inf", "nan")
"""Words that stand for values in the names of folders."""


def folder_name(setting: Mapping[str, Any]) -> str:
    """A name for the folder of a run that tells its setting and belongs to no other one.

    Such as ``depth-20_kind-plain_seed-0``: lower-case letters, digits and ``._+-`` only, at most 111 characters. Values
    that cannot be told so, or not fully, get the start of a hash of the setting behind them.
    """
    whole, parts = True, []
    for name, value in sorted(setting.items()):
        value = value.item() if isinstance(value, np.generic) else value
        if isinstance(value, str):
            told = re.fullmatch(r"[a-z]([a-z0-9.-]*[a-z0-9])?", value) and value not in _TAKEN
        else:
            told = isinstance(value, (int, float, type(None)))
        whole = bool(whole and told and re.fullmatch(r"[a-z][a-z0-9_]*", name))
        parts.append(f"{name}-{value}".lower())
    text = "_".join(parts)
    if whole and len(text) <= 100:
        return text
    # No name without a hash ends so: behind its last "_" there is a "-".
    found = hashlib.sha256(_json(sorted(setting.items())).encode()).hexdigest()[:10]
    return f"{re.sub('[^a-z0-9._+-]+', '-', text)[:100]}_{found}"


def check_plain(setting: Mapping[str, Any]) -> None:
    """Raise ValueError for a setting that cannot be written down."""
    for name, value in setting.items():
        parts = value if isinstance(value, tuple) else (value,)
        if not all(isinstance(part, (bool, int, float, str, np.generic, type(None))) for part in parts):
            raise ValueError(
                "a study in a folder is written down, so its grid holds numbers, text, None, or tuples of these; got "
                f"{name}={value!r}: give a name there and let build make the rest from it"
            )


def checksums(data: Any) -> Any:
    """What tells a set of data from others. Raises TypeError for what is no data."""
    try:
        (x, y), test = data
        return identity_of(nn.Module(), {}, 0, ((x, y), test))["data"]
    except (TypeError, ValueError, AttributeError) as error:
        raise TypeError(
            "data must be ((x, y), (x, y)) of tensors for train and test, or a function without arguments that gives "
            "them, e.g. gradflow.data.digits"
        ) from error


def _differences(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> Iterator[str]:
    """What differs between two runs, in words."""
    for part in ours:
        for name in dict.fromkeys([*theirs[part], *ours[part]]) if isinstance(ours[part], dict) else (None,):
            one, other = ((side[part] if name is None else side[part].get(name)) for side in (theirs, ours))
            if json.dumps(one) != json.dumps(other):  # so that nan equals nan
                yield f"{part}{f' {name}' if name else ''} there is {one!r}, here {other!r}"


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, default=lambda one: one.item() if isinstance(one, np.generic) else name_of(one))


def name_of(value: Any) -> str:
    """How a function, or what it was given, is called in every process."""
    if isinstance(value, partial):
        given = [*map(name_of, value.args), *(f"{name}={name_of(one)}" for name, one in value.keywords.items())]
        return f"{name_of(value.func)}({', '.join(given)})"
    return getattr(value, "__qualname__", type(value).__qualname__) if callable(value) else repr(value)


def _written(path: Path) -> int | None:
    return path.stat().st_mtime_ns if path.exists() else None
