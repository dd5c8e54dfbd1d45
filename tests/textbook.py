"""The textbook's network with every rule spelled out, so that a test can change one.

`early_stopping=False` alone brings the same network. Where a test stops it early, the
other parameters must be named: left to the rules they become an ensemble's.
"""

TEXTBOOK = {
    "early_stopping": False,
    "n_estimators": 1,
    "linear_skip": False,
    "standardize": True,
    "numeric_embedding": None,
    "dropout": 0.0,
    "alpha": 1e-4,
    "batch_size": 200,
    "learning_rate": "constant",
    "learning_rate_init": 0.001,
    "max_iter": 200,
    "n_iter_no_change": 10,
}
