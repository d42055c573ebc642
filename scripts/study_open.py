"""Measure how many labels a choice of texts saves where answers are open, on four sets and with several measures.

python scripts/study_open.py --model MODEL --data DATA --sets numbers calc --seeds 5
python scripts/study_open.py --report

A cell is one campaign: a set, an arm and a seed. It trains a LoRA at its start and at two further counts of labels, and
measures it each time. The first command runs the cells that are missing in ``docs/studies/data/open``, one small file
each; killed, the same command goes on. The second writes the tables of the finished cells into
``docs/studies/open-answers.md``.

DATA holds ``gsm8k/train.jsonl`` and ``gsm8k/test.jsonl``; sets made from BBC news need none. Everything runs in memory:
learner and rules are those of the product, the loop and its database are left out.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
for name in THREADS:  # before NumPy is imported: a process of the study uses one core
    os.environ.setdefault(name, "1")

from open_arms import ARMS  # noqa: E402
from open_cells import Cell, OpenCells, keep, missing, planned, run  # noqa: E402
from open_run import SharedModel  # noqa: E402
from open_sets import SETS, Row  # noqa: E402
from side_by_side import finished  # noqa: E402

from star_al.config.defaults import DEFAULT_MODEL  # noqa: E402
from star_al.errors import StarALError  # noqa: E402

DOCS = Path(__file__).parents[1] / "docs" / "studies"


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default=DEFAULT_MODEL, help="folder or hub name of the language model")
    parser.add_argument("--device", default="auto", help="where it runs: auto, cpu or cuda")
    parser.add_argument("--data", type=Path, default=Path(), help="folder that holds gsm8k")
    parser.add_argument("--out", type=Path, default=DOCS / "data" / "open", help="folder of finished cells")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS), metavar="ARM")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1, help="processes, each with one thread")
    parser.add_argument("--minutes", type=float, help="start no further cell after this time")
    parser.add_argument("--list", action="store_true", help="print the missing cells, and run nothing")
    parser.add_argument("--report", action="store_true", help="run nothing; write the tables")
    return parser.parse_args(arguments)


shared_model = cache(SharedModel)
"""The language model, loaded once in each process."""


@cache
def rows_of(set_name: str, data: Path) -> list[Row]:
    """The rows of a set, made once in each process."""
    return SETS[set_name].make(data)


def run_cell(cell: Cell, data: Path, model: str, device: str, out: Path) -> tuple[Cell, dict[str, Any]]:
    """Run a cell in a process of its own, and keep its record, whatever becomes of the other cells."""
    record = run(cell, shared_model(model, device), rows_of(cell.set, data))
    keep(cell, record, out)
    return cell, record


def run_missing(arguments: argparse.Namespace) -> None:
    """Run the missing cells, so many at a time."""
    cells = missing(planned(arguments.sets, arguments.arms, range(arguments.seeds)), arguments.out)
    print(f"{len(cells)} cells are missing.", flush=True)
    if arguments.list:
        print("\n".join(str(cell.path(arguments.out)) for cell in cells))
        return
    until = float("inf") if arguments.minutes is None else time.monotonic() + 60 * arguments.minutes
    tasks = [
        partial(run_cell, cell, arguments.data, arguments.model, arguments.device, arguments.out)
        for cell in cells
    ]
    for number, (cell, record) in enumerate(finished(tasks, arguments.jobs, until), start=1):
        curve = ", ".join(f"{100 * score:.1f}" for score in record["accuracy"])
        name = f"{cell.set}, {cell.arm}, seed {cell.seed}"
        print(f"{number}/{len(cells)} {name}: {curve} % in {record['seconds']:.0f} s", flush=True)


def main() -> None:
    arguments = parse(sys.argv[1:])
    if arguments.report:
        from open_report import write_report

        write_report(OpenCells(arguments.out), DOCS / "open-answers.md")
    else:
        run_missing(arguments)


if __name__ == "__main__":
    try:
        main()
    except (StarALError, ValueError) as exc:
        sys.exit(f"study_open.py: {exc}")
