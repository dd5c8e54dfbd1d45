"""A table for people, and its faces: text, Markdown, HTML, LaTeX, numbers."""

import html
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from .rendering import latex

WIDTH = 79
# What starts the label of a row that belongs to the one above.
INDENT = "  "
Row = tuple[str, ...]
# Numbers keep the spaces that align them, and letters of one width, as in text.
WORDS = "text-align: left"
NUMBERS = "text-align: right; font-family: monospace; white-space: pre"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Table:
    """Cells in columns, in sections, with notes below.

    Print it, or see `to_frame`, `to_latex`, `to_markdown`, `to_html`.

    Attributes
    ----------
    title : str
        Empty for none.
    header : tuple of str of length c
        Titles of the columns.
    sections : tuple of tuple of tuple of str
        Rows of c cells, parted by a line. Spaces at the end of a cell stay in text,
        where they align numbers.
    notes : tuple of str
        Sentences.
    numbers : DataFrame
        What the cells were written from.
    n_labels : int
        Columns at the left that hold words.
    """

    title: str
    header: Row
    sections: tuple[tuple[Row, ...], ...]
    notes: tuple[str, ...]
    numbers: pd.DataFrame
    n_labels: int = 1

    @property
    def rows(self) -> list[Row]:
        """All rows, without sections."""
        return [row for section in self.sections for row in section]

    def to_frame(self) -> pd.DataFrame:
        """Give the numbers, in full precision.

        Returns
        -------
        DataFrame
        """
        return self.numbers.copy()

    def to_text(self, *, notes: bool = True) -> str:
        """Write plain text.

        Parameters
        ----------
        notes : bool, default=True
            Whether to write the notes below it.
        """
        lines = [self.header, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
        parts = [self.title] if self.title else []
        parts += [_text_line(self.header, widths, self.n_labels)]
        for section in filter(None, self.sections):
            parts += [rule]
            parts += [_text_line(row, widths, self.n_labels) for row in section]
        if notes and self.notes:
            parts += ["", *wrapped(self.notes)]
        return "\n".join(parts)

    def to_markdown(self) -> str:
        """Write Markdown, as GitHub, Quarto and pandoc read it."""
        marks = [":--" if i < self.n_labels else "--:" for i in range(len(self.header))]
        lines = [self.header, marks, *self.rows]
        table = "\n".join(f"| {' | '.join(map(_markdown, line))} |" for line in lines)
        title = [f"**{_markdown(self.title)}**"] if self.title else []
        notes = [" ".join(map(_markdown, self.notes))] if self.notes else []
        return "\n\n".join([*title, table, *notes])

    def to_html(self) -> str:
        """Write an HTML table, without a page around it."""
        head = self._html_row(self.header, "th")
        bodies = (
            "".join(self._html_row(row, "td") for row in section)
            for section in filter(None, self.sections)
        )
        title = f"<caption>{html.escape(self.title)}</caption>" if self.title else ""
        notes = html.escape(" ".join(self.notes))
        return (
            f"<div><table>{title}<thead>{head}</thead>"
            f"{''.join(f'<tbody>{body}</tbody>' for body in bodies)}</table>"
            f"{f'<p>{notes}</p>' if notes else ''}</div>"
        )

    def to_latex(self) -> str:
        """Write a LaTeX tabular, for the package booktabs; notes stand below it."""
        layout = "l" * self.n_labels + "r" * (len(self.header) - self.n_labels)
        lines = [rf"\begin{{tabular}}{{{layout}}}", r"\toprule", _tex_row(self.header)]
        for section in filter(None, self.sections):
            lines += [r"\midrule", *map(_tex_row, section)]
        lines += [r"\bottomrule", r"\end{tabular}"]
        if self.notes:
            note = " ".join(map(latex, self.notes))
            lines += ["", rf"\par\smallskip{{\footnotesize {note}}}"]
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.to_text()

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.to_html()

    def _html_row(self, cells: Sequence[str], tag: str) -> str:
        written = (
            f'<{tag} style="{WORDS if i < self.n_labels else NUMBERS}">'
            f"{_html(cell)}</{tag}>"
            for i, cell in enumerate(cells)
        )
        return f"<tr>{''.join(written)}</tr>"


def wrapped(notes: Iterable[str]) -> list[str]:
    """Write sentences as one paragraph of text, in lines."""
    return textwrap.wrap(" ".join(notes), WIDTH)


def _text_line(cells: Sequence[str], widths: Sequence[int], n_labels: int) -> str:
    aligned = (
        cell.ljust(width) if i < n_labels else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join(aligned).rstrip()


def _is_indented(cell: str) -> bool:
    return cell.startswith(INDENT) and bool(cell.strip())


def _html(cell: str) -> str:
    """Escape a cell."""
    indent = "&emsp;" * _is_indented(cell)
    return indent + html.escape(cell.lstrip() if cell.strip() else "")


def _markdown(cell: str) -> str:
    """Escape what Markdown would read."""
    text = cell.strip().replace("|", r"\|").replace("*", r"\*")
    return "&emsp;" * _is_indented(cell) + text


def _tex_row(cells: Sequence[str]) -> str:
    return " & ".join(map(_tex_cell, cells)) + r" \\"


def _tex_cell(cell: str) -> str:
    indent = r"\quad " if _is_indented(cell) else ""
    text = cell.strip()
    if text == "-":
        return "--"
    is_negative = text[:1] == "-" and text[1:2].isdigit()
    body = f"$-${latex(text[1:])}" if is_negative else latex(text)
    # After a line's end a bracket would be read as the space that follows it, and an
    # asterisk as a line that keeps to its page.
    return indent + (f"{{{body}}}" if body[:1] in ("[", "*") else body)
