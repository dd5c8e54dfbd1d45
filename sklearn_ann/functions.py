"""Predictions as functions of inputs and parameters, which can be differentiated.

Letters: b rows, d inputs of the network, m outputs, P parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.base import is_classifier
from torch import Tensor

from .columns import STEP, Table
from .derivatives import raw_outputs
from .encoding import Scaling
from .engine.architecture import Architecture
from .engine.losses import Loss
from .model import Ensemble, Model
from .moved_rows import Move, MovedRows, as_tensor
from .nearby import Nearby
from .reading import Reading

# A second difference errs least at this step.
SECOND_STEP = float(np.finfo(np.float64).eps) ** (1 / 4)

_EVERY = slice(None)

# A quantity for some rows, (b, m), as a function of the parameters (P,).
Values = Callable[[Tensor], Tensor]
# Predictions (L, b, m) for L values of a raw column, or for moves of transformed rows.
Moves = Callable[[int | None, Sequence[Any]], Tensor]
TransformedMoves = Callable[[Move], Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class NetworkFunction:
    """Predictions as a differentiable function of transformed rows and parameters.

    Attributes
    ----------
    members : tuple of (Architecture, Tensor (P,))
        One network, or an ensemble's.
    loss : Loss
    inputs, targets : Scaling or None
        Units in which the parameters work.
    target_transformer : transformer or None
    target : {"response", "link"}
    """

    members: tuple[tuple[Architecture, Tensor], ...]
    loss: Loss
    inputs: Scaling | None
    targets: Scaling | None
    target_transformer: Any
    target: str
    by_difference: ClassVar[bool] = False

    @property
    def theta(self) -> Tensor:
        """Parameters of the first member, (P,)."""
        return self.members[0][1]

    def among(self, rows: slice | np.ndarray) -> NetworkFunction:
        """Take some of the rows: the function is the same for all."""
        return self

    @classmethod
    def of(cls, reading: Reading, target: str) -> NetworkFunction:
        """Read off the fitted parameters, which are in the user's units."""
        model = reading.model
        models: Any = model.models if isinstance(model, Ensemble) else (model,)
        first: Model = models[0]
        return cls(
            tuple(
                (each.architecture, torch.from_numpy(each.parameters.pack()))
                for each in models
            ),
            first.loss,
            None if first.folds_inputs else first.inputs,
            None if first.folds_targets else first.targets,
            reading.target_transformer,
            target,
        )

    def bend(self, z: Tensor) -> Bend | None:
        """Expand the target's inverse transformation around the rows."""
        if self.target_transformer is None or self.target == "link":
            return None
        raw = self._own(z, self.members[0][1])
        return bend(self.target_transformer, raw)

    def __call__(self, theta: Tensor, z: Tensor, bent: Bend | None) -> Tensor:
        """Predictions (b, m) of rows (b, d), for parameters of the first member."""
        out = self._own(z, theta)
        return out if bent is None else bent(out)

    def at(self, reading: Reading, rows: Table) -> Values:
        """Predictions for raw rows, as a function of the parameters."""
        z = as_tensor(reading.transform(rows.native))
        bent = self.bend(z)
        return lambda theta: self(theta, z, bent)

    def near(self, rows: MovedRows) -> Moves:
        """Predictions for raw rows that are moved, by the fitted parameters."""
        found = self.around(rows.z)
        return lambda j, values: found(rows(j, values))

    def beside(self, reading: Reading, rows: Table) -> Callable[[Table], Tensor]:
        """Predictions (L, b, m) for tables of L moves of b rows, in any columns."""
        z = as_tensor(reading.transform(rows.native))
        around = self.around(z)

        def found(moved: Table) -> Tensor:
            there = as_tensor(reading.transform(moved.native)).view(-1, *z.shape)
            return around(Move.between(z, there))

        return found

    def around(self, z: Tensor) -> TransformedMoves:
        """Predictions for moves of transformed rows (b, d), by the fitted parameters.

        What the moved columns do not change is computed once.
        """
        members = [Nearby(*member, self._in_units(z)) for member in self.members]

        def found(move: Move) -> Tensor:
            values = self._in_units(move.values, move.columns)
            raws = [each.raw(move.columns, values) for each in members]
            L, b, m = raws[0].shape
            out = self._averaged([raw.view(L * b, m) for raw in raws])
            if self.target_transformer is not None and self.target != "link":
                out = bend(self.target_transformer, out).value
            return out.view(L, b, -1)

        return found

    def _own(self, z: Tensor, theta: Tensor) -> Tensor:
        """Predictions on the scale that the estimator was fitted on."""
        z = self._in_units(z)
        thetas = [theta, *(each for _, each in self.members[1:])]
        return self._averaged(
            [
                raw_outputs(architecture, own, z)
                for (architecture, _), own in zip(self.members, thetas, strict=True)
            ]
        )

    def _in_units(self, z: Tensor, columns: list[int] | slice = _EVERY) -> Tensor:
        """Take transformed rows, or some of their columns, to the parameters' units."""
        if self.inputs is None:
            return z
        mean, scale = self.inputs.mean[columns], self.inputs.scale[columns]
        return (z - torch.from_numpy(mean)) / torch.from_numpy(scale)

    def _averaged(self, raws: Sequence[Tensor]) -> Tensor:
        """Turn the members' raw outputs into predictions."""
        if self.target == "link" and len(raws) == 1:
            return self._on_link(raws[0])
        means = [self.loss.inverse_link(raw) for raw in raws]
        mean = means[0] if len(means) == 1 else torch.stack(means).mean(0)
        if self.target == "link":
            return self._on_link(LINKS.get(self.loss.name, torch.clone)(mean))
        return self._in_target_units(mean)

    def _on_link(self, raw: Tensor) -> Tensor:
        if self.loss.name == "multinomial":
            # A softmax knows its inputs up to a constant.
            return raw - raw.mean(1, keepdim=True)
        return self._in_target_units(raw)

    def _in_target_units(self, out: Tensor) -> Tensor:
        if self.targets is None:
            return out
        scale, mean = map(torch.from_numpy, (self.targets.scale, self.targets.mean))
        return out * scale + mean


LINKS: dict[str, Callable[[Tensor], Tensor]] = {
    "log_loss": torch.logit,
    "multinomial": torch.log,
    "poisson": torch.log,
    "gamma": torch.log,
}


@dataclass(frozen=True, slots=True, eq=False)
class Bend:
    """A function of each output, by its value and two derivatives at some places.

    scikit-learn's inverse transformations cannot be differentiated; their expansion
    around the predictions can, and has the right derivatives there.

    Attributes
    ----------
    place, value, slope, curvature : Tensor of shape (b, m)
    """

    place: Tensor
    value: Tensor
    slope: Tensor
    curvature: Tensor

    def __call__(self, out: Tensor) -> Tensor:
        """Value near the places, (b, m)."""
        away = out - self.place
        return self.value + away * (self.slope + 0.5 * self.curvature * away)


def bend(transformer: Any, place: Tensor) -> Bend:
    """Expand ``transformer.inverse_transform`` around predictions (b, m).

    Raises
    ------
    ValueError
        When it mixes the columns of several targets.
    """
    at = place.detach().numpy()
    unit = np.maximum(np.std(at, axis=0), 1e-3 * np.abs(at).max(axis=0))
    unit = np.where(unit > 0, unit, 1.0)

    def inverse(moved: np.ndarray) -> np.ndarray:
        return np.asarray(transformer.inverse_transform(moved), dtype=np.float64)

    value = inverse(at)
    h, k = STEP * unit, SECOND_STEP * unit
    if at.shape[1] > 1:
        _check_columnwise(inverse, at, value, h)
    slope = (inverse(at + h) - inverse(at - h)) / (2 * h)
    curvature = (inverse(at + k) - 2 * value + inverse(at - k)) / k**2
    return Bend(place.detach(), *map(torch.from_numpy, (value, slope, curvature)))


def _check_columnwise(
    inverse: Callable[[np.ndarray], np.ndarray],
    at: np.ndarray,
    value: np.ndarray,
    h: np.ndarray,
) -> None:
    first = np.zeros_like(h)
    first[0] = h[0]
    if not np.array_equal(inverse(at + first)[:, 1:], value[:, 1:]):
        raise ValueError(
            "The target's transformer mixes its columns, so effects on one of them "
            "are not those on one output. Use target='link' for effects on the "
            "transformed targets."
        )


@dataclass(frozen=True, slots=True, eq=False)
class AnyFunction:
    """Predictions of an estimator that is no network; it has no parameters here.

    Attributes
    ----------
    target : {"response", "link"}
    """

    target: str
    by_difference: ClassVar[bool] = True

    @property
    def theta(self) -> Tensor:
        """No parameters, (0,)."""
        return torch.zeros(0, dtype=torch.float64)

    def among(self, rows: slice | np.ndarray) -> AnyFunction:
        """Take some of the rows: the function is the same for all."""
        return self

    def at(self, reading: Reading, rows: Table) -> Values:
        """Predictions for raw rows, whatever the parameters."""
        found = torch.from_numpy(predictions(reading, rows.native))
        if self.target == "link" and is_classifier(reading.core):
            found = torch.logit(found) if found.shape[1] == 1 else _centred_logs(found)
        return lambda theta: found

    def near(self, rows: MovedRows) -> Moves:
        """Predictions for raw rows that are moved."""
        predicted = self.beside(rows.reading, rows.rows)
        return lambda j, values: torch.cat(
            [predicted(table) for table in rows.tables(j, values)]
        )

    def beside(self, reading: Reading, rows: Table) -> Callable[[Table], Tensor]:
        """Predictions (L, b, m) for tables of L moves of b rows, in any columns."""
        b = len(rows)

        def found(moved: Table) -> Tensor:
            predicted = self.at(reading, moved)(self.theta)
            return predicted.view(len(moved) // b, b, -1)

        return found


def _centred_logs(probability: Tensor) -> Tensor:
    logs = probability.log()
    return logs - logs.mean(1, keepdim=True)


def predictions(reading: Reading, X: Any) -> np.ndarray:
    """Means or probabilities by the estimator itself, (n, m), one for two classes."""
    if is_classifier(reading.core):
        found = reading.estimator.predict_proba(X)
        if isinstance(found, list):
            raise ValueError(
                f"{type(reading.core).__name__} has probabilities of several columns "
                "of labels; fit and ask one column at a time."
            )
        found = np.asarray(found, dtype=np.float64)
        return found[:, 1:] if found.shape[1] == 2 else found
    found = np.asarray(reading.estimator.predict(X), dtype=np.float64)
    return found[:, None] if found.ndim == 1 else found


Function = NetworkFunction | AnyFunction


def function_of(reading: Reading, target: str) -> Function:
    """Return what can be known of a reading's predictions as a function."""
    if reading.kind == "other":
        return AnyFunction(target)
    return NetworkFunction.of(reading, target)


def output_labels(reading: Reading) -> tuple[str, list[Any]]:
    """Name of the axis of outputs, empty where there is one, and its labels."""
    classes = reading.classes
    if classes is not None:
        labels = list(classes) if len(classes) > 2 or _multilabel(reading) else [""]
        return ("class", labels) if len(labels) > 1 else ("", labels)
    if reading.model is None:
        fitted = reading.core
        m = getattr(fitted, "n_outputs_", None) or len(
            np.atleast_1d(getattr(fitted, "intercept_", 0.0))
        )
    else:
        m = reading.model.architecture.n_outputs
    return ("output", list(range(m))) if m > 1 else ("", [""])


def _multilabel(reading: Reading) -> bool:
    return getattr(reading.target, "kind", "") == "multilabel"
