"""Accuracy on sixteen real tables, of our defaults and of the peers'.

A killed run goes on where it was: results are kept in --store.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ..timing import one_core
from . import ablation
from .models import LINEAR, PEERS, Model, is_installed, ours, variant
from .report import sections, to_markdown, to_text
from .runs import Job, Outcome, Store, run
from .sets import TABLES, Table, install, load

BUILD = Path(__file__).parents[3] / "build" / "accuracy"
SEEDS = (0, 1, 2)


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit what is not known yet, print, and write the tables where asked."""
    options = parser().parse_args(arguments)
    if options.install:
        install(options.data)
        return
    one_core()
    tables = chosen_tables(options)
    try:
        models = chosen_models(options)
        outcomes = results(options, tables, models)
    except (ValueError, FileNotFoundError) as error:
        raise SystemExit(f"error: {error}") from error
    if options.ablation:
        parts = ablation.sections(outcomes)
    else:
        parts = sections(outcomes, models, tables)
    print(to_text(parts, models))
    if options.markdown:
        options.markdown.write_text(to_markdown(parts, models), encoding="utf-8")


def parser() -> argparse.ArgumentParser:
    """Say what the command line takes."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.accuracy",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--install", action="store_true", help="fetch the tables and stop")
    add("--data", type=Path, default=BUILD / "packages", help="where the tables are")
    add("--store", type=Path, default=BUILD / "results.jsonl", help="file of results")
    add("--only", nargs="+", choices=[table.name for table in TABLES], metavar="SET")
    names = [*(model.name for model in PEERS), "ours"]
    add("--models", nargs="+", choices=names, default=names, metavar="MODEL")
    add("--seeds", nargs="+", type=int, default=list(SEEDS), metavar="SEED")
    variants = "a variant of ours, NAME=\"n_estimators=8, activation='gelu'\""
    add("--ours", action="append", default=[], metavar="VARIANT", help=variants)
    add("--ablation", action="store_true", help="what each ingredient of ours is worth")
    add(
        "--encoded",
        action="store_true",
        help="give ours encoded columns, not the table",
    )
    add("--retry", action="store_true", help="try failures again")
    add("--cached", action="store_true", help="fit nothing, report what is known")
    add("--markdown", type=Path, metavar="FILE", help="write the tables to this file")
    return parser


def chosen_tables(options: argparse.Namespace) -> list[Table]:
    """Choose the sets that are asked for."""
    return [each for each in TABLES if not options.only or each.name in options.only]


def chosen_models(options: argparse.Namespace) -> list[Model]:
    """Models that are asked for and installed, the linear one always first.

    Raises
    ------
    ValueError
        For a variant that cannot be read, or that has another model's name.
    """
    asked = {LINEAR, *(["ours"] if options.ablation else options.models)}
    known = (*PEERS, ours(encoded=options.encoded))
    models = [model for model in known if model.name in asked]
    models += [*ablation.WITHOUT, *ablation.INSTEAD] if options.ablation else []
    models += [variant(text, options.encoded) for text in options.ours]
    names = [model.name for model in models]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"there are two models named {name!r}; rename the variant")
    for model in models:
        if not is_installed(model):
            how = "pip install -e '.[accuracy]'"
            print(f"{model.name} is left out: no package {model.package} ({how})")
    return [model for model in models if is_installed(model)]


def results(
    options: argparse.Namespace, tables: Sequence[Table], models: Sequence[Model]
) -> list[Outcome]:
    """Outcomes of all models on all sets and seeds; seeds are the outer loop.

    Raises
    ------
    FileNotFoundError
        If the tables are not there.
    ValueError
        If a table is not what it should be, or if nothing is known under --cached.
    """
    store = Store(options.store)
    jobs = [
        Job(table, seed, model)
        for seed in options.seeds
        for table in tables
        for model in models
    ]
    if options.cached:
        known = store.read()
        jobs = [job for job in jobs if job.key in known]
        if not jobs:
            raise ValueError(f"{options.store} has no result of these models")
    read = partial(load, folder=options.data)
    tell = partial(print, flush=True)  # a long run is watched through a pipe
    return run(jobs, store, read, retry=options.retry, tell=tell)


if __name__ == "__main__":
    main()
