"""Linear combinations of estimates, and the labels that go with them.

q estimates, r combinations.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

# What differs by less than this share is equal: variances know half of their digits.
ROUNDING = 1e-7


def combined(
    matrix: np.ndarray, estimate: np.ndarray, vcov: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Linear combinations of estimates, and their covariance; rounding becomes zero."""
    unknown = ~np.isfinite(np.diag(vcov))
    std_error = np.sqrt(np.where(unknown, 0.0, np.maximum(np.diag(vcov), 0.0)))
    found = product(matrix, estimate)
    spread = matrix @ np.where(np.isfinite(vcov), vcov, 0.0) @ matrix.T
    floor = ROUNDING * (np.abs(matrix) @ std_error)
    still = np.diag(spread) <= floor**2
    spread[still] = spread[:, still] = 0.0
    equal = np.abs(found) <= ROUNDING * (
        np.abs(matrix) @ np.nan_to_num(np.abs(estimate))
    )
    lost = (matrix[:, unknown] != 0).any(axis=1)
    spread[lost] = spread[:, lost] = np.nan
    return np.where(still & equal, 0.0, found), spread


def product(matrix: np.ndarray, values: np.ndarray) -> np.ndarray:
    """``values @ matrix.T``, nan only where a nan takes part."""
    known = np.where(np.isnan(values), 0.0, values)
    found = known @ matrix.T
    touched = np.isnan(values).astype(float) @ (matrix != 0).T.astype(float) > 0
    return np.where(touched, np.nan, found)


def shown_labels(labels: pd.DataFrame) -> pd.DataFrame:
    """Labels without the columns that say nothing."""
    said = [c for c in labels.columns if not (labels[c].astype(str) == "").all()]
    return labels[said].reset_index(drop=True)


def names_of(labels: pd.DataFrame) -> list[str]:
    """Return one name for each row of labels, as short as they allow."""
    several = labels.groupby("term")["contrast"].transform("nunique") > 1
    names = []
    for (_, row), ambiguous in zip(labels.iterrows(), several, strict=True):
        name = str(row["term"]) or "prediction"
        if ambiguous:
            name += f"[{row['contrast']}]"
        for column in labels.columns[2:]:
            mark = ":" if column in ("class", "output") else "@"
            name += f"{mark}{row[column]}" if str(row[column]) else ""
        names.append(name)
    return names


def against(
    labels: pd.DataFrame, column: str, base: Any
) -> tuple[np.ndarray, pd.DataFrame]:
    """Matrix and labels of each group's estimates minus the base group's."""
    rest = [c for c in labels.columns if c != column]
    keys = list(map(tuple, labels[rest].astype(str).to_numpy()))
    group = labels[column].tolist()
    place = {key: i for i, key in enumerate(keys) if group[i] == base}
    rows, kept = [], []
    for i, key in enumerate(keys):
        if group[i] == base or key not in place:
            continue
        row = np.zeros(len(labels))
        row[i], row[place[key]] = 1.0, -1.0
        rows.append(row)
        kept.append(i)
    found = labels.iloc[kept].reset_index(drop=True)
    found[column] = [f"{g} - {base}" for g in found[column]]
    return np.array(rows), found
