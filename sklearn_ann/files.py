"""One safe file: plain values as JSON and arrays, in the format of safetensors.

A file is a header, which safetensors reads, and the numbers of the arrays. In the
header's metadata stand the values as JSON and a SHA-256 of all that the file says. It
finds damage, not malice: who writes a file can write its hash. So nothing in a file is
believed. Nothing is imported, called or unpickled; every shape is held against the size
of the file before memory is taken for it; and what is wrong is one error.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from safetensors import SafetensorError, safe_open

from .values import DTYPES, NAMES, Blob, Decoder, Encoder, FileError

FORMAT, VERSION = "sklearn_ann", 1
# Bytes read at a time of what is not wanted in memory as a whole.
PIECE = 2**20

# ------------------------------------------------------------------------- writing


def write(path: str | os.PathLike[str], kind: str, tree: Any, writer: str) -> None:
    """Write a tree of plain values to a file, whole or not at all.

    Parameters
    ----------
    path : str or path
        An older file stays as it was until the new one is complete.
    kind : str
        What the file is, to be named when it is read.
    tree : object
        None, bool, int, float, str, bytes, NumPy arrays and scalars, and lists,
        tuples, sets and dicts of them.
    writer : str
        Program and version, for the reader of a file that cannot be read.

    Raises
    ------
    TypeError
        When the tree holds something else; the message says where.
    OSError
        When the file cannot be written: the older one is untouched.
    """
    writing = Encoder()
    content = json.dumps(writing.encode(tree, kind), allow_nan=False)
    # Large items first: every array starts at a multiple of its items' size.
    names = sorted(writing.arrays, key=lambda n: -writing.arrays[n].itemsize)
    arrays = {name: writing.arrays[name] for name in names}
    about = {
        "format": FORMAT,
        "version": str(VERSION),
        "kind": kind,
        "writer": writer,
        "content": content,
    }
    digest = _digest(about)
    for name in sorted(arrays):
        array = arrays[name]
        _hash_entry(digest, name, NAMES[array.dtype.name], array.shape)
        digest.update(_bytes_of(array))
    header = _header({**about, "sha256": digest.hexdigest()}, arrays)
    with _replacing(path) as file:
        file.write(len(header).to_bytes(8, "little"))
        file.write(header)
        for array in arrays.values():
            file.write(_bytes_of(array))


def _bytes_of(array: np.ndarray) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _digest(about: dict[str, str]) -> Any:
    digest = hashlib.sha256()
    digest.update(json.dumps(about, sort_keys=True).encode())
    return digest


def _hash_entry(digest: Any, name: str, dtype: str, shape: Any) -> None:
    digest.update(json.dumps([name, dtype, list(shape)]).encode())


def _header(metadata: dict[str, str], arrays: dict[str, np.ndarray]) -> bytes:
    entries: dict[str, Any] = {"__metadata__": metadata}
    start = 0
    for name, array in arrays.items():
        stop = start + array.nbytes
        entries[name] = {
            "dtype": NAMES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [start, stop],
        }
        start = stop
    header = json.dumps(entries).encode()
    return header + b" " * (-len(header) % 8)


@contextlib.contextmanager
def _replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file beside the one meant, which takes its place once it is complete.

    On the disk first, then renamed, and the name on the disk too: whenever the process
    or the machine stops, the path holds the old file or the new one.
    """
    target = Path(os.path.realpath(path))  # of a link, the file it points to
    aside = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(aside, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, target)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    _sync_directory(target.parent)


def _sync_directory(directory: Path) -> None:
    if os.name != "posix":
        return  # elsewhere a directory cannot be opened
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# ------------------------------------------------------------------------- reading


def read(path: str | os.PathLike[str], kind: str) -> Any:
    """Read a tree of plain values; bytes come as `Blob`.

    Raises
    ------
    FileError
        When the file is not one of ours, of another kind, of a newer version, or
        damaged.
    OSError
        When there is no file at all, or it may not be read.
    """
    open(path, "rb").close()  # says better than safetensors that there is none
    with explained(path):
        opened = safe_open(os.fspath(path), framework="numpy")
        about = _metadata(opened.metadata(), kind)
        expected = about.pop("sha256")
        digest, arrays = _digest(about), {}
        for name in sorted(opened.keys()):
            arrays[name] = _read_array(opened, name, digest)
        if digest.hexdigest() != expected:
            raise FileError("its contents are not those that its hash is of.")
        return Decoder(arrays).decode(json.loads(about["content"]))


@contextlib.contextmanager
def explained(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn whatever a wrong file leads to into one error that names the file."""
    try:
        yield
    except (
        FileError, SafetensorError, ArithmeticError, AssertionError, AttributeError,
        LookupError, MemoryError, RecursionError, RuntimeError, TypeError, ValueError,
    ) as error:  # fmt: skip
        reason = str(error) or type(error).__name__
        raise FileError(f"{os.fspath(path)!r} cannot be loaded: {reason}") from error


def _metadata(metadata: dict[str, str] | None, kind: str) -> dict[str, str]:
    about = dict(metadata or {})
    if about.get("format") != FORMAT:
        raise FileError("it was not written by sklearn_ann.save or a Checkpoint.")
    needed = {"format", "version", "kind", "writer", "content", "sha256"}
    if about.keys() != needed:
        raise FileError(f"its header has {sorted(about)}, not {sorted(needed)}.")
    if about["version"] != str(VERSION):
        raise FileError(
            f"it is of version {about['version']!r} of the format, written by "
            f"{about['writer']}; this is version {VERSION}. Update sklearn_ann."
        )
    if about["kind"] != kind:
        raise FileError(f"it is a file of kind {about['kind']!r}, not {kind!r}.")
    return about


def _read_array(opened: Any, name: str, digest: Any) -> np.ndarray | Blob:
    """Read and hash one array, whose shape safetensors has held against the file."""
    part = opened.get_slice(name)
    dtype, shape = part.get_dtype(), part.get_shape()
    if dtype not in DTYPES:
        raise FileError(f"{name!r} is of dtype {dtype}.")
    _hash_entry(digest, name, dtype, shape)
    if name.startswith("b"):
        return _hashed_blob(opened, name, shape, digest)
    array = opened.get_tensor(name)
    digest.update(_bytes_of(array))
    return array


def _hashed_blob(opened: Any, name: str, shape: list[int], digest: Any) -> Blob:
    (size,) = shape
    if opened.get_slice(name).get_dtype() != "U8":
        raise FileError(f"{name!r} are no bytes.")

    def piece(start: int, stop: int) -> bytes:
        return opened.get_slice(name)[start:stop].tobytes()

    for start in range(0, size, PIECE):
        digest.update(piece(start, min(start + PIECE, size)))
    return Blob(size, piece)
