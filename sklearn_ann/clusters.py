"""Few clusters: what to say of them."""

from __future__ import annotations

import warnings

import numpy as np

from .fit_rows import FitRows
from .questions import Invalid

FEW_CLUSTERS = 30


def few_clusters(rows: FitRows) -> tuple[int | None, tuple[str, ...]]:
    """Count the clusters of positive weight, and warn where they are few.

    Returns
    -------
    int or None
        None without clusters.
    tuple of str
        What to note.

    Raises
    ------
    Invalid
        When there is one only.
    """
    if rows.groups is None:
        return None, ()
    G = len(np.unique(rows.groups[rows.weight > 0]))
    if G < 2:
        raise Invalid("there is one group only, and a covariance needs two")
    if G >= FEW_CLUSTERS:
        return G, ()
    text = (
        f"{G} clusters are few: with fewer than {FEW_CLUSTERS}, standard errors "
        "by cluster tend to be too small."
    )
    warnings.warn(text, UserWarning, stacklevel=3)
    return G, (text,)
