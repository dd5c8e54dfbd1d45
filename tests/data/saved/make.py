"""Write the files of this version that later versions must load.

    python tests/data/saved/make.py

The files are named by the version of the format, and stay as they are: run this anew
only after ``files.VERSION`` has gone up, or for a new file beside the old ones.
"""

import json
import sys
import warnings
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER.parents[1]))

from fitted_estimators import OWN, TABLE, X, Y, classifier, regressor  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

from sklearn_ann import ANNRegressor, ConformalRegressor, files, save  # noqa: E402

ROWS = np.linspace(-2.0, 2.0, 12).reshape(4, 3)
# Of this one the file is made on a table with text and missing values.
OF_A_TABLE = "defaults"


def estimators():
    """Name and unfitted estimator with its targets, of every file."""
    words = np.array(["low", "high"])[(Y > 0).astype(int)]
    yield "regressor", regressor(linear_skip=True, warm_start=True), Y
    yield "lbfgs", regressor(warm_start=True, solver="lbfgs"), Y
    yield "quantiles", regressor(loss="quantile", quantile=(0.1, 0.9)), Y
    yield "ensemble", classifier(n_estimators=2), words
    yield "conformal", ConformalRegressor(regressor(), random_state=0), Y
    yield "defaults", ANNRegressor(**OWN, numeric_embedding="piecewise_linear"), Y
    yield "pipeline", make_pipeline(StandardScaler(), regressor()), Y


def main():
    """Write the files, and what their estimators predict."""
    expected = {}
    for name, estimator, y in estimators():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            estimator.fit(TABLE if name == OF_A_TABLE else X, y)
        file = f"v{files.VERSION}_{name}.ann"
        save(estimator, FOLDER / file)
        answer = getattr(estimator, "predict_proba", estimator.predict)
        answer = answer(TABLE[:4] if name == OF_A_TABLE else ROWS)
        expected[file] = np.asarray(answer).tolist()
    path = FOLDER / "predictions.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(known | expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
