"""The accuracy benchmark: sets, protocol, resumed runs, failures, gains, command."""

import json
import tarfile
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from benchmarks.accuracy import __main__ as command
from benchmarks.accuracy import ablation, models, runs
from benchmarks.accuracy.columns import COLUMNS, NamedLevels, numbers
from benchmarks.accuracy.gains import frame_of, gains_by_table, paired, summary
from benchmarks.accuracy.models import PEERS, Call, Model, ours, variant
from benchmarks.accuracy.protocol import calibration_error, gain, score, split
from benchmarks.accuracy.report import sections, to_markdown, to_text
from benchmarks.accuracy.runs import Job, Outcome, Store, run
from benchmarks.accuracy.sets import TABLES, TRANSFORMS, Data, Table, load
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.dummy import DummyRegressor
from sklearn.metrics import log_loss, r2_score

from sklearn_ann import ANNRegressor, relevance

NAMES = tuple(table.name for table in TABLES)
LINEAR = PEERS[0]


class Breaks(RegressorMixin, BaseEstimator):
    """Fails in the way it is asked to."""

    def __init__(self, how="raise"):
        self.how = how

    def fit(self, X, y):
        if self.how == "raise":
            raise ZeroDivisionError("no luck\n today")
        if self.how == "interrupt":
            raise KeyboardInterrupt
        return self

    def predict(self, X):
        return np.full(len(X), np.nan)

    def __sklearn_is_fitted__(self):
        return True


def model(name, path, **settings):
    """Make a model of the same class for both tasks."""
    return Model(name, "sklearn", Call(path, settings), Call(path, settings))


MEAN = model("mean", "sklearn.dummy:DummyRegressor")
BREAKS = model("breaks", f"{__name__}:Breaks")


@pytest.fixture
def folder(tmp_path):
    """Write one table of numbers, levels and gaps."""
    rng = np.random.default_rng(0)
    n = 60
    frame = pd.DataFrame(
        {
            "size": rng.normal(size=n),
            "kind": rng.choice(["a", "b", "?"], size=n),
            "code": rng.integers(1, 4, size=n),
            "leak": np.arange(n),
        }
    )
    frame["price"] = np.exp(frame["size"] + rng.normal(scale=0.3, size=n))
    frame["high"] = np.where(frame["price"] > 1, "yes", "no")
    frame.loc[:2, "size"] = np.nan
    frame.loc[3, "price"] = np.nan
    frame.to_csv(tmp_path / "tiny.csv", index=False)
    return tmp_path


TINY = Table(
    "tiny",
    "nothing==1",
    "tiny.csv",
    "price",
    "regression",
    (59, 3, 2),
    "log",
    drop=("leak", "high"),
    categories=("code",),
)
CLASSES = replace(
    TINY,
    name="classes",
    target="high",
    task="binary",
    shape=(60, 3, 2),
    transform="identity",
    drop=("leak", "price"),
)


# Sets


def test_a_set_is_read(folder):
    data = load(TINY, folder)
    source = pd.read_csv(folder / "tiny.csv").dropna(subset="price")
    assert list(data.X) == ["size", "kind", "code"]
    assert [str(dtype) for dtype in data.X.dtypes] == [
        "float64",
        "category",
        "category",
    ]
    assert_allclose(data.y, np.log(source["price"]))
    assert_array_equal(data.X["kind"].isna(), source["kind"] == "?")
    assert data.X["size"].isna().sum() == 3
    assert_array_equal(data.X.index, range(59))


def test_classes_become_codes(folder):
    source = pd.read_csv(folder / "tiny.csv")
    assert_array_equal(load(CLASSES, folder).y, source["high"] == "yes")


def test_complete_rows(folder):
    shape = (
        int(pd.read_csv(folder / "tiny.csv", na_values="?").notna().all(axis=1).sum()),
    )
    table = replace(TINY, complete=True, shape=(*shape, 3, 2))
    assert not load(table, folder).X.isna().any(axis=None)


def test_a_member_of_an_archive(folder):
    indexed = pd.read_csv(folder / "tiny.csv")
    indexed.to_csv(folder / "indexed.csv")
    with tarfile.open(folder / "all.tar.gz", "w:gz") as archive:
        archive.add(folder / "indexed.csv", arcname="deep/indexed.csv")
    table = replace(
        TINY, file="all.tar.gz#deep/indexed.csv", drop=("leak", "high", "row")
    )
    pd.testing.assert_frame_equal(load(table, folder).X, load(TINY, folder).X)


def test_names_for_a_file_without_header(folder):
    (folder / "bare.csv").write_text("1, x, 5\n2, y, 6\n")
    table = Table(
        "bare",
        "nothing==1",
        "bare.csv",
        "c",
        "regression",
        (2, 2, 1),
        names=("a", "b", "c"),
    )
    data = load(table, folder)
    assert list(data.X["b"]) == ["x", "y"]
    assert_array_equal(data.y, [5, 6])


def test_another_edition_of_a_file_is_refused(folder):
    with pytest.raises(
        ValueError, match=r"expected .* = \(59, 4, 2\), got \(59, 3, 2\)"
    ):
        load(replace(TINY, shape=(59, 4, 2)), folder)


def test_a_missing_file_says_what_to_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="--install --data"):
        load(TINY, tmp_path)


def test_the_sixteen_sets():
    assert len(set(NAMES)) == 16
    for table in TABLES:
        assert table.package.count("==") == 1
        assert table.transform in TRANSFORMS
        assert table.target not in table.drop
        assert table.task in {"regression", "binary", "multiclass"}


# Protocol


def numbered(n, classes=None):
    """Rows that know their numbers, with targets of 0, 1, ... or of classes."""
    y = np.arange(n, dtype=float) if classes is None else np.arange(n) % classes
    return Data(pd.DataFrame({"row": np.arange(n, dtype=float)}), y)


def test_a_quarter_is_for_testing_and_no_row_serves_twice():
    part = split(numbered(100), "regression", seed=0)
    rows = np.concatenate([part.X_train["row"], part.X_test["row"]])
    assert (len(part.X_train), len(part.X_test)) == (75, 25)
    assert_array_equal(np.sort(rows), np.arange(100))


def test_rows_are_limited_and_stratified():
    part = split(numbered(400, classes=4), "multiclass", seed=0, limits=(100, 40))
    assert_array_equal(np.bincount(part.y_train), [25] * 4)
    assert_array_equal(np.bincount(part.y_test), [10] * 4)
    assert_array_equal(part.X_train["row"] % 4, part.y_train)


def test_targets_are_standardised_by_the_training_rows():
    part = split(numbered(100), "regression", seed=0)
    assert_allclose([part.y_train.mean(), part.y_train.std()], [0, 1], atol=1e-12)
    slopes = np.diff(part.y_test) / np.diff(part.X_test["row"])
    assert_allclose(slopes, 1 / part.X_train["row"].std(ddof=0))


def test_seeds_draw_other_rows():
    first, again, other = (
        split(numbered(100), "regression", seed).X_test["row"].to_numpy()
        for seed in (0, 0, 1)
    )
    assert_array_equal(first, again)
    assert set(first) != set(other)


def test_numbers_for_models_that_take_nothing_else():
    X = pd.DataFrame(
        {
            "a": [1.0, 2.0, np.nan, 9.0],
            "self": pd.Categorical(["u", None, "v", "u"], ["u", "v", "w"]),
        }
    )
    transformer = numbers(X).fit(X)
    encoded = transformer.transform(X)
    median = np.array([1, 2, 2, 9])
    assert_allclose(encoded[:, 0], (median - 3.5) / median.std())
    assert_allclose(encoded[:, 1], (np.array([0, 0, 1, 0]) - 0.25) / np.sqrt(3 / 16))
    assert_array_equal(encoded[:, 2:], [[0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 1, 0]])
    later = X.copy()
    later["self"] = pd.Categorical(["w"] * 4, ["u", "v", "w"])
    assert_array_equal(transformer.transform(later)[:, 2:], np.zeros((4, 3)))


def test_named_levels():
    X = pd.DataFrame(
        {
            "full": pd.Categorical([2, 10, 2]),
            "gaps": pd.Categorical(["z", None, "a"]),
            "number": [1.0, np.nan, 3.0],
        }
    )
    named = NamedLevels().fit_transform(X)
    assert list(named["full"].cat.categories) == ["2", "10"]
    assert list(named["gaps"]) == ["z", "missing", "a"]
    assert list(named["gaps"].cat.categories) == ["a", "missing", "z"]
    assert named["number"].isna().sum() == 1
    assert X["gaps"].isna().sum() == 1  # the table itself is left alone


def test_catboost_is_told_its_categories():
    X = pd.DataFrame({"a": [1.0], "b": pd.Categorical(["u"])})
    assert COLUMNS["levels, listed"](X)[1] == {"cat_features": ["b"]}


def test_gain():
    assert gain("regression", 0.9, 0.8) == pytest.approx(0.5)
    assert gain("regression", 0.7, 0.8) == pytest.approx(-0.5)
    assert gain("binary", 0.3, 0.4) == pytest.approx(0.25)
    assert gain("multiclass", 0.5, 0.4) == pytest.approx(-0.25)


def test_scores_of_a_regression():
    y, predicted = np.array([0.0, 1, 2, 4]), np.array([0.5, 1, 2, 3])
    reached = score("regression", y, predicted)
    assert reached.score == r2_score(y, predicted)
    assert reached.accuracy is reached.auc is reached.calibration_error is None


def test_scores_of_classes():
    y = np.array([0, 0, 1, 1])
    p = np.array([0.1, 0.6, 0.4, 0.8])
    # Sums of float32 are not 1 to the digits that log_loss wants.
    probabilities = np.column_stack([1 - p, p]).astype(np.float32)
    reached = score("binary", y, probabilities)
    assert reached.score == pytest.approx(log_loss(y, p), rel=1e-6)
    assert reached.accuracy == 0.5
    assert reached.auc == 0.75  # of four pairs, (.6, .4) stands the wrong way round


def test_the_auc_of_three_classes_is_a_mean_of_three():
    y = np.array([0, 1, 2, 0, 1, 2])
    probabilities = np.full((6, 3), 0.2) + 0.4 * np.eye(3)[y]
    assert score("multiclass", y, probabilities).auc == 1


def test_calibration_error_by_hand():
    # Confidence .9, of which half is right; confidence .6, all right.
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.4, 0.6]])
    error = calibration_error(np.array([0, 1, 1, 1]), probabilities)
    assert error == pytest.approx(0.5 * abs(0.5 - 0.9) + 0.5 * abs(1 - 0.6))


def test_certainty_can_be_calibrated():
    assert calibration_error(np.array([0, 1]), np.eye(2)) == 0


def test_predictions_must_be_finite():
    with pytest.raises(ValueError, match="NaN"):
        score("regression", np.arange(2.0), np.array([np.nan, 1]))
    with pytest.raises(ValueError, match="NaN"):
        score("binary", np.array([0, 1]), np.full((2, 2), np.nan))


# Runs


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "new" / "results.jsonl")


def jobs_of(*these, seeds=(0, 1), table=TINY):
    return [Job(table, seed, each) for seed in seeds for each in these]


def test_outcomes_are_those_of_the_estimator(folder, store):
    (outcome,) = run([Job(TINY, 0, MEAN)], store, lambda table: load(table, folder))
    part = split(load(TINY, folder), "regression", 0)
    expected = DummyRegressor().fit(part.X_train, part.y_train)
    assert outcome.score == expected.score(part.X_test, part.y_test)
    assert outcome.error == "" and outcome.warned == ()
    assert outcome.fit_seconds > 0 and outcome.predict_seconds > 0


def test_seeds_reach_the_estimators_that_have_one(folder):
    X = load(TINY, folder).X
    network = models.make(ours(), X, "regression", seed=7)[-1]
    assert network.random_state == 7
    assert (
        "random_state" not in models.make(LINEAR, X, "regression", 7)[-1].get_params()
    )


def test_classifiers_are_scored_by_their_probabilities(folder, store):
    (outcome,) = run(
        [Job(CLASSES, 0, LINEAR)], store, lambda table: load(table, folder)
    )
    assert outcome.error == ""
    assert 0 < outcome.score < np.log(2)
    assert 0.5 < outcome.auc <= 1


def test_what_is_known_is_not_fitted_again(folder, store):
    jobs, lines = jobs_of(LINEAR, MEAN), []
    first = run(jobs, store, lambda table: load(table, folder), tell=lines.append)
    assert len(lines) == 4 and lines[0].startswith("1/4  tiny  seed 0  linear  0.")

    def refuse(table):
        raise AssertionError("nothing is left to do")

    assert run(jobs, store, refuse, tell=lines.append) == first
    assert len(lines) == 4


def test_a_killed_run_goes_on(folder, store, monkeypatch):
    stopper = model("stopper", f"{__name__}:Breaks", how="interrupt")
    jobs = jobs_of(LINEAR, stopper, MEAN, seeds=(0,))
    with pytest.raises(KeyboardInterrupt):
        run(jobs, store, lambda table: load(table, folder))
    assert [each.model for each in store.read().values()] == ["linear"]

    lines = []
    monkeypatch.setattr(Breaks, "fit", lambda self, X, y: self)
    run(jobs, store, lambda table: load(table, folder), tell=lines.append)
    assert [line.split()[4] for line in lines] == ["stopper", "mean"]


def test_a_line_cut_short_is_done_again(folder, store):
    jobs = jobs_of(LINEAR, MEAN, seeds=(0,))
    whole = run(jobs, store, lambda table: load(table, folder))
    text = store.path.read_text()
    store.path.write_text(text[:-20])
    assert len(store.read()) == 1

    lines = []
    again = run(jobs, store, lambda table: load(table, folder), tell=lines.append)
    assert len(lines) == 1
    assert [each.score for each in again] == [each.score for each in whole]
    assert len(store.read()) == 2  # the new line did not continue the broken one


def test_lines_of_another_form_are_left_out(store):
    store.path.parent.mkdir()
    store.path.write_text('[1]\n{"key": "a"}\n"text"\nnull\n\n')
    assert store.read() == {}


def test_a_failure_is_recorded_and_the_run_goes_on(folder, store):
    jobs = jobs_of(BREAKS, LINEAR, seeds=(0,))
    broken, linear = run(jobs, store, lambda table: load(table, folder))
    assert broken.error == "ZeroDivisionError: no luck today"
    assert broken.score is broken.fit_seconds is broken.predict_seconds is None
    assert linear.error == ""
    assert all(json.loads(line)["key"] for line in store.path.read_text().splitlines())


def test_predictions_that_are_not_finite_are_a_failure(folder, store):
    late = model("late", f"{__name__}:Breaks", how="nan")
    (outcome,) = run([Job(TINY, 0, late)], store, lambda table: load(table, folder))
    assert outcome.error.startswith("ValueError") and "NaN" in outcome.error
    assert outcome.score is None
    assert outcome.fit_seconds > 0


def test_a_model_that_cannot_be_made_is_a_failure(folder, store):
    wrong = ours("wrong", {"no_such_parameter": 1})
    (outcome,) = run([Job(TINY, 0, wrong)], store, lambda table: load(table, folder))
    assert "no_such_parameter" in outcome.error


def test_failures_are_tried_again_when_asked(folder, store, monkeypatch):
    jobs = jobs_of(BREAKS, LINEAR, seeds=(0,))
    run(jobs, store, lambda table: load(table, folder))
    lines = []
    monkeypatch.setattr(Breaks, "fit", lambda self, X, y: self)
    monkeypatch.setattr(Breaks, "predict", lambda self, X: np.zeros(len(X)))
    run(jobs, store, lambda table: load(table, folder), tell=lines.append)
    assert lines == []
    retried, _ = run(
        jobs, store, lambda table: load(table, folder), retry=True, tell=lines.append
    )
    assert len(lines) == 1
    assert retried.error == ""
    assert store.read()[retried.key] == retried  # the later line counts


def test_warnings_are_recorded(folder, store):
    short = ours("short", {"max_iter": 1, "hidden_layer_sizes": 2})
    (outcome,) = run([Job(TINY, 0, short)], store, lambda table: load(table, folder))
    assert outcome.warned == ("ConvergenceWarning",)
    assert store.read()[outcome.key] == outcome


def test_keys_hash_what_matters(monkeypatch):
    job = Job(TINY, 0, ours())
    others = [
        replace(job, seed=1),
        replace(job, limits=(10, 10)),
        replace(job, table=replace(TINY, drop=("leak",))),
        replace(job, model=ours(settings={"alpha": 1})),
        replace(job, model=ours(encoded=True)),
        replace(job, model=LINEAR),
    ]
    keys = {each.key for each in (job, *others)}
    assert len(keys) == 7
    assert replace(job, model=ours("another name")).key == job.key
    monkeypatch.setattr(runs, "version_of", lambda package: "another version")
    assert job.key not in keys


def test_the_version_of_ours_is_its_source(tmp_path, monkeypatch):
    file = tmp_path / "module.py"
    monkeypatch.setattr(models, "_source", lambda package: [file])
    versions = []
    for text in ("x = 1", "x = 2", "x = 1"):
        file.write_text(text)
        versions.append(models.version_of.__wrapped__("sklearn_ann"))
    assert versions[0] == versions[2] != versions[1]


def test_two_names_for_one_model_are_one_fit(folder, store):
    twin = replace(MEAN, name="twin")
    lines = []
    outcomes = run(
        jobs_of(MEAN, twin, seeds=(0,)),
        store,
        lambda table: load(table, folder),
        tell=lines.append,
    )
    assert len(lines) == 1
    assert [each.model for each in outcomes] == ["mean", "twin"]


# Gains


def outcome(table, task, name, seed, reached, **more):
    key = f"{table} {name} {seed}"
    return Outcome(key, table, task, name, seed, 1.0, 0.1, reached, **more)


def grid(scores, task="regression"):
    """Outcomes from ``{(table, model): scores over the seeds}``."""
    return [
        outcome(table, task, name, seed, reached, error="" if reached else "broken")
        for (table, name), over_seeds in scores.items()
        for seed, reached in enumerate(over_seeds)
    ]


SCORES = {
    ("a", "linear"): [0.5, 0.7],
    ("a", "ours"): [0.8, 0.6],
    ("b", "linear"): [0.2, 0.2],
    ("b", "ours"): [0.1, 0.1],
}


def test_gains_are_of_mean_scores():
    gains = gains_by_table(frame_of(grid(SCORES)))
    assert_allclose(gains["linear"], [0, 0])
    assert_allclose(gains["ours"], [0.25, -0.125])


def test_a_set_without_all_its_seeds_does_not_count():
    for outcomes in (grid({**SCORES, ("b", "ours"): [0.1, None]}), grid(SCORES)[:-1]):
        frame = frame_of(outcomes)
        gains = gains_by_table(frame)
        assert_allclose(gains["ours"], [0.25, np.nan])
        row = summary(frame).loc["ours"]
        assert (row["sets"], row["mean_gain"]) == (1, pytest.approx(0.25))
        assert row["mean_rank"] == 1.5  # first on a, last on b


def test_without_the_linear_model_there_are_no_gains():
    frame = frame_of(grid({**SCORES, ("b", "linear"): [None, None]}))
    assert gains_by_table(frame).loc["b"].isna().all()


def test_summary():
    result = summary(frame_of(grid(SCORES)))
    row = result.loc["ours"]
    assert row["mean_gain"] == pytest.approx(0.0625)
    assert (row["minimum_gain"], row["minimum_at"]) == (pytest.approx(-0.125), "b")
    assert list(result["mean_rank"]) == [1.5, 1.5]
    assert (row["fit_seconds"], row["predict_seconds"]) == (1, 0.1)
    assert np.isnan(row["calibration_error"])


def test_paired_tests_have_sets_as_observations():
    first = pd.Series([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    test = paired(first, pd.Series(0.0, first.index))
    assert (test.n, test.better, test.difference) == (6, 6, pytest.approx(0.35))
    assert test.p_value == pytest.approx(2 / 2**6)  # all signs alike, two-sided


def test_paired_tests_leave_out_sets_without_both_gains():
    test = paired(pd.Series([0.1, np.nan, 0.3]), pd.Series([0.0, 0.2, 0.5]))
    assert (test.n, test.better, test.difference) == (2, 1, pytest.approx(-0.05))
    same = pd.Series([0.1, 0.2])
    assert paired(same, same).p_value == 1
    nothing = paired(pd.Series([np.nan]), pd.Series([1.0]))
    assert nothing.n == 0 and np.isnan(nothing.p_value)


# Report


def test_the_report_says_what_failed():
    scores = {
        ("tiny", "linear"): [0.5, 0.7],
        ("tiny", "ours"): [0.8, None],
        ("tiny", "better"): [0.9, 0.9],
    }
    models_ = [LINEAR, ours(), variant("better=alpha=1")]
    parts = sections(grid(scores), models_, [TINY])
    text = to_text(parts, models_)
    assert "tiny  1     ours   broken" in text
    assert "0 of 1" in text
    rows = {part.title: part.rows for part in parts}
    assert rows["Gain over the linear model"][1] == (
        *("tiny", "regression"),
        *("+0.000", "-", "+0.750"),
    )
    assert rows["Paired tests"][3] == (
        "better against linear",
        "+0.750",
        "1 of 1 sets",
        "1.000",
    )
    assert "ANNRegressor(alpha=1)" in text
    assert "log(price)" in text
    assert "Accuracy and AUC" not in rows


def test_the_report_of_classes_is_markdown():
    measures = {"accuracy": 0.9, "auc": 0.95, "calibration_error": 0.02}
    outcomes = [outcome("classes", "binary", "linear", 0, 0.3, **measures)]
    page = to_markdown(sections(outcomes, [LINEAR], [CLASSES]), [LINEAR])
    assert "| classes | 0.900 / 0.950 |" in page
    assert "| linear | +0.000 | +0.000 (classes) | 1.00 | 0.020 |" in page
    assert "## Paired tests" not in page  # there is no model of ours


# Command


def test_variants_are_read_without_running_them():
    made = variant("wide=n_estimators=8, activation='gelu', hidden_layer_sizes=(9, 9)")
    assert made.name == "wide"
    assert made.regressor.settings == {
        "n_estimators": 8,
        "activation": "gelu",
        "hidden_layer_sizes": (9, 9),
    }
    assert variant("plain=", encoded=True).columns == "numbers"


@pytest.mark.parametrize(
    "text",
    [
        "n_estimators",
        "a=8",
        "a=b",
        "a=b=print()",
        "a=**{'b': 1}",
        "a=b=1) + dict(c=2",
        "two words=b=1",
        "=b=1",
        "a=b=(",
        "a=b=1, b=2",
    ],
)
def test_variants_that_cannot_be_read(text):
    with pytest.raises(ValueError, match="expected NAME="):
        variant(text)


def test_absent_peers_are_left_out_and_said(capsys, monkeypatch):
    absent = replace(MEAN, name="absent", package="no_such_package")
    monkeypatch.setattr(command, "PEERS", (LINEAR, absent))
    options = command.parser().parse_args([])
    options.models = ["absent", "ours"]
    chosen = [each.name for each in command.chosen_models(options)]
    assert chosen == ["linear", "ours"]
    assert "absent is left out: no package no_such_package" in capsys.readouterr().out


def test_peers_are_imported_on_use(folder, store, tmp_path, monkeypatch):
    (tmp_path / "broken_peer.py").write_text("raise ImportError('no such luck')")
    monkeypatch.syspath_prepend(tmp_path)
    call = Call("broken_peer:Regressor")
    peer = Model("peer", "broken_peer", call, call)
    assert models.is_installed(peer)
    (outcome,) = run([Job(TINY, 0, peer)], store, lambda table: load(table, folder))
    assert outcome.error == "ImportError: no such luck"


@pytest.fixture
def benchmark(folder, monkeypatch):
    """Run the command on the two tiny sets."""
    monkeypatch.setattr(command, "TABLES", (TINY, CLASSES))
    monkeypatch.setattr(command, "one_core", lambda: None)
    places = ["--data", str(folder), "--store", str(folder / "results.jsonl")]
    return lambda *arguments: command.main([*places, *arguments])


def test_the_command(benchmark, folder, capsys):
    page = folder / "page.md"
    small = "small=max_iter=2, hidden_layer_sizes=3"
    benchmark(
        *("--models", "linear", "mlp_es", "--ours", small),
        *("--seeds", "0", "--markdown", str(page)),
    )
    text = capsys.readouterr().out
    assert "6/6  classes  seed 0  small" in text
    assert "small against mlp_es" in text
    assert page.read_text().count("\n## ") == 8

    benchmark("--models", "linear", "--only", "tiny", "--cached", "--seeds", "0", "1")
    text = capsys.readouterr().out
    assert "seed 0  linear" not in text  # nothing was fitted
    assert "binary" not in text
    assert "Seeds: 0." in text


def test_the_ablation(benchmark, capsys, monkeypatch):
    few = {"max_iter": 2, "hidden_layer_sizes": 3, "n_estimators": 1}
    monkeypatch.setattr(ablation, "WITHOUT", (ours("no skip", {"linear_skip": False}),))
    monkeypatch.setattr(ablation, "INSTEAD", (ours("few", few),))
    benchmark("--ablation", "--seeds", "0")
    text = capsys.readouterr().out
    assert "8/8  classes  seed 0  few" in text
    tables = text[text.index("What each ingredient is worth") :]
    own = [line for line in tables.splitlines() if line.startswith("the defaults ")]
    assert [line.split()[-4:-1] for line in own] == [["-", "-", "-"]] * 2
    assert "no skip" in tables and "of 2 sets" in tables


def test_models_of_the_ablation_can_be_made(folder):
    X = load(TINY, folder).X
    names = [each.name for each in (*ablation.WITHOUT, *ablation.INSTEAD)]
    assert len(set(names)) == len(names) and "ours" not in names
    for each in (*ablation.WITHOUT, *ablation.INSTEAD):
        for task in ("regression", "binary"):
            made = models.make(each, X, task, 7)[-1]
            getattr(made, "estimator", made)._validate_params()
            assert getattr(made, "estimator", made).random_state == 7


@pytest.mark.filterwarnings(
    "ignore:Training reached max_iter:sklearn.exceptions.ConvergenceWarning"
)
def test_changes_of_the_ablation_take_effect_and_end():
    X = np.linspace(-1, 1, 300)[:, None]
    y = 3.0 * X[:, 0] + np.random.default_rng(0).normal(scale=0.01, size=300)

    def fitted(change=None):
        options = {"max_iter": 1, "learning_rate_init": 1e-12, "random_state": 0}
        network = ANNRegressor(n_estimators=2, **options)
        if change is not None:
            ablation.Changed(network, change).fit(X, y)
        else:
            network.fit(X, y)
        return network

    def first_score(network):
        return min(each.validation_scores_[0] for each in network.estimators_)

    def embedding(network):
        return network.estimators_[0]._model.architecture.embeddings[0]

    networks = {change: fitted(change) for change in ablation.CHANGES}
    own = fitted()
    assert own.stays_linear_ and first_score(own) > -0.01
    assert first_score(networks["start at zero"]) < -0.1
    assert not networks["leave on any gain"].stays_linear_
    sizes = {name: embedding(each).size for name, each in networks.items()}
    assert (sizes["16 bins"], sizes["64 bins"], embedding(own).size) == (16, 64, 32)
    assert embedding(networks["8 numbers a column"]).width == 8


def test_changes_of_the_pace():
    shares = np.array([0.4, 0.1, 0.0])
    for change, exponent in (("sizes", 1 / 2), ("fourth root", 1 / 4)):
        with ablation.CHANGES[change]():
            assert relevance.paces(shares).tolist() == [1.0, 0.25**exponent, 0.0]
    with ablation.CHANGES["slowly"]():
        assert relevance.paces(shares).tolist() == [1.0, 0.25**0.375, 0.03]


def test_changes_of_whether_columns_enter():
    X = np.random.default_rng(0).normal(size=(400, 4))
    y = X[:, 0] * X[:, 1] + X[:, 2]

    def paces(change):
        network = ANNRegressor(n_estimators=1, max_iter=1, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ablation.Changed(network, change).fit(X, y)
        return network.column_paces_

    assert paces("one pace") is None
    assert paces("no scouts")[:2].min() > 0.5
    with ablation.CHANGES["no scouts"]():  # they might change what is asked here
        assert paces("alone")[:2].min() < 0.5


def test_ours_get_the_table_unless_encoded(folder):
    arguments = ["--models", "ours", "--ours", "a=alpha=1"]
    chosen = command.chosen_models(command.parser().parse_args(arguments))
    assert [each.columns for each in chosen] == ["numbers", "raw", "raw"]
    encoded = command.parser().parse_args(["--encoded", *arguments])
    assert {each.columns for each in command.chosen_models(encoded)} == {"numbers"}
    X = load(TINY, folder).X
    assert models.make(chosen[1], X, "regression", 0)[:-1].fit_transform(X) is X


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ours", "linear=alpha=1"], "two models named 'linear'"),
        (["--ours", "alpha=1"], "expected NAME="),
        (["--cached"], "has no result"),
        (["--data", "/no/such/folder"], "--install"),
    ],
)
def test_bad_requests_end_in_one_line(benchmark, arguments, message):
    with pytest.raises(SystemExit, match=message):
        benchmark("--models", "linear", *arguments)


def test_install_fetches_every_package_once(folder, benchmark, monkeypatch):
    called = []
    monkeypatch.setattr(
        "benchmarks.accuracy.sets.subprocess.run",
        lambda arguments, check: called.append((arguments, check)),
    )
    benchmark("--install")
    ((arguments, check),) = called
    assert check and "--no-deps" in arguments
    assert arguments[arguments.index("--target") + 1] == str(folder)
    wanted = [each for each in arguments if "==" in each]
    assert set(wanted) == {table.package for table in TABLES}
    assert len(wanted) == len(set(wanted))
