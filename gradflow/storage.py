"""Results as text: a readable JSON that gives every float back exactly."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

_TAGS = ({"dtype", "shape", "array"}, {"float"}, {"kind", "fields"}, {"dict"})
FORMAT = "gradflow-result"
VERSION = 1


def dumps(kind: str, fields: dict[str, Any]) -> bytes:
    """The JSON text of a result: one line per field, keys in the order given."""
    lines = [f'"format": "{FORMAT}"', f'"version": {VERSION}', f'"kind": "{kind}"']
    lines += [f"{json.dumps(name)}: {json.dumps(_encode(value), allow_nan=False)}" for name, value in fields.items()]
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def loads(content: bytes, source: Path) -> tuple[str, dict[str, Any]]:
    """The kind and the fields of a result from its JSON text.

    Raises ValueError that names ``source`` when the text is cut short, is not a gradflow result, or comes from a later
    version of the format.
    """
    try:
        read = json.loads(content.decode())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{source} is not complete JSON ({error}); it may be truncated: save it again") from error
    if not isinstance(read, dict) or read.get("format") != FORMAT:
        raise ValueError(f'{source} is JSON, but no gradflow result: expected "format": "{FORMAT}"')
    version = read.get("version")
    if not isinstance(version, int) or version > VERSION:
        raise ValueError(
            f"{source} has format version {version}; this gradflow reads up to {VERSION}: update gradflow to open it"
        )
    try:
        fields = {name: _decode(value) for name, value in read.items() if name not in ("format", "version", "kind")}
        return str(read["kind"]), fields
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{source} is a damaged gradflow result: {error!r}") from error


def _encode(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        flat = value.ravel().tolist()
        if value.dtype.kind == "f":
            flat = [_encode_float(number) for number in flat]
        return {"dtype": str(value.dtype), "shape": list(value.shape), "array": flat}
    if isinstance(value, np.generic):
        return _encode(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if isinstance(value, dict):
        encoded = {str(key): _encode(item) for key, item in value.items()}
        # A user's names must not be taken for one of ours.
        return {"dict": list(encoded.items())} if encoded.keys() in _TAGS else encoded
    if isinstance(value, (tuple, list)):
        return [_encode(item) for item in value]
    if hasattr(value, "stored"):
        kind, fields = value.stored()
        return {"kind": kind, "fields": [[name, _encode(item)] for name, item in fields.items()]}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"a result can hold arrays, numbers, text, dicts and tuples; got {type(value).__name__}")


def _encode_float(number: float) -> float | str:
    return number if math.isfinite(number) else str(number)


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_decode(item) for item in value)
    if not isinstance(value, dict):
        return value
    if value.keys() == {"dtype", "shape", "array"}:
        return _decode_array(value)
    if value.keys() == {"float"}:
        return float(value["float"])
    if value.keys() == {"kind", "fields"}:
        return Stored(value["kind"], {name: _decode(item) for name, item in value["fields"]})
    if value.keys() == {"dict"}:
        return {key: _decode(item) for key, item in value["dict"]}
    return {key: _decode(item) for key, item in value.items()}


def _decode_array(value: dict[str, Any]) -> np.ndarray:
    dtype = np.dtype(value["dtype"])
    numbers = [float(number) for number in value["array"]] if dtype.kind == "f" else value["array"]
    array = np.array(numbers, dtype=dtype).reshape(value["shape"])
    array.setflags(write=False)
    return array


class Stored:
    """A result inside a result, read but not yet built: its kind and its fields."""

    def __init__(self, kind: str, fields: dict[str, Any]) -> None:
        self.kind = kind
        self.fields = fields
