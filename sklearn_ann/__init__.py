"""Neural networks with scikit-learn's manners, beside the linear model.

A network is regressions stacked together: without hidden layer it is linear or
logistic regression, and every layer is a measured step away from that.
"""

from .batching import batched_fits
from .checkpoints import Checkpoint
from .coefficients import coefficient_table
from .comparison import compare
from .effects import average_marginal_effects, average_predictions
from .estimators import ANNClassifier, ANNRegressor
from .intervals import ConformalRegressor
from .onnx_export import to_onnx
from .persistence import SKOPS_TYPES, load, save
from .replicates import bootstrap_fits
from .size_comparison import compare_sizes
from .specification import neglected_nonlinearity_test
from .values import FileError

__version__ = "0.1.0"

__all__ = [
    "SKOPS_TYPES",
    "ANNClassifier",
    "ANNRegressor",
    "Checkpoint",
    "ConformalRegressor",
    "FileError",
    "average_marginal_effects",
    "average_predictions",
    "batched_fits",
    "bootstrap_fits",
    "coefficient_table",
    "compare",
    "compare_sizes",
    "load",
    "neglected_nonlinearity_test",
    "save",
    "to_onnx",
]
