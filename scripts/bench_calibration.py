"""Compare all posteriors on three data sets by accuracy, calibration, usefulness of the uncertainty, and cost.

python scripts/bench_calibration.py --model MODEL_FOLDER --data DATA_FOLDER --out STUDY_FOLDER

DATA_FOLDER holds the folders ``obqa`` and ``boolq``, each with ``train.jsonl`` and ``test.jsonl``. BBC news is
downloaded as ``star-al demo`` does. If a run is killed, the same command continues it. ``--report`` prints the tables
of all finished cells and writes the tables and plots to STUDY_FOLDER; it also works during a run.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path

from calibration_cells import BASE, MAKING, METHODS, NEWS, Cell, run_cell, start_worker, write_json
from calibration_data import SETS, Settings
from calibration_report import Record, expected_seconds, measures, read_records, report, write_plots

from star_al.app.compose import posterior_method
from star_al.app.demo import fetch_news


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="the study's folder")
    parser.add_argument("--model", help="folder of SmolLM2-135M-Instruct; `star-al demo` makes one")
    parser.add_argument("--data", type=Path, help="folder of obqa and boolq")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(5)))
    parser.add_argument("--labels", nargs="+", type=int, default=[50, 100, 200, 400])
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--test-size", type=int, default=500)
    parser.add_argument("--ood-size", type=int, default=200, help="texts from the two other sets")
    parser.add_argument(
        "--calibration", type=int, default=30, help="labels that the temperature is fitted on"
    )
    parser.add_argument(
        "--samples", type=int, default=10, help="posterior samples of the methods that can draw any number"
    )
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--layers", type=int, help="adapt only this many of the last blocks; default: all")
    parser.add_argument("--jobs", type=int, default=2, help="worker processes; they share the cores")
    parser.add_argument(
        "--report", action="store_true", help="run nothing; write tables and plots of the finished cells"
    )
    found = parser.parse_args(arguments)
    if not found.report and (found.model is None or found.data is None):
        parser.error("a run needs --model and --data")
    return found


def plan(arguments: argparse.Namespace, known: Sequence[str]) -> list[Cell]:
    """List all cells in running order: set by set, then by labels and method, the seeds of a method together."""
    methods = [method for method in arguments.methods if method in known]
    return [
        cell
        for name in arguments.sets
        for cell in (
            Cell(name, arguments.seeds[0], 0, BASE),
            *(
                Cell(name, seed, labels, method)
                for labels in arguments.labels
                for method in methods
                for seed in arguments.seeds
            ),
        )
    ]


def registered(methods: Sequence[str]) -> list[str]:
    """Return the methods that star_al has, and print a line for each one that it lacks."""
    known = []
    for name in methods:
        try:
            posterior_method(METHODS[name](2))
            known.append(name)
        except KeyError:
            print(f"{name}: star_al has no such method; left out.")
    return known


def open_study(arguments: argparse.Namespace) -> Settings:
    """Return the settings of the study; exit if the folder holds cells of other settings."""
    settings = Settings(
        model=str(Path(arguments.model).resolve()),
        data=str(arguments.data.resolve()),
        test_size=arguments.test_size,
        ood_size=arguments.ood_size,
        calibration=arguments.calibration,
        samples=arguments.samples,
        epochs=arguments.epochs,
        layers=arguments.layers,
    )
    shutil.rmtree(arguments.out / MAKING, ignore_errors=True)  # of a run that was killed
    for folder in ("cells", "adapters", MAKING):
        (arguments.out / folder).mkdir(parents=True, exist_ok=True)
    file = arguments.out / "settings.json"
    if not file.exists():
        write_json(file, asdict(settings))
    if json.loads(file.read_text()) != asdict(settings):
        sys.exit(f"{file}: this study has other settings. Name another folder with --out.")
    return settings


def run(arguments: argparse.Namespace) -> int:
    """Run all cells that have no record yet; return how many failed."""
    settings = open_study(arguments)
    news, cells = arguments.out / NEWS, arguments.out / "cells"
    if not news.exists():
        news.write_text("".join(json.dumps(row) + "\n" for row in fetch_news(print)))
    wanted = plan(arguments, registered(arguments.methods))
    todo = [cell for cell in wanted if not (cells / f"{cell.name}.json").exists()]
    print(f"{len(wanted)} cells, {len(wanted) - len(todo)} of them done.", flush=True)
    threads = max(1, (os.cpu_count() or 1) // arguments.jobs)
    os.environ["OMP_NUM_THREADS"] = str(threads)  # read by the workers, when they import torch
    with ProcessPoolExecutor(
        arguments.jobs,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=start_worker,
        initargs=(settings, arguments.out, threads),
    ) as pool:
        cell_of = {pool.submit(run_cell, cell, cells / f"{cell.name}.json"): cell for cell in todo}
        return watch(cell_of, read_records(cells), arguments.jobs)


def watch(cell_of: Mapping[Future[Record], Cell], records: list[Record], jobs: int) -> int:
    """Print a line for each cell that ends; return how many failed."""
    left, failed = set(cell_of.values()), 0
    for future in as_completed(cell_of):
        cell = cell_of[future]
        left.discard(cell)
        try:
            records.append(future.result())
        except Exception as exc:  # whatever it was, the other cells go on
            failed += 1
            print(f"{cell.name}: FAILED. {type(exc).__name__}: {exc}", flush=True)
            continue
        coming = sum(expected_seconds(records, one.set, one.labels, one.method) for one in left) / jobs
        print(f"{line_of(records[-1])}; {len(left)} left, about {coming / 60:.0f} minutes", flush=True)
    return failed


def line_of(record: Record) -> str:
    """Summarise a finished cell in one line."""
    cell = Cell(record["set"], record["seed"], record["labels"], record["method"])
    raw, seconds = measures(record)["raw"], record["seconds"]
    return (
        f"{time.strftime('%H:%M:%S')} {cell.name}: accuracy {raw['accuracy']:.3f}, NLL {raw['nll']:.3f}, "
        f"ECE {raw['ece']:.3f}; CPU seconds: train {seconds['train']:.0f}, score {seconds['score']:.0f}; "
        f"{max(record['peak_mib'].values()):.0f} MiB"
    )


def main() -> None:
    arguments = parse(sys.argv[1:])
    failed = 0 if arguments.report else run(arguments)
    records = read_records(arguments.out / "cells")
    if records:
        text = report(records)
        (arguments.out / "report.md").write_text(text, encoding="utf-8")
        print(text)
        for path in write_plots(records, arguments.out):
            print(path)
    sys.exit(min(failed, 1))


if __name__ == "__main__":
    main()
