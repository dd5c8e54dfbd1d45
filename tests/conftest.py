"""Set before SciPy is imported, as it must be; see tests/test_estimator_checks.py."""

import os

# Without it scikit-learn refuses `array_api_dispatch` and its array API checks skip.
os.environ.setdefault("SCIPY_ARRAY_API", "1")
