"""The networks in whatever a picture is asked of: Pipelines, searches, ensembles."""

from __future__ import annotations

from typing import Any

from ..estimators import ANNClassifier, ANNRegressor
from ..intervals import ConformalRegressor
from ..reading import opened

# What only a fit that has ended leaves behind.
RECORD = "_gradient_norms"


def network_in(estimator: Any) -> tuple[Any, tuple[Any, ...]]:
    """Return the innermost estimator, one of ours, and the transformers before it.

    Raises
    ------
    TypeError
        When it is none of ours.
    sklearn.exceptions.NotFittedError
        When it is not fitted.
    """
    if not hasattr(estimator, "fit"):
        raise TypeError(f"Expected a fitted estimator; got {estimator!r}.")
    core, transformers, _ = opened(estimator)
    if isinstance(core, ConformalRegressor):
        core, inner, _ = opened(core.estimator_)
        transformers += inner
    if not isinstance(core, ANNRegressor | ANNClassifier):
        raise TypeError(
            "Expected an ANNRegressor or ANNClassifier, alone or in a Pipeline or "
            f"search; got {type(core).__name__}, which is no network."
        )
    return core, transformers


def members_of(core: Any) -> tuple[Any, ...]:
    """Return the members of an ensemble, or the one network there is."""
    return tuple(getattr(core, "estimators_", (core,)))


def one_of(core: Any, member: int) -> Any:
    """Return one member of an ensemble; a single network is its own first.

    Raises
    ------
    ValueError
        When there is no such member.
    """
    members = members_of(core)
    if not isinstance(member, int) or not 0 <= member < len(members):
        raise ValueError(
            f"member must be a whole number from 0 to {len(members) - 1}, as there "
            f"are {len(members)} networks; got {member!r}."
        )
    return members[member]


def check_recorded(networks: tuple[Any, ...]) -> None:
    """Make sure that training has been recorded to its end.

    Raises
    ------
    ValueError
        When a fit is still going on: callbacks see such estimators, which can predict
        but know nothing of their training yet.
    """
    if not all(RECORD in vars(network) for network in networks):
        raise ValueError(
            "This estimator is in the middle of its fit, as callbacks see it: it can "
            "predict, but its training is recorded only once fit has ended. Draw it "
            "after fit."
        )
