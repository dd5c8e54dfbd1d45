"""`save` and `load`: estimators in a safe file, without pickle.

Our estimators, and a Pipeline around them, are written as what they consist of:
parameters and fitted attributes. Other estimators inside go through skops, which has a
list of types that it trusts. There is no third way: what neither can hold is an error.
"""

from __future__ import annotations

import io
import os
import sys
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np
import sklearn
from numpy.lib import format as npy
from sklearn.base import BaseEstimator
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import MetadataRequest, get_routing_for_object

from . import files
from .assembly import Memory
from .encoding import ClassTarget, RegressionTarget
from .estimators import ANNClassifier, ANNRegressor
from .frames import Coding
from .intervals import ConformalRegressor
from .model import Ensemble, Model
from .states import KINDS, Kind, Kinds, Pieces, apart, is_of, together
from .values import Blob, FileError

SKOPS_TYPES = [
    f"{cls.__module__}.{cls.__name__}"
    for cls in (ANNClassifier, ANNRegressor, ConformalRegressor)
]
"""Types of this package that ``skops.io.load(file, trusted=SKOPS_TYPES)`` needs."""
# Not on skops' list, but in every SimpleImputer; skops takes it from an empty array.
_HARMLESS = ["numpy.dtype"]

# What belongs to a running fit, or to whoever watches it.
_PASSING = ("_skl_callbacks", "_callback_fit_ctx", "_parent_callback_ctx")


def save(estimator: Any, path: str | os.PathLike[str]) -> None:
    """Save an estimator to one file that is safe to load.

    The file is in the format of safetensors, with parameters and fitted attributes as
    JSON in its header and a hash of it all. It takes the place of an older one only
    when it is complete and on the disk.

    Parameters
    ----------
    estimator : estimator
        `ANNRegressor`, `ANNClassifier` or `ConformalRegressor`, fitted or not, or any
        scikit-learn estimator: a Pipeline, or the `best_estimator_` of a search. What
        is not of this package, and no Pipeline, goes through skops.
    path : str or path

    Raises
    ------
    TypeError
        When something in it cannot be saved, such as a function given as a parameter;
        the message says where it is.
    ImportError
        When skops is needed and not installed.
    OSError
        When the file cannot be written. An older one is left as it was.

    See Also
    --------
    load : The way back.
    to_onnx : For prediction without Python.

    Notes
    -----
    Kept are all parameters, all fitted attributes, and what ``warm_start=True`` or
    `partial_fit` go on from, bit for bit. Not kept are callbacks. No rows of the
    training data are in the file (levels of categories and quantiles of embedded
    columns are part of a network), except where an estimator of another package holds
    some; `ConformalRegressor` holds its calibration scores and row numbers.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from sklearn_ann import ANNRegressor, load, save
    >>> model = ANNRegressor(()).fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "line.ann")
    ...     save(model, path)
    ...     load(path).predict([[10.0]])
    array([21.])
    """
    if not isinstance(estimator, BaseEstimator):
        raise TypeError(
            f"save expects a scikit-learn estimator, got a {type(estimator).__name__}."
        )
    tree = apart(estimator, ESTIMATOR_KINDS, _by_skops)
    files.write(path, "estimator", tree, _writer())


def load(path: str | os.PathLike[str], trusted: Sequence[str] = ()) -> Any:
    """Load an estimator that `save` wrote.

    Nothing in the file is executed. Types of other packages are those that skops
    trusts by default, which is most of scikit-learn, and those named here.

    Parameters
    ----------
    path : str or path
    trusted : sequence of str, default=()
        Full names of further types, such as ``"my_package.MyTransformer"``: their own
        code runs when they are rebuilt, so name only what you know.

    Returns
    -------
    estimator
        As it was saved; fitted on a GPU, it predicts without one.

    Raises
    ------
    FileError
        When the file is damaged, no such file, of a newer version, or holds types that
        are not trusted. It is a ValueError.
    ImportError
        When the file holds estimators of other packages and skops is not installed.
    OSError
        When there is no file, or it may not be read.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from sklearn_ann import ANNRegressor, load, save
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "model.ann")
    ...     save(ANNRegressor((8, 4)), path)
    ...     load(path)
    ANNRegressor(hidden_layer_sizes=(8, 4))
    """
    tree = files.read(path, "estimator")
    kinds = {**ESTIMATOR_KINDS, "skops": Kind(object, vars, _skops_loader(trusted))}
    with files.explained(path):
        found = together(tree, kinds)
        if not isinstance(found, BaseEstimator):
            raise FileError("it does not hold an estimator.")
        return found


def _writer() -> str:
    version = sys.modules[__package__].__version__
    return f"sklearn_ann {version}, scikit-learn {sklearn.__version__}"


# ---------------------------------------------------------------------- estimators


def _of_estimator(cls: type) -> Kind:
    """Take an estimator to parameters and attributes; make it of those alone."""

    def take(estimator: Any) -> Pieces:
        names = estimator.get_params(deep=False).keys()
        # __dict__, not __getstate__: pieces are taken from there by the caller.
        held = {k: v for k, v in vars(estimator).items() if k not in _PASSING}
        requests = held.pop("_metadata_request", None)
        return {
            "parameters": {k: v for k, v in held.items() if k in names},
            "attributes": {k: v for k, v in held.items() if k not in names},
            "requests": _requested(estimator) if requests is not None else None,
        }

    def make(pieces: Pieces) -> Any:
        parameters, attributes = pieces["parameters"], pieces["attributes"]
        names = cls._get_param_names()  # type: ignore[attr-defined]
        unknown = [name for name in parameters if name not in names]
        unknown += [name for name in attributes if not _may_be_attribute(cls, name)]
        if unknown or pieces.keys() != {"parameters", "attributes", "requests"}:
            raise FileError(
                f"a {cls.__name__} in it has unknown parameters or attributes "
                f"{unknown}. It may be of a newer version."
            )
        for name, hint in _HINTS.items():
            if not is_of(attributes.get(name), hint | None):
                raise FileError(f"{cls.__name__}.{name} in it is not a {hint}.")
        made = cls(**parameters)  # those newer than the file have their defaults
        vars(made).update(attributes)
        if pieces["requests"] is not None:
            made._metadata_request = _rebuilt(cls.__name__, pieces["requests"])
        return made

    return Kind(cls, take, make)


_HINTS = {
    "_model": Model | Ensemble,
    "_target": RegressionTarget | ClassTarget,
    "_memory": Memory,
    "_coding": Coding,
}


def _may_be_attribute(cls: type, name: Any) -> bool:
    """Whether a fitted attribute may have this name: it must hide none of the class."""
    if not isinstance(name, str) or not name.isidentifier() or name.startswith("__"):
        return False
    return (name.endswith("_") or name.startswith("_")) and not hasattr(cls, name)


def _requested(estimator: Any) -> dict[str, dict]:
    """Metadata that an estimator asks for by `set_fit_request` and the like."""
    routing = get_routing_for_object(estimator)
    methods = (name for name in vars(routing) if name != "owner")
    asked = {name: dict(getattr(routing, name).requests) for name in methods}
    return {name: requests for name, requests in asked.items() if requests}


def _rebuilt(owner: str, requests: dict[str, dict]) -> MetadataRequest:
    routing = MetadataRequest(owner=owner)
    for method, asked in requests.items():
        for parameter, alias in asked.items():
            getattr(routing, method).add_request(param=parameter, alias=alias)
    return routing


ESTIMATOR_KINDS: Kinds = KINDS | {
    cls.__name__: _of_estimator(cls)
    for cls in (
        ANNClassifier,
        ANNRegressor,
        ConformalRegressor,
        FrozenEstimator,
        Pipeline,
    )
}


# --------------------------------------------------------------------------- skops


def _skops() -> Any:
    try:
        import skops.io
        import skops.io.exceptions
    except ImportError as error:
        raise ImportError(
            "Estimators of other packages, such as the scaler of a Pipeline, are saved "
            "by skops, which is not installed. Install it with pip install "
            "'sklearn-ann[files]'."
        ) from error
    return skops.io


def _by_skops(value: Any) -> tuple[str, Pieces] | None:
    if not isinstance(value, BaseEstimator):
        return None
    written = _skops().dumps(value)  # not compressed: no file is larger than it looks
    return "skops", {"bytes": written}


def _skops_loader(trusted: Sequence[str]) -> Any:
    def load_bytes(pieces: Pieces) -> Any:
        blob = pieces["bytes"]
        if not isinstance(blob, Blob):
            raise FileError("it has no bytes where an estimator is expected.")
        skops = _skops()
        try:
            _check_archive(BlobReader(blob))
            opened = io.BufferedReader(BlobReader(blob))
            return skops.load(opened, trusted=[*SKOPS_TYPES, *_HARMLESS, *trusted])
        except skops.exceptions.UntrustedTypesFoundException as error:
            raise FileError(
                f"{error} Where you know what they are and who wrote the file, name "
                "them in load(path, trusted=[...])."
            ) from error
        except Exception as error:  # of whatever kind: the file is what is wrong
            raise FileError(f"skops refuses an estimator in it: {error}") from error

    return load_bytes


class BlobReader(io.RawIOBase):
    """Bytes of a file as a file of their own, none of them held in memory."""

    def __init__(self, blob: Blob) -> None:
        self._blob, self._at = blob, 0

    def readable(self) -> bool:
        """Say yes."""
        return True

    def seekable(self) -> bool:
        """Say yes."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to an offset from the start, from here, or from the end."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._blob.size}
        self._at = start[whence] + offset
        if self._at < 0:
            raise ValueError(f"{self._at} is before the start")
        return self._at

    def tell(self) -> int:
        """Return the current offset."""
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer, or its first part: who wants more asks again."""
        stop = min(self._at + min(len(buffer), files.PIECE), self._blob.size)
        if stop <= self._at:
            return 0
        piece = self._blob.read(self._at, stop)
        buffer[: len(piece)] = piece
        self._at = stop
        return len(piece)


def _check_archive(file: Any) -> None:
    """Refuse an archive that would ask for more memory than its own size.

    skops itself reads members whole and takes the shapes in them at their word.
    """
    size = file.seek(0, io.SEEK_END)
    with zipfile.ZipFile(io.BufferedReader(file)) as archive:
        members = archive.infolist()
        packed = [m.filename for m in members if m.compress_type != zipfile.ZIP_STORED]
        if packed or sum(m.file_size for m in members) > size:
            raise FileError(f"members {packed[:3]} are compressed, or overlap.")
        for member in members:
            with archive.open(member) as opened:
                if member.filename.endswith(".npy"):
                    _check_npy(opened, member.file_size)
                elif member.filename.endswith(".npz"):
                    _check_npz(opened, size)


# Arrays of a sparse matrix are compressed within; its indices may repeat themselves.
MOST_UNPACKED = 50


def _check_npz(file: Any, size: int) -> None:
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if sum(m.file_size for m in members) > MOST_UNPACKED * size:
            raise FileError("a sparse matrix in it is much larger than the file.")
        for member in members:
            with archive.open(member) as opened:
                _check_npy(opened, member.file_size)


def _check_npy(file: Any, size: int) -> None:
    version = npy.read_magic(file)
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    shape, _, dtype = read[version](file)
    wanted = dtype.itemsize * int(np.prod([max(n, 1) for n in shape], dtype=object))
    if dtype.hasobject or wanted > max(size, dtype.itemsize):
        raise FileError(f"an array of shape {shape} and dtype {dtype} is not in it.")
