"""A fitted network as a textbook draws it: units by layer, and weights between them.

What is drawn is found out here; `network` draws it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..model import Model, unfold


@dataclass(frozen=True, slots=True, eq=False)
class Diagram:
    """Units by layer and the weights between them.

    Attributes
    ----------
    names : tuple of tuple of str
        Of the units of each layer: inputs, hidden layers, outputs.
    weights : tuple of ndarray of shape (units of a layer, units of the next)
    skip : ndarray of shape (inputs, outputs) or None
        Weights of the linear skip.
    counts : ndarray of int of shape (inputs,)
        How many numbers each input enters the first layer as. With more than one, its
        weights are root mean squares over them, without a sign.
    activations : tuple of str
        One for each hidden layer.
    """

    names: tuple[tuple[str, ...], ...]
    weights: tuple[np.ndarray, ...]
    skip: np.ndarray | None
    counts: np.ndarray
    activations: tuple[str, ...]


def diagram_of(network: Any, names: list[str] | None = None) -> Diagram:
    """Read a fitted network, whose inputs are called by `names`."""
    model: Model = network._model
    parameters = model.parameters
    assert parameters is not None, "not fitted"
    # As trained: of standardised columns, so that weights can be compared.
    trained = unfold(parameters, *model.folded)
    n_inputs = network.n_features_in_
    owners = _owners(model)
    weights = list(trained.weights)
    weights[0] = _by_owner(weights[0], owners, n_inputs)
    skip = trained.skip
    if skip is not None:
        plain = owners[: model.architecture.n_plain]
        skip = _by_owner(skip, plain, n_inputs)
    hidden = model.architecture.hidden
    units = tuple(tuple(str(i + 1) for i in range(count)) for count in hidden)
    inputs = names if names is not None else _input_names(network)
    return Diagram(
        (tuple(inputs), *units, tuple(_output_names(network))),
        tuple(weights),
        skip,
        np.bincount(owners, minlength=n_inputs),
        model.architecture.activations,
    )


def _owners(model: Model) -> np.ndarray:
    """Raw column that each number which enters the first layer was made of."""
    architecture, design = model.architecture, model.design
    raw = np.arange(architecture.n_inputs)
    if design is not None:
        one_hot = [np.full(own.count, own.column) for own in design.one_hot]
        lookups = [own.column for own in design.lookups]
        numbers = design.numbers
        raw = np.concatenate([numbers, numbers[design.gaps], *one_hot, lookups])
    embedded = [
        np.repeat(raw[list(e.columns)], e.width) for e in architecture.embeddings
    ]
    return np.concatenate([raw[list(architecture.plain)], *embedded]).astype(int)


def _by_owner(weights: np.ndarray, owners: np.ndarray, n_inputs: int) -> np.ndarray:
    """Weights by raw column, (n_inputs, h): as they are, or root mean squares."""
    found = np.zeros((n_inputs, weights.shape[1]))
    for j in range(n_inputs):
        own = weights[owners == j]
        if len(own):
            found[j] = own[0] if len(own) == 1 else np.sqrt(np.mean(own**2, axis=0))
    return found


def _input_names(network: Any) -> list[str]:
    unnamed = [f"x{j}" for j in range(network.n_features_in_)]
    return [str(name) for name in getattr(network, "feature_names_in_", unnamed)]


def _output_names(network: Any) -> list[str]:
    """Names of the raw outputs: classes, quantiles, or y."""
    loss, m = network._model.loss, network._model.architecture.n_outputs
    classes = getattr(network, "classes_", None)
    if classes is not None:
        return [str(classes[-1])] if m == 1 else [str(label) for label in classes]
    if m == 1:
        return ["y"]
    if loss.name == "quantile" and network.n_outputs_ == 1:
        return [f"quantile {level:g}" for level in np.atleast_1d(network.quantile)]
    return [f"y{j}" for j in range(m)]
