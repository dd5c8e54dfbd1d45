"""Set before SciPy is imported, as it must be; see tests/test_estimator_checks.py."""

import os

# Without it scikit-learn refuses `array_api_dispatch` and its array API checks skip.
os.environ.setdefault("SCIPY_ARRAY_API", "1")

import pytest
import torch
from pretend_cuda import pretend_cuda  # noqa: F401 - a fixture

from sklearn_ann import __main__ as command_line


def pytest_collection_modifyitems(items):
    """Skip what needs a GPU where there is none, and say so."""
    if torch.cuda.is_available():
        return
    reason = f"needs a CUDA GPU, and PyTorch {torch.__version__} sees none"
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def run(capsys):
    """Run the command in this process: exit code, standard output, standard error."""

    def run(*arguments):
        try:
            code = command_line.main(["compare", *map(str, arguments)])
        except SystemExit as stop:  # argparse
            code = stop.code
        return code, *capsys.readouterr()

    return run
