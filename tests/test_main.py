"""The command line: what it prints, what it reads, and how it refuses wrong input."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold

from sklearn_ann import __main__ as command_line
from sklearn_ann.comparison_result import Comparison, Metric
from sklearn_ann.tables import (
    MAX_CATEGORIES,
    load_wages,
    make_problem,
    preprocessing,
    read_table,
)

N_ROWS = 120


def make_table():
    """Numbers, text and holes; the target is linear in them, with a little noise."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "schooling": rng.integers(8, 18, N_ROWS),
            "experience": rng.uniform(0, 40, N_ROWS),
            "sector": rng.choice(["farm", "trade", "state"], N_ROWS),
            "union": rng.integers(0, 2, N_ROWS).astype(bool),
        }
    )
    pay = 0.1 * table["schooling"] + 0.02 * table["experience"] + 0.2 * table["union"]
    table["pay"] = pay + 0.1 * rng.normal(size=N_ROWS)
    table["rich"] = np.where(table["pay"] > table["pay"].median(), "yes", "no")
    table.loc[:3, "experience"] = np.nan
    table.loc[2:5, "sector"] = None
    return table


@pytest.fixture(scope="module")
def csv(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "pay.csv"
    make_table().to_csv(path, index=False)
    return str(path)


# What it prints ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def regression(csv):
    """One run as a user starts it, in JSON."""
    command = [sys.executable, "-m", "sklearn_ann", "compare", csv, "--target", "pay"]
    options = ["--drop", "rich", "--folds", "4", "--json"]
    return subprocess.run(
        [*command, *options], capture_output=True, text=True, check=True
    )


def test_the_module_runs_and_prints_json(regression):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    answer = json.loads(regression.stdout, parse_constant=refuse)
    assert answer["task"] == "regression"
    assert answer["target"] == "pay"
    assert answer["columns"] == ["schooling", "experience", "sector", "union"]
    assert list(answer["models"]) == ["OLS", "network"]
    assert answer["metrics"]["RMSE"] == {"greater_is_better": False}
    assert answer["models"]["OLS"]["R2"]["difference"] is None
    network, ols = answer["models"]["network"]["R2"], answer["models"]["OLS"]["R2"]
    assert network["difference"] == pytest.approx(network["mean"] - ols["mean"])
    assert 0 <= network["p_value"] <= 1
    assert network["mean"] > 0.5
    assert answer["models"]["OLS"]["fit_seconds"] > 0
    assert "\r" not in regression.stderr, "no progress bar where there is no terminal"


def test_ols_is_ols_on_dummies_in_the_same_folds(regression):
    """An independent computation: the first fold by hand, with pandas' dummies."""
    answer = json.loads(regression.stdout)
    table = make_table().drop(columns="rich")
    scores = []
    for train, test in KFold(4, shuffle=True, random_state=0).split(table):
        known = table.fillna({"experience": table["experience"].iloc[train].mean()})
        X = pd.get_dummies(
            known.drop(columns="pay"), columns=["sector"], dummy_na=True
        ).to_numpy(float)
        y = table["pay"].to_numpy()
        model = LinearRegression().fit(X[train], y[train])
        scores.append(r2_score(y[test], model.predict(X[test])))
    expected = np.mean(scores)
    assert answer["models"]["OLS"]["R2"]["mean"] == pytest.approx(expected, rel=1e-9)


def test_table_for_people(run, csv):
    code, out, _ = run(csv, "--target", "pay", "--drop", "rich", "--folds", 3)
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    for word in ("OLS", "network", "R2", "RMSE", "difference", "seconds", "pay"):
        assert word in out
    flat = " ".join(out.split())
    assert f"({N_ROWS} rows)" in flat
    assert "If the two predicted equally well" in flat


def test_classes_are_compared_with_the_unpenalised_logit(run, csv):
    arguments = (csv, "--target", "rich", "--drop", "pay", "--folds", 3)
    code, out, _ = run(*arguments)
    assert code == 0
    for word in ("logit", "log loss", "accuracy", "AUC"):
        assert word in out
    answer = json.loads(run(*arguments, "--json")[1])
    problem = make_problem(make_table(), "rich", drop=["pay"])
    models = command_line._models(problem, seed=0, device="cpu")
    assert models["logit"][-1].get_params()["C"] == np.inf
    assert isinstance(models["logit"][-1], LogisticRegression)
    assert answer["task"] == "classification"
    assert answer["models"]["network"]["accuracy"]["mean"] > 0.6


def test_without_data_it_takes_the_wages(run):
    code, out, _ = run("--folds", 3)
    assert code == 0
    assert "log_wage" in out
    assert "3000 rows" in " ".join(out.split())


def test_seed_and_repeats(run, csv):
    arguments = (csv, "--target", "pay", "--drop", "rich", "--folds", 2, "--json")

    def scores(*more):
        models = json.loads(run(*arguments, *more)[1])["models"]
        return [models["OLS"]["R2"]["mean"], models["network"]["R2"]["mean"]]

    first = scores("--seed", 1)
    assert scores("--seed", 1) == first
    assert scores("--seed", 2)[0] != first[0]
    assert scores("--repeats", 2) != scores("--repeats", 1)


def make_result(gaps, greater_is_better=True):
    """A comparison in which the network's score is the linear model's plus the gaps."""
    scores = np.stack([np.full((1, 5), 0.5), 0.5 + np.reshape(gaps, (1, 5))])
    return Comparison(
        models=("OLS", "network"),
        baseline="OLS",
        metrics=(Metric("score", None, greater_is_better),),
        scores=scores,
        fit_seconds=np.ones((2, 5)),
        n_parameters=np.ones((2, 5)),
        n_train=np.full(5, 80),
        n_test=np.full(5, 20),
    )


SURE = np.array([0.10, 0.11, 0.10, 0.09, 0.10])
UNSURE = np.array([0.10, -0.11, 0.05, -0.09, 0.07])


@pytest.mark.parametrize(
    ("gaps", "greater_is_better", "verdict", "times", "p"),
    [
        (
            SURE,
            True,
            "evidence that the network predicts better",
            "fewer than 1",
            "p < ",
        ),
        (
            -SURE,
            True,
            "evidence that the network predicts worse",
            "fewer than 1",
            "p < ",
        ),
        (
            -SURE,
            False,
            "evidence that the network predicts better",
            "fewer than 1",
            "p <",
        ),
        (UNSURE, True, "do not tell the two apart", "about 95", "p = 0.954"),
        (0 * SURE, True, "do not tell the two apart", "about 100", "p = 1.000"),
    ],
)
def test_the_conclusion_follows_sign_direction_and_p(
    gaps, greater_is_better, verdict, times, p
):
    text = command_line._conclusion(make_result(gaps, greater_is_better))
    flat = " ".join(text.split())
    assert verdict in flat
    assert f"{times} of 100" in flat
    assert p in flat
    assert f"the score of the network is {0.5 + gaps.mean():.4f}" in flat


def test_warnings_come_once_and_quiet_hides_them(run, tmp_path):
    table = make_table()
    table["town"] = np.where(
        np.arange(N_ROWS) % 40 == 0, "rare" + table.index.astype(str), "x"
    )
    path = tmp_path / "towns.csv"
    table.to_csv(path, index=False)
    arguments = (path, "--target", "pay", "--drop", "rich", "--folds", 3)
    code, _, err = run(*arguments)
    lines = err.splitlines()
    assert code == 0
    assert lines
    assert all(line.startswith("warning: ") for line in lines)
    assert len(set(lines)) == len(lines)
    assert run(*arguments, "--quiet")[2] == ""


# What it reads -----------------------------------------------------------------------


def write(table, path):
    writers = {".csv": table.to_csv, ".parquet": table.to_parquet}
    if path.suffix == ".dta":
        table = table.assign(sector=table["sector"].astype("category"))
        table.to_stata(path, write_index=False)
    else:
        writers[path.suffix](path, index=False)


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".dta"])
def test_all_formats_give_the_same_numbers(suffix, csv, tmp_path):
    path = tmp_path / f"pay{suffix}"
    write(make_table(), path)
    problem = make_problem(read_table(path), "pay")
    expected = make_problem(read_table(csv), "pay")
    assert problem.task == "regression"
    np.testing.assert_allclose(problem.y, expected.y, rtol=1e-12)
    encoded = preprocessing(problem.X).fit_transform(problem.X)
    np.testing.assert_allclose(
        encoded, preprocessing(expected.X).fit_transform(expected.X), rtol=1e-9
    )


def test_stata_labels_that_repeat_become_codes(tmp_path):
    path = tmp_path / "labels.dta"
    table = pd.DataFrame({"y": [1.0, 2, 3], "kind": [1, 2, 3]})
    labels = {"kind": {1: "a", 2: "a", 3: "b"}}
    table.to_stata(path, write_index=False, value_labels=labels)
    assert list(read_table(path)["kind"]) == [1, 2, 3]


@pytest.mark.parametrize(
    ("values", "task"),
    [
        (["a", "b", "c"], "classification"),
        ([True, False, True], "classification"),
        (pd.Categorical(["a", "b", "b"]), "classification"),
        ([0, 1, 1], "classification"),
        ([1.5, 2.5, 2.5], "classification"),
        ([0, 1, 2], "regression"),
        ([0.1, 0.2, 0.3], "regression"),
    ],
)
def test_the_target_tells_the_task(values, task):
    problem = make_problem(pd.DataFrame({"x": [1, 2, 3], "y": values}), "y")
    assert problem.task == task


def test_the_task_can_be_said():
    table = pd.DataFrame({"x": range(6), "y": [0, 1, 0, 1, 0, 1]})
    problem = make_problem(table, "y", task="regression")
    assert (problem.task, problem.y.dtype) == ("regression", float)


def test_rows_without_target_and_empty_columns_go():
    table = pd.DataFrame(
        {"x": [1.0, 2, np.inf, 4], "empty": [None] * 4, "y": [1.0, 2, 3, np.nan]}
    )
    problem = make_problem(table, "y")
    assert list(problem.X.columns) == ["x"]
    assert problem.n_incomplete == 1
    assert np.isnan(problem.X["x"].iloc[2]), "infinite inputs are missing"


def test_names_and_addresses_share_a_column():
    X = pd.DataFrame({"name": [f"person {i}" for i in range(200)]})
    problem = make_problem(X.assign(y=np.arange(200.0)), "y")
    assert preprocessing(problem.X).fit_transform(problem.X).shape[1] < MAX_CATEGORIES


def test_the_wages():
    wages = load_wages()
    assert wages.shape == (3000, 9)
    assert not wages.isna().any(axis=None)
    assert wages["log_wage"].mean() == pytest.approx(4.653905, abs=1e-5)


# What it refuses ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{csv}"], "--target COLUMN"),
        (["{csv}", "--target", "wage"], "no column 'wage'"),
        (["{csv}", "--target", "pay", "--drop", "wage"], "no column 'wage'"),
        (["{csv}", "--target", "pay", "--drop", "pay"], "cannot be dropped"),
        (["{csv}", "--target", "sector", "--task", "regression"], "not a number"),
        (["{csv}", "--target", "pay", "--task", "classification"], "classes"),
        (["{csv}", "--target", "pay", "--folds", "61"], "too few for 61 folds"),
        (["{csv}", "--target", "pay", "--folds", "1"], "expected 2 or more"),
        (["{csv}", "--target", "pay", "--folds", "x"], "invalid whole number"),
        (["{csv}", "--target", "pay", "--repeats", "0"], "expected 1 or more"),
        (["{csv}", "--target", "pay", "--device", "cuda:77"], "cuda:77"),
        (["{csv}", "--target", "pay", "--device", "abacus"], "abacus"),
        (["{csv}", "--target", "pay", "--colour"], "unrecognized arguments"),
        (["{folder}/none.csv", "--target", "y"], "no file"),
        (["{folder}", "--target", "y"], "no file"),
        (["{folder}/pay.xlsx", "--target", "y"], "ends in one of"),
        (["{folder}/broken.parquet", "--target", "y"], "cannot be read"),
        (["{folder}/broken.dta", "--target", "y"], "cannot be read"),
        (["{folder}/empty.csv", "--target", "y"], "cannot be read"),
        (["{folder}/header.csv", "--target", "y"], "expected rows"),
        (["{folder}/odd.csv", "--target", "constant"], "two different values"),
        (["{folder}/odd.csv", "--target", "rare"], "fewer than the 5 folds"),
        (["{folder}/odd.csv", "--target", "infinite"], "infinite"),
        (["{folder}/dates.parquet", "--target", "y"], "holds dates"),
        (
            ["{folder}/odd.csv", "--target", "rare", "--drop", "constant", "infinite"],
            "no column left",
        ),
    ],
)
def test_wrong_input_ends_with_one_line(arguments, message, run, csv, bad_files):
    filled = [each.format(csv=csv, folder=bad_files) for each in arguments]
    code, out, err = run(*filled)
    assert code == 2
    assert out == ""
    assert message in err
    assert len(err.splitlines()) == 1
    assert "error: " in err


@pytest.fixture(scope="module")
def bad_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    for name in ("pay.xlsx", "broken.parquet", "broken.dta"):
        (folder / name).write_bytes(b"not a table")
    (folder / "empty.csv").write_text("")
    (folder / "header.csv").write_text("x,y\n")
    pd.DataFrame(
        {
            "constant": 1,
            "rare": ["a"] * 38 + ["b"] * 2,
            "infinite": [np.inf, *range(39)],
        }
    ).to_csv(folder / "odd.csv", index=False)
    pd.DataFrame(
        {"when": pd.date_range("2020", periods=40), "y": np.arange(40.0)}
    ).to_parquet(folder / "dates.parquet")
    return folder


def test_parquet_without_pyarrow_says_what_to_install(run, tmp_path, monkeypatch):
    path = tmp_path / "pay.parquet"
    path.touch()

    def no_engine(path):
        raise ImportError("Unable to find a usable engine; and a long story")

    monkeypatch.setitem(
        command_line.read_table.__globals__["READERS"], ".parquet", no_engine
    )
    code, _, err = run(path, "--target", "y")
    assert code == 2
    assert "pip install pyarrow" in err
    assert len(err.splitlines()) == 1


def test_interrupted(run, csv, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(command_line, "compare", interrupt)
    assert run(csv, "--target", "pay") == (130, "", "")


def test_no_command_is_one_line(capsys):
    with pytest.raises(SystemExit) as stop:
        command_line.main([])
    assert stop.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_progress_bar_on_a_terminal_only(monkeypatch):
    assert command_line._bar(quiet=False).disable
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert not command_line._bar(quiet=False).disable
    assert command_line._bar(quiet=True).disable
