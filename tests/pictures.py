"""What the tests of all pictures share."""

import contextlib

import matplotlib as mpl
import matplotlib.pyplot as plt

mpl.use("Agg")

TEXTBOOK = {
    "early_stopping": False,
    "linear_skip": False,
    "n_estimators": 1,
    "random_state": 0,
}


@contextlib.contextmanager
def pyplot_left_alone():
    """Drawing on axes that are given makes no figure and chooses none."""
    figure = plt.figure()
    settings = dict(mpl.rcParams)
    try:
        yield
        assert plt.get_fignums() == [figure.number]
        assert plt.gcf() is figure
        assert dict(mpl.rcParams) == settings
    finally:
        plt.close(figure)


def drawn(display):
    """Let matplotlib lay the picture out, warnings being errors; close it."""
    display.figure_.canvas.draw()
    plt.close(display.figure_)


def texts(ax):
    return [text.get_text() for text in ax.texts]


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def line(ax, label):
    """Data (n, 2) of the line with a label."""
    (found,) = [each for each in ax.lines if each.get_label() == label]
    return found.get_xydata()
