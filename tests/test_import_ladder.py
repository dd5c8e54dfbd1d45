"""Imports point downward only: the order of the modules, read from their source."""

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "sklearn_ann"

# Top to bottom. Modules on one rung do not import each other.
LADDER = (
    ("__main__",),
    ("comparison_json", "report"),
    ("tables",),
    (
        "plotting.comparison",
        "plotting.effects",
        "plotting.gradient_flow",
        "plotting.loss_curve",
        "plotting.network",
        "plotting.partial_effect",
        "size_comparison",
    ),
    ("comparison",),
    ("comparison_result", "full_sample", "nested_models", "scoring_folds"),
    ("comparison_tables", "fit_likelihood", "tested_rows"),
    ("comparison_frames", "comparison_metrics", "comparison_splits", "model_columns"),
    ("faces", "forecast_tests", "likelihoods", "score_tests"),
    ("coefficients", "effects", "marginaleffects_adapter", "specification"),
    ("plotting.diagram", "plotting.opening", "profiles"),
    ("specification_data", "specification_result", "variable_addition"),
    ("added_terms", "null_models"),
    ("inference",),
    ("bootstrapped", "debiased", "reseeded"),
    ("cross_fitting", "replicates", "riesz", "sandwich"),
    ("clusters", "copies", "functionals", "refits", "validity"),
    ("questions",),
    ("averaging", "estimates"),
    ("evaluation",),
    ("folded", "inputs", "moves"),
    ("combinations", "covariance", "fit_rows", "functions", "quantities", "rendering"),
    ("moved_rows",),
    ("columns", "hypotheses", "nearby", "optimum"),
    ("objective",),
    ("derivatives", "quantile_regression", "reading"),
    ("checkpoints", "onnx_export", "persistence"),
    ("estimators", "batching", "intervals", "onnx_network"),
    ("coordinating", "fitted", "members", "signatures", "states"),
    ("scouts", "waiting"),
    ("departures", "jobs"),
    ("defaults", "held_out", "watching"),
    ("fineness", "fitting"),
    ("assembly",),
    ("linear_starts",),
    ("requests",),
    ("docstrings", "guarding", "model", "parameters"),
    ("relevance",),
    ("design", "explained"),
    ("notebook", "onnx_graph"),
    ("encoding", "files", "frames", "memory", "resampling", "tails", "text"),
    ("arrays", "plotting.canvas"),
    ("values",),
    ("engine.evidence", "engine.training"),
    ("engine.course", "engine.quasi_newton"),
    ("engine.solvers",),
    ("engine.objective",),
    ("engine.lbfgs", "engine.newton", "engine.replaying"),
    ("engine.feeder", "engine.graphs", "engine.optimizers", "engine.penalties"),
    ("engine.inverse_hessian", "engine.line_search", "engine.schedules"),
    ("engine.fit", "engine.losses", "engine.network"),
    ("engine.entrance",),
    ("engine.architecture", "engine.mixed", "engine.passes"),
    ("engine.embeddings", "engine.layers", "engine.locations", "engine.rows"),
    ("engine.expansion",),
    ("engine.device", "engine.products", "engine.shuffling"),
)
RUNG = {module: rung for rung, modules in enumerate(LADDER) for module in modules}
ENGINE_MAY_IMPORT = {"torch", "numpy", "sklearn_ann", *sys.stdlib_module_names}


def module_name(path):
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


MODULES = {
    module_name(path): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.name != "__init__.py"  # these only collect the names of the others
}


def imported_modules(path):
    """Full names of what a file imports when it runs, at the top or in a function."""
    nodes = [ast.parse(path.read_text(encoding="utf-8"))]
    while nodes:
        node = nodes.pop(0)
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{source(node, path)}.{alias.name}" for alias in node.names)
        nodes[:0] = parts(node)


def parts(node):
    """Children of a node; imports for types only, which never run, are no children."""
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return node.orelse
    return list(ast.iter_child_nodes(node))


def source(node, path):
    """Full name of the module that a ``from`` names, relative or not."""
    if node.level == 0:
        return node.module
    package = path.relative_to(PACKAGE.parent).parts[: -node.level]
    return ".".join([*package, *filter(None, [node.module])])


def own_imports(path):
    """Modules of the package that a file imports, without the package's name."""
    for name in imported_modules(path):
        parts = name.split(".")
        if parts[0] != "sklearn_ann":
            continue
        candidates = [".".join(parts[1:end]) for end in range(len(parts), 1, -1)]
        found = [each for each in candidates if each in MODULES]
        assert found, f"{path.name} imports {name}: import the module that defines it"
        yield found[0]


@pytest.mark.parametrize("module", MODULES)
def test_every_module_has_its_rung(module):
    assert module in RUNG, f"put {module} on the ladder in {Path(__file__).name}"


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_downward(module):
    for imported in own_imports(MODULES[module]):
        assert RUNG[imported] > RUNG[module], f"{module} imports {imported}"


@pytest.mark.parametrize("module", [m for m in MODULES if m.startswith("engine.")])
def test_engine_imports_torch_and_numpy_only(module):
    # From a relative import comes the package's own full name.
    packages = {name.split(".")[0] for name in imported_modules(MODULES[module])}
    assert packages <= ENGINE_MAY_IMPORT


def test_the_reader_sees_imports(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path / "sklearn_ann")
    module = tmp_path / "sklearn_ann" / "engine" / "module.py"
    module.parent.mkdir(parents=True)
    module.write_text(
        "import torch.nn\n"
        "if TYPE_CHECKING:\n"
        "    from sklearn_ann.estimators import ANNRegressor\n"
        "def f():\n"
        "    from sklearn_ann.comparison import compare\n"
        "    from .. import tables\n"
        "    from ..text import number\n"
        "    from .device import threads\n"
    )
    assert list(own_imports(module)) == [
        "comparison",
        "tables",
        "text",
        "engine.device",
    ]
    assert "torch.nn" in list(imported_modules(module))
