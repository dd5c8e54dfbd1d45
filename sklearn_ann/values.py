"""Plain values as JSON and arrays, and back, for a file that nobody vouches for.

JSON knows no tuples, no keys but strings, no infinities and no arrays: a value that is
more than JSON can say is an object of one key that names its kind.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

# Arrays of no more numbers stand in the JSON: an entry of the header costs as much.
FEW_NUMBERS = 16
# Characters that the padding of an array of strings may take.
MOST_PADDED = 2**24
# safetensors' names of dtypes: https://huggingface.co/docs/safetensors
DTYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "U16": "uint16",
    "I16": "int16",
    "F16": "float16",
    "U32": "uint32",
    "I32": "int32",
    "F32": "float32",
    "U64": "uint64",
    "I64": "int64",
    "F64": "float64",
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}


class FileError(ValueError):
    """A file is damaged, of another kind or version, or holds what it must not."""


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes in a file, read piece by piece when they are wanted.

    Attributes
    ----------
    size : int
    read : callable (start, stop) -> bytes
    """

    size: int
    read: Callable[[int, int], bytes]


@dataclass(slots=True)
class Encoder:
    """Arrays found on the way through a tree of values.

    Attributes
    ----------
    arrays : dict of str to ndarray
    names : dict of int to str
        By the id of an array: one that is found twice is stored once.
    """

    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    alive: list[Any] = field(default_factory=list)  # else an id may be used again

    def encode(self, value: Any, where: str) -> Any:
        """Turn a value into what JSON can say; ``where`` names it in errors."""
        if value is None or isinstance(value, bool | str) or type(value) is int:
            return value
        if type(value) is float:
            return value if math.isfinite(value) else {"float": repr(value)}
        if isinstance(value, np.generic):
            return {"scalar": self.encode(np.asarray(value), where)}
        if isinstance(value, np.ndarray):
            return self._array(value, where)
        if isinstance(value, bytes):
            return {"bytes": self._stored(np.frombuffer(value, np.uint8), "b")}
        if type(value) is list:
            return self._items(value, where)
        if type(value) in (tuple, set):
            return {type(value).__name__: self._items(value, where)}
        if type(value) is dict:
            return {
                "dict": [
                    [self.encode(k, where), self.encode(v, f"{where}.{k}")]
                    for k, v in value.items()
                ]
            }
        raise TypeError(
            f"{where} cannot be saved: it is {_described(value)}, and a file holds "
            "numbers, strings, arrays and containers of them, but no functions or "
            "objects of other packages. Take it out, or say it by a name."
        )

    def _items(self, values: Any, where: str) -> list[Any]:
        return [self.encode(v, f"{where}[{i}]") for i, v in enumerate(values)]

    def _array(self, array: np.ndarray, where: str) -> Any:
        shape = list(array.shape)
        if array.dtype.kind in "UO":
            key = "strings" if array.dtype.kind == "U" else "objects"
            return {key: self._items(array.ravel().tolist(), where), "shape": shape}
        if array.dtype.kind in "mM":
            numbers = np.ascontiguousarray(array).view(np.int64).reshape(shape)
            return {"times": array.dtype.str, "array": self._stored(numbers)}
        name = array.dtype.newbyteorder("=").name
        if name not in NAMES:
            raise TypeError(
                f"{where} cannot be saved: it is an array of dtype {array.dtype}."
            )
        if array.size <= FEW_NUMBERS:
            return {name: self._items(array.ravel().tolist(), where), "shape": shape}
        return {"array": self._stored(array)}

    def _stored(self, array: np.ndarray, letter: str = "a") -> str:
        if id(array) not in self.names:
            self.names[id(array)] = f"{letter}{len(self.names)}"
            self.alive.append(array)
            native = array.dtype.newbyteorder("=")
            # Zero dimensions would become one.
            flat = np.ascontiguousarray(array, native).reshape(array.shape)
            self.arrays[self.names[id(array)]] = flat
        return self.names[id(array)]


def _described(value: Any) -> str:
    kind = type(value)
    name = getattr(value, "__name__", None)
    what = f"{kind.__module__}.{kind.__qualname__}"
    return f"{name!r} of type {what}" if name else f"an object of type {what}"


@dataclass(frozen=True, slots=True)
class Decoder:
    """Turns JSON back into values."""

    arrays: dict[str, np.ndarray | Blob]

    def decode(self, node: Any) -> Any:
        """Return the value that a node of the JSON stands for."""
        if isinstance(node, list):
            return [self.decode(item) for item in node]
        if not isinstance(node, dict):
            return node
        key, *others = node
        content = node[key]
        if key in DTYPES.values():
            return self._numbers(content, key, node["shape"])
        decoder = getattr(self, f"_{key}", None) if key in _KEYS else None
        if decoder is None:
            raise FileError(f"{key!r} stands where the kind of a value is expected.")
        return decoder(content, *(node[other] for other in others))

    def _float(self, text: str) -> float:
        return float({"nan": "nan", "inf": "inf", "-inf": "-inf"}[text])

    def _scalar(self, node: Any) -> Any:
        return self.decode(node)[()]

    def _tuple(self, nodes: list) -> tuple:
        return tuple(self.decode(nodes))

    def _set(self, nodes: list) -> set:
        return set(self.decode(nodes))

    def _dict(self, pairs: list) -> dict:
        return {self.decode(k): self.decode(v) for k, v in pairs}

    def _array(self, name: str) -> np.ndarray:
        found = self.arrays[name]
        if isinstance(found, Blob):
            raise FileError(f"{name!r} are bytes where an array is expected.")
        return found

    def _bytes(self, name: str) -> Blob:
        found = self.arrays[name]
        if not isinstance(found, Blob):
            raise FileError(f"{name!r} is an array where bytes are expected.")
        return found

    def _times(self, dtype: str, name: str) -> np.ndarray:
        kind = np.dtype(dtype)
        numbers = self._array(name)
        if kind.kind not in "mM" or numbers.dtype != np.int64:
            raise FileError(f"dtype {dtype!r} stands where one of times is expected.")
        return numbers.view(kind)

    def _numbers(self, items: list, dtype: str, shape: list) -> np.ndarray:
        return np.array(self.decode(items), dtype=dtype).reshape(self._shape(shape))

    def _strings(self, items: list, shape: list) -> np.ndarray:
        if not all(isinstance(item, str) for item in items):
            raise FileError("Something else stands in an array of strings.")
        # All of them take the room of the longest.
        if len(items) * max(map(len, items), default=0) > MOST_PADDED + sum(
            map(len, items)
        ):
            raise FileError("an array of strings in it would take far more than them.")
        return np.array(items, dtype=str).reshape(self._shape(shape))

    def _objects(self, items: list, shape: list) -> np.ndarray:
        array = np.empty(len(items), dtype=object)
        for i, item in enumerate(items):
            array[i] = self.decode(item)
        return array.reshape(self._shape(shape))

    def _shape(self, shape: list) -> list[int]:
        if not all(type(n) is int and n >= 0 for n in shape):
            raise FileError(f"{shape!r} stands where a shape is expected.")
        return shape


_KEYS = {
    "float", "scalar", "tuple", "set", "dict", "array", "bytes", "times", "strings",
    "objects",
}  # fmt: skip
