"""scikit-learn's callbacks: what they see, when, and what they can do."""

import io
import re
from contextlib import redirect_stdout
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pytest
from quiet_callback import Quiet
from sklearn.base import clone
from sklearn.callback import FitCallback, ProgressBar, ScoringMonitor
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ann import ANNClassifier, ANNRegressor
from sklearn_ann.watching import Watcher

pytestmark = pytest.mark.filterwarnings(
    # Few epochs are enough here, and too few to converge.
    "ignore::sklearn.exceptions.ConvergenceWarning"
)
EPOCHS = 5
QUICK = {
    "hidden_layer_sizes": 4,
    "early_stopping": False,
    "max_iter": EPOCHS,
    "tol": 0.0,
    "random_state": 0,
}
SOLVERS = ["sgd", "adam", "adamw", "lbfgs"]


def data(n=60, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3))
    return X, np.sin(X[:, 0]) + X[:, 1] + 0.1 * rng.normal(size=n)


@dataclass(eq=False)
class Recorder:
    """A callback that writes down what it is told; it asks for no fitted estimator."""

    events: list = field(default_factory=list)
    torn_down: int = 0
    stop_at: int | None = None
    fail_at: int | None = None

    def setup(self, estimator, context):
        self.events.append(("setup", context.task_name, context.task_id))

    def on_fit_task_begin(self, estimator, context):
        self.events.append(("begin", context.task_name, context.task_id))

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, metadata=None):
        self.events.append(("end", context.task_name, context.task_id))
        self.X, self.y, self.metadata = X, y, metadata
        if context.task_name != "epoch":
            return False
        if self.fail_at == context.task_id:
            raise ArithmeticError("a callback failed")
        return self.stop_at == context.task_id

    def teardown(self, estimator, context):
        self.torn_down += 1

    def ended(self, name="epoch"):
        return [i for what, task, i in self.events if (what, task) == ("end", name)]


class Propagated(Recorder):
    """The same, handed down by pipelines and searches to their estimators."""

    max_propagation_depth = None


@dataclass(eq=False)
class Predictor(Quiet):
    """A callback that keeps the predictions of every fitted estimator it is given."""

    predictions: list = field(default_factory=list)
    final: list = field(default_factory=list)
    method: str = "predict"

    def on_fit_task_end(
        self, estimator, context, *, X=None, y=None, fitted_estimator=None
    ):
        kept = self.predictions if context.task_name == "epoch" else self.final
        if fitted_estimator is not None:
            kept.append(getattr(fitted_estimator, self.method)(X))


@pytest.fixture
def copies(monkeypatch):
    """Count how often attributes of a fitted estimator are made for a callback."""
    made = []
    begin = Watcher.begin

    def counted(self, *fits):
        attributes = self.attributes
        self.attributes = lambda row: made.append(1) or attributes(row)
        begin(self, *fits)

    monkeypatch.setattr(Watcher, "begin", counted)
    return made


def test_the_hand_written_ones_are_callbacks():
    assert isinstance(Recorder(), FitCallback)
    assert isinstance(Predictor(), FitCallback)


@pytest.mark.parametrize("solver", SOLVERS)
def test_epochs_are_tasks_of_the_fit(solver):
    X, y = data()
    seen = Recorder()
    ANNRegressor(**QUICK, solver=solver).set_callbacks(seen).fit(X, y)
    epochs = [(what, "epoch", i) for i in range(EPOCHS) for what in ("begin", "end")]
    assert seen.events == [
        ("setup", "fit", 0),
        ("begin", "fit", 0),
        *epochs,
        ("end", "fit", 0),
    ]
    assert seen.torn_down == 1


def test_callbacks_see_the_data_and_the_weights():
    X, y = data()
    weight = np.linspace(0.5, 2.0, len(y))
    seen = Recorder()
    model = ANNRegressor(**QUICK).set_callbacks(seen)
    model.fit(X, y, sample_weight=weight)
    np.testing.assert_array_equal(seen.X, X)
    np.testing.assert_array_equal(seen.y, y)
    np.testing.assert_array_equal(seen.metadata["sample_weight"], weight)
    model.fit(X, y)
    assert seen.metadata is None


def test_callbacks_see_named_columns():
    """A fitted estimator given to a callback would else warn of missing names."""
    X, y = data()
    seen, predicted = Recorder(), Predictor()
    frame = pd.DataFrame(X, columns=["age", "tenure", "hours"])
    ANNRegressor(**QUICK).set_callbacks(seen, predicted).fit(frame, y)
    assert list(seen.X.columns) == ["age", "tenure", "hours"]
    assert len(predicted.predictions) == EPOCHS


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_callback_can_stop_a_fit(solver):
    X, y = data()
    model = ANNRegressor(**QUICK, solver=solver)
    stopped = clone(model).set_callbacks(Recorder(stop_at=1)).fit(X, y)
    assert stopped.status_ == "stopped by a callback"
    assert stopped.n_iter_ == len(stopped.loss_curve_) == 2
    short = clone(model).set_params(max_iter=2).fit(X, y)
    np.testing.assert_array_equal(stopped.predict(X), short.predict(X))


def test_a_stopped_fit_does_not_warn(recwarn):
    X, y = data()
    ANNRegressor(**QUICK).set_callbacks(Recorder(stop_at=1)).fit(X, y)
    assert not [w for w in recwarn if w.category is ConvergenceWarning]


@pytest.mark.parametrize("early_stopping", [False, True])
def test_weights_are_copied_out_only_when_asked(copies, early_stopping):
    X, y = data()
    model = ANNRegressor(**QUICK, n_estimators=1, linear_skip=False)
    model.set_params(early_stopping=early_stopping)
    clone(model).fit(X, y)
    clone(model).set_callbacks(Recorder(), Recorder(stop_at=3)).fit(X, y)
    clone(model).set_callbacks(ProgressBar()).fit(X, y)
    assert copies == []
    clone(model).set_callbacks(Predictor()).fit(X, y)
    assert len(copies) == EPOCHS + 1  # and once when all is done


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(
    "Estimator, method",
    [(ANNRegressor, "predict"), (ANNClassifier, "predict_proba")],
)
def test_fitted_estimator_is_a_fit_stopped_at_that_epoch(Estimator, method, solver):
    X, y = data()
    y = (
        y
        if Estimator is ANNRegressor
        else np.array(["low", "high"])[(y > 0).astype(int)]
    )
    seen = Predictor(method=method)
    model = Estimator(**QUICK, solver=solver, batch_size=20)
    clone(model).set_callbacks(seen).fit(X, y)
    assert len(seen.predictions) == EPOCHS
    for epoch, predicted in enumerate(seen.predictions, start=1):
        short = clone(model).set_params(max_iter=epoch).fit(X, y)
        np.testing.assert_array_equal(predicted, getattr(short, method)(X))
    np.testing.assert_array_equal(seen.final, seen.predictions[-1:])


def test_fitted_estimator_under_early_stopping_is_the_best_so_far():
    X, y = data()
    seen = Predictor()
    model = ANNRegressor(
        8,
        solver="sgd",
        learning_rate_init=0.5,
        max_iter=6,
        tol=0.0,
        early_stopping=True,
        n_estimators=1,
        linear_skip=False,
        standardize=True,
        activation="relu",
        dropout=0.0,
        alpha=1e-4,
        learning_rate="constant",
        validation_fraction=0.1,
        random_state=1,
    )
    fitted = clone(model).set_callbacks(seen).fit(X, y)
    assert np.argmax(fitted.validation_scores_) < 5  # scores fall again
    for epoch, predicted in enumerate(seen.predictions, start=1):
        short = clone(model).set_params(max_iter=epoch).fit(X, y)
        np.testing.assert_array_equal(predicted, short.predict(X))


def test_fitted_estimator_of_a_refit_is_the_new_one():
    X, y = data()
    seen = Predictor()
    model = ANNRegressor(**QUICK).fit(X, y)
    first = model.predict(X)
    model.set_params(random_state=1).set_callbacks(seen).fit(X, y)
    assert not np.allclose(seen.predictions[-1], first)
    np.testing.assert_array_equal(seen.predictions[-1], model.predict(X))


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_restarts_are_tasks_of_their_own(solver):
    X, y = data()
    seen, predicted = Recorder(), Predictor()
    model = ANNRegressor(**QUICK, solver=solver, n_init=3)
    model.set_callbacks(seen, predicted).fit(X, y)
    assert sorted(seen.ended()) == sorted(3 * list(range(EPOCHS)))
    assert seen.ended("restart") == [0, 1, 2]
    assert seen.events[-1] == ("end", "fit", 0)
    assert len(predicted.predictions) == 3 * EPOCHS
    # The fit ends with the best of the three.
    np.testing.assert_array_equal(predicted.final[-1], model.predict(X))
    last = predicted.predictions[-3:]
    assert sum(np.array_equal(p, predicted.final[-1]) for p in last) == 1


def test_stopping_restarts_stops_all_of_them():
    X, y = data()
    seen = Recorder(stop_at=1)
    model = ANNRegressor(**QUICK, n_init=3).set_callbacks(seen).fit(X, y)
    assert model.status_ == "stopped by a callback"
    assert sorted(seen.ended()) == [0, 0, 0, 1, 1, 1]


def shown(fit):
    """What a fit prints, without the codes that move the cursor."""
    with redirect_stdout(io.StringIO()) as out:
        fit()
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", out.getvalue())


def wrapped(how, model):
    if how == "alone":
        return model
    if how == "pipeline":
        return make_pipeline(StandardScaler(), model)
    pipeline = make_pipeline(StandardScaler(), model)
    name = type(model).__name__.lower()
    return GridSearchCV(pipeline, {f"{name}__alpha": [0.1, 1.0]}, cv=2)


WAYS = ["alone", "pipeline", "search"]
# Fits that each of them makes: two candidates, two folds, and the refit.
N_FITS = {"alone": 1, "pipeline": 1, "search": 5}


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("n_init", [1, 2])
def test_progress_bar(how, n_init):
    X, y = data()
    model = wrapped(how, ANNRegressor(**QUICK, n_init=n_init))
    model.set_callbacks(ProgressBar(max_propagation_depth=None))
    text = shown(lambda: model.fit(X, y))
    assert text.count("ANNRegressor - fit") >= N_FITS[how]
    assert text.count("ANNRegressor - restart") >= (N_FITS[how] if n_init > 1 else 0)
    assert "100%" in text


@pytest.mark.parametrize("how", WAYS)
def test_scoring_monitor(how):
    X, y = data()
    monitor = ScoringMonitor(scoring="r2")
    # This one is not handed down: it is set where scores are to be computed.
    wrapped(how, ANNRegressor(**QUICK).set_callbacks(monitor)).fit(X, y)
    runs = monitor.get_logs(select="all")
    rows = pd.concat([run.data_as_pandas for run in runs])
    epochs = rows[rows["task_name"] == "epoch"]
    assert len(epochs) == N_FITS[how] * EPOCHS
    assert epochs["r2"].between(-5, 1).all()


def test_scoring_monitor_logs_the_score_of_every_epoch():
    X, y = data()
    weight = np.linspace(0.5, 2.0, len(y))
    monitor = ScoringMonitor(scoring=["r2", "neg_mean_absolute_error"])
    model = ANNRegressor(**QUICK).set_callbacks(monitor).fit(X, y, sample_weight=weight)
    log = monitor.get_logs().data_as_pandas
    scores = log[log["task_name"] == "epoch"]["r2"].tolist()
    for epoch, score in enumerate(scores, start=1):
        short = ANNRegressor(**{**QUICK, "max_iter": epoch})
        short.fit(X, y, sample_weight=weight)
        assert score == pytest.approx(short.score(X, y, weight), abs=1e-12)
    assert scores[-1] == pytest.approx(model.score(X, y, weight), abs=1e-12)


@pytest.mark.parametrize("how", WAYS)
def test_hand_written_callbacks_inside_pipelines_and_searches(how):
    X, y = data()
    seen = Propagated()
    wrapped(how, ANNRegressor(**QUICK)).set_callbacks(seen).fit(X, y)
    assert len(seen.ended()) == N_FITS[how] * EPOCHS
    assert seen.torn_down == 1


@pytest.mark.parametrize("how", WAYS)
def test_stopping_inside_pipelines_and_searches(how):
    X, y = data()
    model = wrapped(how, ANNRegressor(**QUICK)).set_callbacks(Propagated(stop_at=1))
    model.fit(X, y)
    best = getattr(model, "best_estimator_", model)
    network = best[-1] if how != "alone" else best
    assert network.status_ == "stopped by a callback"
    assert network.n_iter_ == 2


@pytest.mark.parametrize("how", WAYS)
def test_callbacks_are_torn_down_when_a_fit_fails(how):
    X, y = data()
    seen = Propagated(fail_at=2)
    model = wrapped(how, ANNRegressor(**QUICK)).set_callbacks(seen)
    if how == "search":
        model.set_params(error_score="raise")
    with pytest.raises(ArithmeticError, match="a callback failed"):
        model.fit(X, y)
    assert seen.torn_down == 1
    network = model if how == "alone" else ANNRegressor()
    assert not hasattr(network, "_callback_fit_ctx")
    seen.fail_at = None
    model.fit(X, y)  # and it can be used again
    assert seen.torn_down == 2


def test_callbacks_are_torn_down_when_the_data_are_bad():
    X, y = data()
    seen = Recorder()
    model = ANNRegressor(**QUICK).set_callbacks(seen)
    with pytest.raises(ValueError, match="infinity"):
        model.fit(np.where(X > 2, np.inf, X), y)
    # Data are checked before callbacks are set up: nothing to tear down.
    assert seen.events == [] and seen.torn_down == 0


def test_partial_fit_is_one_epoch():
    X, y = data()
    seen = Recorder()
    model = ANNRegressor(**QUICK).set_callbacks(seen)
    model.partial_fit(X, y).partial_fit(X, y)
    assert seen.ended() == [0, 0]
    assert seen.ended("fit") == [0, 0]
    assert seen.torn_down == 2


def test_warm_start_counts_epochs_from_zero_in_every_call():
    X, y = data()
    seen = Recorder()
    model = ANNRegressor(**QUICK, warm_start=True).set_callbacks(seen)
    model.fit(X, y).fit(X, y)
    assert seen.ended() == 2 * list(range(EPOCHS))


def test_clone_keeps_callbacks_as_scikit_learn_does():
    X, y = data()
    seen = Recorder()
    model = ANNRegressor(**QUICK).set_callbacks(seen)
    clone(model).fit(X, y)
    assert seen.torn_down == 1
    model.set_callbacks()
    clone(model).fit(X, y)
    assert seen.torn_down == 1


def test_set_callbacks_takes_only_callbacks():
    with pytest.raises(TypeError, match="FitCallback"):
        ANNRegressor().set_callbacks(print)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_verbose_prints_a_line_an_epoch(solver, capsys):
    X, y = data()
    model = ANNRegressor(**QUICK, solver=solver, verbose=True).fit(X, y)
    lines = capsys.readouterr().out.splitlines()
    expected = [
        f"Epoch {i}: loss = {loss:.8f}" for i, loss in enumerate(model.loss_curve_, 1)
    ]
    assert lines == expected


def test_verbose_shows_validation_and_restarts(capsys):
    X, y = data()
    options = {**QUICK, "max_iter": 2}
    model = ANNRegressor(**options, verbose=True, n_estimators=1)
    model.set_params(early_stopping=True, linear_skip=False).fit(X, y)
    first = capsys.readouterr().out.splitlines()[0]
    assert first.endswith(f"validation = {model.validation_scores_[0]:.8f}")
    ANNRegressor(**options, verbose=True, n_init=2).fit(X, y)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        f"Epoch {epoch} of restart {i}" for epoch in (1, 2) for i in (0, 1)
    ]


def test_silent_by_default(capsys):
    X, y = data()
    ANNRegressor(**QUICK).fit(X, y)
    assert capsys.readouterr() == ("", "")
