"""Faces of a table of estimates: text as statsmodels prints it, HTML, LaTeX."""

from __future__ import annotations

import html
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from .text import decimals_for, number, p_value

if TYPE_CHECKING:
    from .estimates import Estimates

LATEX_SPECIAL = {
    "\\": r"\textbackslash{}",
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{mark: f"${mark}$" for mark in "<>|"},
}
PENALISED = "yes; intervals are for what the penalised fit aims at"
METHODS_IN_WORDS = {
    "classical": "classical",
    "HC0": "robust (HC0)",
    "HC1": "robust (HC1)",
    "HC2": "robust (HC2)",
    "HC3": "robust (HC3)",
    "cluster": "by cluster",
    "bootstrap": "bootstrap",
    "bayesian": "Bayesian bootstrap",
    "debiased": "debiased, cross-fitted",
    "none": "none",
}


def cell(value: float) -> str:
    """Write a number of an estimate's column: four digits, whatever its size."""
    if not np.isfinite(value):
        return "-" if np.isnan(value) else str(value)
    if value != 0 and not 1e-4 <= abs(value) < 1e6:
        return f"{value:.3e}"
    return number(value, decimals_for([value]))


def head(estimates: Estimates) -> list[tuple[str, str]]:
    """Name what the table rests on, line by line."""
    basis = estimates.basis
    averaged = "these rows" if basis.conditional else "the population"
    lines = [
        *estimates.facts.items(),
        ("Std. errors", METHODS_IN_WORDS.get(basis.method, basis.method)),
        ("Chosen", basis.why),
        ("Law", str(basis.law)),
        ("Inference for", averaged),
        ("Penalised", PENALISED if basis.penalised else "no"),
        ("Rows", f"{basis.n:,}"),
    ]
    if basis.k is not None:
        lines.append(("Parameters", f"{basis.k}"))
    if basis.method == "none":
        gone = ("Law", "Inference for")
        lines = [line for line in lines if line[0] not in gone]
    return lines


def notes(estimates: Estimates) -> list[str]:
    """Say what else there is to know, with the reasons of what is absent."""
    reasons = [reason for reason in dict.fromkeys(estimates.absent) if reason]
    return [*estimates.basis.notes, *reasons]


def columns(estimates: Estimates) -> tuple[list[str], list[list[str]], int]:
    """Header and cells of the table, and how many columns are labels."""
    frame = estimates.to_frame()
    letter = estimates.basis.law.letter
    tail = (1 - estimates.conf_level) / 2
    titles = {
        "estimate": "estimate",
        "std_error": "std err",
        "statistic": letter,
        "p_value": f"P>|{letter}|",
        "conf_low": f"[{tail:.4g}",
        "conf_high": f"{1 - tail:.4g}]",
    }
    numbers = [c for c in frame.columns if c in titles or c in estimates.beside]
    labels = [c for c in frame.columns if c not in numbers]
    header = [*labels, *(titles.get(c, c) for c in numbers)]
    rows = [
        [*(str(row[c]) for c in labels), *(_written(c, row[c]) for c in numbers)]
        for _, row in frame.iterrows()
    ]
    return header, rows, len(labels)


def _written(column: str, value: Any) -> str:
    if column == "p_value":
        return p_value(float(value))
    if column == "statistic":
        return number(float(value), 3)
    return cell(float(value))


def text_summary(estimates: Estimates) -> str:
    """Write the whole as text."""
    header, rows, n_labels = columns(estimates)
    lines = [header, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    table = [
        "   ".join(
            text.ljust(width) if i < n_labels else text.rjust(width)
            for i, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    width = max(60, *map(len, table))
    named = [
        textwrap.fill(f"{name + ':':<16}{text}", width, subsequent_indent=" " * 16)
        for name, text in head(estimates)
    ]
    rule, thin = "=" * width, "-" * width
    body = [table[0], thin, *table[1:], rule]
    said = [textwrap.fill(note, width) for note in notes(estimates)]
    title = estimates.title.center(width).rstrip()
    return "\n".join([title, rule, *named, rule, *body, *said])


def html_page(estimates: Estimates) -> str:
    """Write the whole as HTML, for notebooks."""
    header, rows, n_labels = columns(estimates)

    def row(cells: list[str], tag: str) -> str:
        written = (
            f'<{tag} style="text-align:{"left" if i < n_labels else "right"}">'
            f"{html.escape(text)}</{tag}>"
            for i, text in enumerate(cells)
        )
        return f"<tr>{''.join(written)}</tr>"

    facts = "; ".join(f"{name}: {text}" for name, text in head(estimates))
    said = "".join(f"<div>{html.escape(note)}</div>" for note in notes(estimates))
    return (
        f"<div><strong>{html.escape(estimates.title)}</strong>"
        f"<table><thead>{row(header, 'th')}</thead>"
        f"<tbody>{''.join(row(cells, 'td') for cells in rows)}</tbody></table>"
        f"<div>{html.escape(facts)}</div>{said}</div>"
    )


def latex(text: str) -> str:
    """Escape what LaTeX would read."""
    return "".join(LATEX_SPECIAL.get(letter, letter) for letter in text)


def latex_table(estimates: Estimates) -> str:
    """Write the table in LaTeX; what it rests on stands below it."""
    header, rows, n_labels = columns(estimates)
    layout = "l" * n_labels + "r" * (len(header) - n_labels)
    facts = "; ".join(f"{name}: {text}" for name, text in head(estimates))
    said = " ".join([f"{facts}.", *notes(estimates)])
    return "\n".join(
        [
            r"\begin{tabular}{" + layout + "}",
            r"\toprule",
            _latex_row(header),
            r"\midrule",
            *map(_latex_row, rows),
            r"\bottomrule",
            rf"\multicolumn{{{len(header)}}}{{p{{\linewidth}}}}{{\footnotesize "
            + latex(said)
            + r"}\\",
            r"\end{tabular}",
        ]
    )


def _latex_row(cells: list[str]) -> str:
    # A bracket after a line's end would be read as the space that follows it.
    return (
        " & ".join(f"{{{latex(c)}}}" if "[" in c else latex(c) for c in cells) + r" \\"
    )
