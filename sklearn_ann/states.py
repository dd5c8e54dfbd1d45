"""Fitted state as plain values, and back: a registry of the types that may be in it.

A fitted estimator is a tree of dataclasses, arrays, random generators and plain values.
`apart` takes it to pieces that any format can write, `together` rebuilds it from
pieces that nobody vouches for: only types of the registry, only their own fields, each
of the type that the dataclass declares. Pickles, skops and files of `save` all hold
these pieces.

To add a dataclass to the fitted state, add it to ``DATACLASSES``.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from itertools import pairwise
from typing import Any, Literal, Union

import numpy as np
import torch

from .assembly import Memory
from .design import Design, Levels
from .encoding import ClassTarget, RegressionTarget, Scaling
from .engine.architecture import Architecture, Parameters
from .engine.embeddings import Embedding
from .engine.fit import FitState, Outcome, Record, Status
from .engine.layers import ACTIVATIONS
from .engine.lbfgs import LBFGS
from .engine.losses import LOSSES, Loss, make_loss
from .frames import Coding
from .model import Ensemble, Model, Units
from .values import FileError

MARK = "__kind__"

Pieces = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """How objects of a type are taken to pieces, and put together again.

    Attributes
    ----------
    type : type
    take : callable (object) -> dict of str to object
        Its pieces.
    make : callable (pieces) -> object
        Raises FileError, or whatever wrong pieces lead to.
    """

    type: type
    take: Callable[[Any], Pieces]
    make: Callable[[Pieces], Any]


Kinds = dict[str, Kind]
Other = Callable[[Any], tuple[str, Pieces] | None]
"""What else may be in a tree: object -> name of its kind and its pieces, or None."""


def _nothing(value: Any) -> None:
    return None


def apart(value: Any, kinds: Kinds | None = None, other: Other = _nothing) -> Any:
    """Replace objects of the registry by marked dicts of their pieces.

    What is of no registered type stays as it is: pickle can hold it, a file refuses.
    """
    kinds = KINDS if kinds is None else kinds
    by_type = {kind.type: name for name, kind in kinds.items()}

    def walk(value: Any) -> Any:
        if type(value) in (list, tuple):
            return type(value)(walk(item) for item in value)
        if type(value) is dict:
            if MARK in value:
                raise ValueError(f"A dict with the key {MARK!r} cannot be saved.")
            walked = {key: walk(item) for key, item in value.items()}
            if all(isinstance(key, str) for key in walked):
                return walked
            # skops takes keys through JSON, where False comes back as True.
            return {MARK: "dict", **kinds["dict"].take(walked)}
        name = by_type.get(type(value))
        found = (name, kinds[name].take(value)) if name else other(value)
        return value if found is None else {MARK: found[0], **walk(found[1])}

    return walk(value)


def together(value: Any, kinds: Kinds | None = None) -> Any:
    """Rebuild what `apart` took to pieces.

    Raises
    ------
    FileError
        When a kind is not registered, or its pieces are not those of its type.
    """
    kinds = KINDS if kinds is None else kinds

    def walk(value: Any) -> Any:
        if type(value) in (list, tuple):
            return type(value)(walk(item) for item in value)
        if type(value) is not dict:
            return value
        pieces = {key: walk(item) for key, item in value.items() if key != MARK}
        if MARK not in value:
            return pieces
        name = value[MARK]
        if not isinstance(name, str) or name not in kinds:
            raise FileError(
                f"it holds a {name!r}, which this version of sklearn_ann does not "
                "know. Update sklearn_ann."
            )
        return kinds[name].make(pieces)

    return walk(value)


# --------------------------------------------------------------------- dataclasses


def _of_dataclass(cls: Any, check: Callable[[Any], None] = _nothing) -> Kind:
    """Take a dataclass to its fields; make it of fields of the declared types."""

    def take(value: Any) -> Pieces:
        return {f.name: getattr(value, f.name) for f in fields(cls) if f.init}

    def make(pieces: Pieces) -> Any:
        made = cls(**_checked_fields(cls, pieces))
        check(made)
        return made

    return Kind(cls, take, make)


def _checked_fields(cls: Any, pieces: Pieces) -> Pieces:
    """Return the pieces; a field with a default may be missing, as in older files."""
    hints, known = _hints(cls), {f.name: f for f in fields(cls) if f.init}
    unknown = pieces.keys() - known.keys()
    missing = [
        name
        for name, f in known.items()
        if name not in pieces and f.default is MISSING and f.default_factory is MISSING
    ]
    if unknown or missing:
        raise FileError(
            f"a {cls.__name__} in it has unknown fields {sorted(unknown)} and lacks "
            f"{missing}. It may be of a newer version of sklearn_ann."
        )
    for name, value in pieces.items():
        if not is_of(value, hints[name]):
            raise FileError(
                f"{cls.__name__}.{name} in it is a {type(value).__name__}, expected "
                f"{known[name].type}."
            )
    return pieces


@cache
def _hints(cls: Any) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def is_of(value: Any, hint: Any) -> bool:
    """Whether a value is of a declared type, its items included.

    Examples
    --------
    >>> is_of((1, 2), tuple[int, ...]), is_of((1, "2"), tuple[int, ...])
    (True, False)
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return True
    if origin in (Union, types.UnionType):
        return any(is_of(value, one) for one in arguments)
    if origin is Literal:
        return value in arguments
    if origin is tuple:
        return isinstance(value, tuple) and _are_of(value, arguments)
    if origin is list:
        return isinstance(value, list) and all(is_of(v, arguments[0]) for v in value)
    if origin is dict:
        of_key, of_value = arguments
        return isinstance(value, dict) and all(
            is_of(k, of_key) and is_of(v, of_value) for k, v in value.items()
        )
    if hint in (int, float):  # whole numbers are floats too, and truths are neither
        wanted = (int, float) if hint is float else int
        return isinstance(value, wanted) and not isinstance(value, bool)
    return isinstance(value, types.NoneType if hint is None else hint)


def _are_of(values: tuple, hints: tuple) -> bool:
    if hints[-1] is Ellipsis:
        return all(is_of(v, hints[0]) for v in values)
    pairs = zip(values, hints, strict=False)
    return len(values) == len(hints) and all(is_of(v, h) for v, h in pairs)


def _check_architecture(architecture: Architecture) -> None:
    unknown = [name for name in architecture.activations if name not in ACTIVATIONS]
    if unknown:
        raise FileError(f"the activation {unknown[0]!r} in it is not known.")
    sizes = architecture.n_inputs, *architecture.sizes[1:]
    if min(sizes) < 1:
        raise FileError(f"a layer in it has no units: {sizes}.")


def _check_levels(levels: Levels) -> None:
    codes = levels.codes
    whole = codes.dtype.kind == "i" and codes.ndim == 1 and len(codes) > 0
    if not whole or codes.min() < 0 or levels.column < 0:
        raise FileError("the levels of a column in it are not codes.")


def _check_design(design: Design) -> None:
    p, scaling = len(design.numbers), design.scaling
    places = design.numbers, design.gaps
    units = (
        [design.fill] if scaling is None else [design.fill, scaling.mean, scaling.scale]
    )
    if any(a.dtype.kind != "i" or a.ndim != 1 or (a < 0).any() for a in places):
        raise FileError("the columns of a design in it are not whole numbers.")
    if any(unit.shape != (p,) for unit in units) or (design.gaps >= p).any():
        raise FileError(f"a design in it has units of other columns than its {p}.")


def _check_model(model: Model) -> None:
    """Compare the parameters' shapes with the architecture's; no memory is taken."""
    if model.parameters is None:
        return
    architecture, design = model.architecture, model.design
    expected, came = _expected_shapes(architecture), shapes(model.parameters)
    if came != expected:
        raise FileError(f"parameters in it have shapes {came}, expected {expected}.")
    if design is not None and design.n_inputs != architecture.n_inputs:
        raise FileError(
            f"a design in it makes {design.n_inputs} columns, where its network has "
            f"{architecture.n_inputs} inputs."
        )


def _expected_shapes(architecture: Architecture) -> Any:
    """Return what `shapes` finds in an architecture's parameters."""
    pairs = list(pairwise(architecture.sizes))
    skip = (architecture.n_plain, architecture.n_outputs)
    return {
        "weights": pairs,
        "biases": [(fan_out,) for _, fan_out in pairs],
        "skip": skip if architecture.linear_skip else None,
        "embeddings": [e.own_shapes for e in architecture.embeddings],
        "n_numbers": [e.n_numbers for e in architecture.embeddings],
    }


def shapes(value: Any) -> Any:
    """Shapes of all arrays in dataclasses, lists and dicts of them."""
    if is_dataclass(value):
        return {f.name: shapes(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, list | tuple):
        return [shapes(item) for item in value]
    if isinstance(value, dict):
        return {key: shapes(item) for key, item in value.items()}
    return value.shape if isinstance(value, np.ndarray) else value


# ------------------------------------------------------- what is no plain dataclass


def _make_loss(pieces: Pieces) -> Loss:
    name, parameters = pieces["name"], dict(pieces["parameters"])
    if name not in LOSSES or tuple(parameters) != LOSSES[name][1]:
        raise FileError(f"the loss {name!r} with {parameters} in it is not known.")
    return make_loss(name, **parameters)


def _make_tensor(pieces: Pieces) -> torch.Tensor:
    return torch.from_numpy(np.array(pieces["numbers"]))  # a copy: writable


def _make_shuffler(pieces: Pieces) -> torch.Generator:
    generator = torch.Generator()
    generator.set_state(torch.from_numpy(np.array(pieces["state"])))
    return generator


def _make_dropper(pieces: Pieces) -> np.random.Generator:
    bits = np.random.SFC64(0)  # the only kind that a fit has; it checks its state
    bits.state = pieces["state"]
    return np.random.Generator(bits)


def _make_random_state(pieces: Pieces) -> np.random.RandomState:
    name, key, place, *rest = pieces["state"]
    # NumPy takes any place, and would read from there.
    if name != "MT19937" or np.shape(key) != (624,) or not 0 <= place <= 624:
        raise FileError("the state of a RandomState in it is not one.")
    drawn = np.random.RandomState(0)
    drawn.set_state((name, key, place, *rest))
    return drawn


def _make_coding(pieces: Pieces) -> Coding:
    mask, levels, names = pieces["mask"], pieces["levels"], pieces["names"]
    right = (
        len(pieces) == 3
        and is_of(mask, np.ndarray)
        and mask.dtype == bool
        and mask.ndim == 1
        and is_of(levels, list[np.ndarray])
        and all(each.dtype == object and each.ndim == 1 for each in levels)
        and len(levels) == mask.sum()
        and is_of(names, tuple[str, ...] | None)
        and (names is None or len(names) == len(mask))
    )
    if not right:
        raise FileError("the categories in it do not belong to its columns.")
    return Coding.of_levels(mask, levels, names)


KINDS: Kinds = {
    "dict": Kind(
        dict,
        lambda d: {"keys": [*d], "values": [*d.values()]},
        lambda pieces: dict(zip(pieces["keys"], pieces["values"], strict=True)),
    ),
    "Loss": Kind(
        Loss,
        lambda loss: {"name": loss.name, "parameters": loss.parameters},
        _make_loss,
    ),
    "Status": Kind(Status, lambda s: {"name": s.name}, lambda p: Status[p["name"]]),
    "Coding": Kind(
        Coding,
        lambda c: {"mask": c.is_categorical, "levels": c.levels, "names": c.names},
        _make_coding,
    ),
    "LBFGS": Kind(LBFGS, LBFGS.pieces, lambda pieces: LBFGS.of_pieces(**pieces)),
    "Tensor": Kind(torch.Tensor, lambda t: {"numbers": t.cpu().numpy()}, _make_tensor),
    "Generator": Kind(
        torch.Generator, lambda g: {"state": g.get_state().numpy()}, _make_shuffler
    ),
    "numpy.Generator": Kind(
        np.random.Generator,
        lambda g: {"state": g.bit_generator.state},
        _make_dropper,
    ),
    "RandomState": Kind(
        np.random.RandomState, lambda r: {"state": r.get_state()}, _make_random_state
    ),
    "device": Kind(
        torch.device, lambda d: {"name": str(d)}, lambda p: torch.device(p["name"])
    ),
}
CHECKS: dict[type, Callable[[Any], None]] = {
    Architecture: _check_architecture,
    Design: _check_design,
    Levels: _check_levels,
    Model: _check_model,
}
DATACLASSES = (
    Architecture,
    ClassTarget,
    Design,
    Embedding,
    Ensemble,
    FitState,
    Levels,
    Memory,
    Model,
    Outcome,
    Parameters,
    Record,
    RegressionTarget,
    Scaling,
    Units,
)
KINDS |= {
    cls.__name__: _of_dataclass(cls, CHECKS.get(cls, _nothing)) for cls in DATACLASSES
}
