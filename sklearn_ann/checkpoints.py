"""`Checkpoint`: a fit that is killed goes on where it was, with the same result.

A callback in scikit-learn's sense. Every so often it writes down, in one file, all that
the fit's networks go on from: parameters, the solver's state, random generators and
records. The next fit to the same data with the same parameters finds it and goes on.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from . import files
from .engine.fit import Fit, FitState, Outcome, Standing
from .fitted import FittedNetworkMixin
from .states import apart, together
from .values import FileError

# They do not decide what is fitted, or are known by the numbers that they drew.
_NO_MATTER = ("random_state", "verbose")


class Checkpoint:
    """Write down a running fit, and go on with it after a kill.

    Give it to ``set_callbacks`` of an `ANNRegressor` or `ANNClassifier`. While `fit`
    runs, its state is written to a file every so often. If the process is killed, the
    machine stops or the fit raises, run the same program again: `fit` finds the file
    and goes on, and ends with the same numbers, bit for bit, as if nothing had
    happened. Ensembles and restarts too, for every solver. A fit that ends removes the
    file.

    Parameters
    ----------
    path : str or path
        Where to write. One path serves one fit at a time: in a search, whose fits have
        different parameters, give it to none of them.
    every_n_epochs : int, default=None
        Write after so many epochs. None: by time alone.
    every_minutes : float, default=10.0
        Write after the epoch that ends so many minutes after the last file. None: by
        epochs alone.
    remove : bool, default=True
        Whether a fit that ends removes the file. If not, the same fit is had again from
        the file at once, which helps where the program may be killed after the fit.

    Raises
    ------
    ValueError
        From `fit`: when the file at `path` belongs to a fit with other parameters or
        data, or ``random_state=None`` would draw other numbers after a kill.
    FileError
        From `fit`: when the file is damaged.

    Notes
    -----
    Bit for bit means on the same machine, with the same versions of PyTorch and NumPy
    and as many threads. A file is first written aside, so that a kill while it is
    written leaves the one before. The state of an Adam fit has three numbers for each
    parameter, that of L-BFGS twenty-three.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from sklearn.datasets import make_regression
    >>> from sklearn_ann import ANNRegressor, Checkpoint
    >>> X, y = make_regression(200, 5, random_state=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "fit.checkpoint")
    ...     model = ANNRegressor(8, random_state=0, tol=1e-2)
    ...     model = model.set_callbacks(Checkpoint(path, every_n_epochs=20)).fit(X, y)
    ...     path.exists()  # the fit has ended
    False
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        every_n_epochs: int | None = None,
        every_minutes: float | None = 10.0,
        remove: bool = True,
    ) -> None:
        if every_n_epochs is None and every_minutes is None:
            raise ValueError("Give every_n_epochs, every_minutes, or both.")
        for name, value in (("epochs", every_n_epochs), ("minutes", every_minutes)):
            if value is not None and not value > 0:
                raise ValueError(f"Expected a number of {name} above 0, got {value!r}.")
        self.path = Path(path)
        self.every_n_epochs, self.every_minutes = every_n_epochs, every_minutes
        self.remove = remove
        self._busy = False

    def setup(self, estimator: Any, context: Any) -> None:
        """Refuse what is no network, and a second fit at the same time."""
        if not isinstance(estimator, FittedNetworkMixin):
            raise TypeError(
                "A Checkpoint belongs to an ANNRegressor or ANNClassifier; got a "
                f"{type(estimator).__name__}. Call set_callbacks of the network in it."
            )
        if self._busy:
            raise ValueError(
                f"The Checkpoint at {str(self.path)!r} already serves a fit that is "
                "running. Give every fit a path of its own."
            )
        self._busy = True

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        """Do nothing: networks are kept at the ends of epochs."""

    def on_fit_task_end(self, estimator: Any, context: Any) -> None:
        """Remove the file once the whole fit has ended."""
        if context.task_name == "fit" and self.remove:
            self.path.unlink(missing_ok=True)

    def teardown(self, estimator: Any, context: Any) -> None:
        """Be ready for another fit."""
        self._busy = False

    def keep(self, estimator: Any, fits: list[Fit]) -> None:
        """Let fits go on from the file, if there is one, and be written to it."""
        if estimator.random_state is None:
            raise ValueError(
                "A Checkpoint needs a random_state: with None, other numbers would be "
                "drawn after a kill. Use for example random_state=0."
            )
        keeping = _Keeping(self, _identity(estimator, fits), fits)
        if self.path.exists():
            keeping.resume()
        for fit in fits:
            fit.keeper = keeping


class _Keeping:
    """One fit's checkpoints."""

    def __init__(
        self, checkpoint: Checkpoint, identity: dict[str, Any], fits: list[Fit]
    ) -> None:
        self.checkpoint, self.identity, self.fits = checkpoint, identity, fits
        self.places = {id(fit): i for i, fit in enumerate(fits)}
        self.known: list[FitState | Outcome | None] = [None] * len(fits)
        self.epochs, self.written = 0, time.monotonic()
        self.lock = threading.Lock()  # stacks of one fit may be in several threads

    def __call__(self, standing: Any, over: bool) -> None:
        """Take note of an epoch; write if it is time to."""
        with self.lock:
            self.epochs += 1
            if not (over or self.is_due()):
                return
            self._note(standing())
            if self.is_due() or not self.checkpoint.remove:
                self.write()

    def is_due(self) -> bool:
        """Whether enough epochs or minutes have gone by."""
        n, minutes = self.checkpoint.every_n_epochs, self.checkpoint.every_minutes
        by_time = minutes is not None and (
            time.monotonic() - self.written >= 60 * minutes
        )
        return by_time or (n is not None and self.epochs >= n)

    def _note(self, standing: Standing) -> None:
        for fit, found in standing:
            self.known[self.places[id(fit)]] = found

    def write(self) -> None:
        """Write down what is known."""
        tree = {**self.identity, "fits": apart(self.known)}
        files.write(self.checkpoint.path, "checkpoint", tree, "sklearn_ann.Checkpoint")
        self.epochs, self.written = 0, time.monotonic()

    def resume(self) -> None:
        """Let the fits go on from the file.

        Raises
        ------
        ValueError
            When it is that of another fit.
        """
        path = self.checkpoint.path
        tree = files.read(path, "checkpoint")
        with files.explained(path):
            found = together(tree["fits"])
            differences = _differences(tree, self.identity)
        if differences:
            raise ValueError(
                f"The checkpoint {str(path)!r} belongs to another fit: {differences}. "
                "Fit what it belongs to, or remove the file, or choose another path."
            )
        with files.explained(path):
            _check_standing(found, self.fits)
        self.known = found
        for fit, known in zip(self.fits, found, strict=True):
            if isinstance(known, Outcome):
                fit.outcome = known
            elif known is not None:
                fit.state = known


def _check_standing(found: Any, fits: list[Fit]) -> None:
    if not isinstance(found, list) or len(found) != len(fits):
        raise FileError(f"it does not hold the state of {len(fits)} networks.")
    for fit, known in zip(fits, found, strict=True):
        known_shape = None if known is None else np.shape(getattr(known, "row", 0.0))
        if known_shape not in (None, fit.start.shape):
            raise FileError(f"a network in it has parameters of shape {known_shape}.")


def _differences(tree: dict[str, Any], identity: dict[str, Any]) -> str:
    """Say in what the fit of a file differs from another, or nothing."""
    before, now = tree["parameters"], identity["parameters"]
    names = sorted(before.keys() | now.keys())
    different = [
        f"{name} was {before.get(name)} and is {now.get(name)}"
        for name in names
        if before.get(name) != now.get(name)
    ]
    if not different and tree["data"] != identity["data"]:
        different = ["the data, weights, validation rows or random_state differ"]
    return "; ".join(different)


def _identity(estimator: Any, fits: list[Fit]) -> dict[str, Any]:
    """Parameters by name, and a hash of all that the fits are given."""
    parameters = {
        name: getattr(value, "__qualname__", None) or repr(value)
        for name, value in estimator.get_params(deep=False).items()
        if name not in _NO_MATTER
    }
    parameters["estimator"] = type(estimator).__name__
    digest, seen = hashlib.sha256(), {}
    for fit in fits:
        given = (fit.x, fit.y, fit.index, fit.weight, fit.start)
        held_out = (fit.x_val, fit.y_val, fit.index_val, fit.weight_val)
        earlier = fit.state.row if fit.state else None
        for part in (*given, *held_out, earlier):
            if id(part) not in seen:  # members share their tables
                seen[id(part)] = _digest(part)
            digest.update(seen[id(part)])
        digest.update(repr((fit.seed, fit.settings)).encode())
    return {"parameters": parameters, "data": digest.hexdigest()}


def _digest(part: Any) -> bytes:
    """Hash of an array, a tensor, a dataclass of them, or anything plain."""
    digest = hashlib.sha256()
    if is_dataclass(part):
        for f in fields(part):
            digest.update(_digest(getattr(part, f.name)))
    elif isinstance(part, torch.Tensor | np.ndarray):
        array = np.ascontiguousarray(np.asarray(part))
        digest.update(repr((array.dtype.str, array.shape)).encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    else:
        digest.update(repr(part).encode())
    return digest.digest()
