"""What `neglected_nonlinearity_test` gives back: a statistic, and what it means."""

import html
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from .text import decimals_for, number
from .text import p_value as p_text

WIDTH = 79
TITLES = {
    "white": "White's neural network test",
    "terasvirta": "Teräsvirta's neural network test",
    "reset": "Ramsey's RESET",
}
ADDED = {
    "white": "{m} principal components of {units} logistic hidden units",
    "terasvirta": "{m} monomials of degree 2 and 3",
    "reset": "{m} powers of the model's prediction",
}
MODELS = {"linear": "linear regression", "logit": "logit"}
LAWS = {"F": "F", "chi2": "chi-squared"}
_SHOWN_NAMES = 8
LEVEL = 0.05


@dataclass(frozen=True, slots=True, repr=False)
class NeglectedNonlinearityTest:
    """A test of whether a linear model or a logit neglects nonlinearity.

    Print it, or see `summary`, `to_frame`.

    Attributes
    ----------
    method : {"white", "terasvirta", "reset"}
        Where the test looks.
    model : {"linear", "logit"}
        The model under test.
    distribution : {"F", "chi2"}
        What the statistic follows if the model neglects nothing.
    robust : bool
        Whether that holds under heteroskedasticity as well.
    statistic : float
        With several draws, of the one that decides.
    df : tuple of (int, int) or int
        Degrees of freedom of F, or of chi-squared; the first, or only, is the rank that
        the added terms add.
    p_value : float
        With several draws Hochberg's, from all of them.
    n_rows : int
        Rows used; those lost to lags do not count.
    target : str
        Name of y; for a logit with the class whose probability is modelled.
    columns : tuple of str of length k
        Columns of the model, without those that were dropped.
    dropped_columns : tuple of str
        Columns left out, since they are constant or collinear.
    terms : tuple of str of length m
        Terms added that are not collinear.
    dropped_terms : tuple of str
        Terms left out, since they are collinear with the columns or with other terms.
    n_units : int or None
        Hidden units of each draw; None without any.
    draw_statistics, draw_p_values : tuple of float of length n_draws
        One for each draw of hidden weights; of length one without any.
    """

    method: str
    model: str
    distribution: str
    robust: bool
    statistic: float
    df: int | tuple[int, int]
    p_value: float
    n_rows: int
    target: str
    columns: tuple[str, ...]
    dropped_columns: tuple[str, ...]
    terms: tuple[str, ...]
    dropped_terms: tuple[str, ...]
    n_units: int | None
    draw_statistics: tuple[float, ...]
    draw_p_values: tuple[float, ...]

    def summary(self) -> str:
        """Write the test for people.

        Returns
        -------
        str
            What was tested, the numbers, the null hypothesis, and what the p-value says
            about it.
        """
        rows = _rows(self)
        width = max(len(label) for label, _ in rows)
        lines = [_table_line(label, value, width) for label, value in rows]
        rule = "=" * WIDTH
        notes = (textwrap.fill(note, WIDTH) for note in _notes(self))
        return "\n".join([_title(self), rule, *lines, rule, *notes])

    def to_frame(self) -> pd.DataFrame:
        """Give one row, so that tests can be put below each other.

        Returns
        -------
        DataFrame of shape (1, 9)
            Indexed by method, with the columns model, distribution, robust, statistic,
            df_num, df_denom (missing for chi-squared), p_value, n_rows and n_draws.
        """
        df_num, df_denom = self.df if isinstance(self.df, tuple) else (self.df, pd.NA)
        row = {
            "model": self.model,
            "distribution": self.distribution,
            "robust": self.robust,
            "statistic": self.statistic,
            "df_num": df_num,
            "df_denom": df_denom,
            "p_value": self.p_value,
            "n_rows": self.n_rows,
            "n_draws": len(self.draw_p_values),
        }
        frame = pd.DataFrame([row], index=pd.Index([self.method], name="method"))
        return frame.astype({"df_denom": "Int64"})

    def __str__(self) -> str:
        return self.summary()

    __repr__ = __str__

    def _repr_html_(self) -> str:
        cells = (
            f'<tr><th style="text-align: left">{html.escape(label)}</th>'
            f'<td style="text-align: left">{html.escape(value)}</td></tr>'
            for label, value in _rows(self)
        )
        notes = (f"<p>{html.escape(note)}</p>" for note in _notes(self))
        caption = f"<caption>{html.escape(_title(self))}</caption>"
        return f"<table>{caption}{''.join(cells)}</table>{''.join(notes)}"


def _title(test: NeglectedNonlinearityTest) -> str:
    return f"{TITLES[test.method]} for neglected nonlinearity"


def _rows(test: NeglectedNonlinearityTest) -> list[tuple[str, str]]:
    """Give the lines of the table: what each is, and its value."""
    rows = [
        ("Model", f"{MODELS[test.model]} of {test.target}"),
        ("Columns", _listed(test.columns)),
        ("Rows", str(test.n_rows)),
        ("Added", ADDED[test.method].format(m=len(test.terms), units=test.n_units)),
    ]
    left_out = (*test.dropped_columns, *test.dropped_terms)
    if left_out:
        rows.append(("Collinear, left out", _listed(left_out)))
    draws = len(test.draw_p_values)
    if draws > 1:
        combined = f"{draws} (p-value: Hochberg's, statistic: of the decisive draw)"
        rows.append(("Draws of weights", combined))
    robust = ", robust to heteroskedasticity" if test.robust else ""
    value = number(test.statistic, decimals_for([test.statistic], digits=5))
    return [
        *rows,
        ("Statistic", value),
        ("Distribution", f"{_law(test)}{robust}"),
        ("p-value", p_text(test.p_value)),
    ]


def _law(test: NeglectedNonlinearityTest) -> str:
    df = test.df if isinstance(test.df, tuple) else (test.df,)
    return f"{LAWS[test.distribution]}({', '.join(map(str, df))})"


def _table_line(label: str, value: str, width: int) -> str:
    return textwrap.fill(
        value,
        WIDTH,
        initial_indent=label.ljust(width + 2),
        subsequent_indent=" " * (width + 2),
        break_on_hyphens=False,
    )


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN_NAMES
    text = ", ".join(names[:_SHOWN_NAMES])
    return f"{text} and {more} more" if more > 0 else text


def _notes(test: NeglectedNonlinearityTest) -> list[str]:
    linear = {"linear": "the mean of {} is", "logit": "the log-odds of {} are"}
    notes = [
        f"Null hypothesis: {linear[test.model].format(test.target)} linear in the "
        "columns, and what is added explains nothing.",
        _meaning(test),
    ]
    if test.method == "white" and len(test.draw_p_values) == 1:
        notes.append(
            "The hidden weights are one draw, and another gives another p-value: "
            "n_draws= combines several."
        )
    return notes


def _meaning(test: NeglectedNonlinearityTest) -> str:
    """Say what the p-value shows, for someone who does not know the test."""
    share = 100 * test.p_value
    times = "fewer than 1" if share < 1 else f"about {share:.0f}"
    odds = (
        f"If it holds, a statistic this large or larger turns up in {times} of 100 "
        "samples. "
    )
    if test.p_value < LEVEL:
        return odds + (
            f"That is evidence against it: the {MODELS[test.model]} misses something "
            "that squares, interactions or a network may find."
        )
    return odds + (
        "These data do not speak against it, which is no proof: no test looks in all "
        "directions."
    )
