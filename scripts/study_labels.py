"""Measure how many labels the head and the choice of texts save, on five sets and against other packages.

python scripts/study_labels.py --data DATA_FOLDER --encoder ENCODER --seeds 20 --jobs 2
python scripts/study_labels.py --report

The first command runs the cells (set, arm, seed) that are missing in ``docs/studies/data/labels``; killed, the same
command goes on. The second writes the tables and plots of the finished ones into ``docs/studies``, and needs neither
texts nor encoder. DATA_FOLDER holds the folders ``banking77``, ``hwu64`` and ``sms_spam``, each with ``train.jsonl``
and ``test.jsonl`` of rows with ``text`` and ``label``; BBC news is downloaded as ``star-al demo`` does. ENCODER is a
folder or a name on the hub. Texts are encoded once, into ``--cache``. Everything runs in memory: the head and the
rules are those of the product, the loop and its database are left out.

LoRA has studies of its own, ``study_lora.py`` on the same sets and ``study.py`` by whole campaigns.
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

from labels_arms import ARMS  # noqa: E402
from labels_cells import Cell, Cells, planned, run, sets_of  # noqa: E402
from labels_data import SETS, Texts, load, prepare  # noqa: E402
from side_by_side import finished  # noqa: E402

from star_al.common.user_cache import cache_folder  # noqa: E402
from star_al.errors import StarALError  # noqa: E402

DOCS = Path(__file__).parents[1] / "docs" / "studies"


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, help="folder of the sets; only for sets that are not in the cache"
    )
    parser.add_argument(
        "--encoder", help="folder or hub name of the encoder; only for sets that are not in the cache"
    )
    parser.add_argument("--cache", type=Path, default=cache_folder() / "study", help="folder of encoded sets")
    parser.add_argument("--out", type=Path, default=DOCS / "data" / "labels", help="folder of finished cells")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS), metavar="ARM")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=1, help="processes, each with one thread")
    parser.add_argument("--minutes", type=float, help="start no further cell after this time")
    parser.add_argument("--list", action="store_true", help="print the names of the arms, and run nothing")
    parser.add_argument("--report", action="store_true", help="run nothing; write the tables and plots")
    parser.add_argument("--report-to", type=Path, default=DOCS, help="folder of tables and plots")
    return parser.parse_args(arguments)


@cache
def texts_of(path: Path) -> Texts:
    """An encoded set, loaded once in each process."""
    return load(path)


def run_cell(cell: Cell, path: Path) -> dict[str, Any]:
    """Run a cell in a process of its own."""
    return run(cell, texts_of(path))


def run_missing(arguments: argparse.Namespace) -> None:
    cells = Cells(arguments.out)
    missing = cells.missing(planned(arguments.sets, arguments.arms, arguments.seeds))
    print(f"{len(missing)} cells are missing.", flush=True)
    paths = {
        name: prepare(name, arguments.data, arguments.encoder, arguments.cache) for name in sets_of(missing)
    }
    until = float("inf") if arguments.minutes is None else time.monotonic() + 60 * arguments.minutes
    tasks = [partial(run_cell, cell, paths[cell.set]) for cell in missing]
    for number, record in enumerate(finished(tasks, arguments.jobs, until), start=1):
        cells.add(record, texts_of(paths[record["set"]]))
        curve = record["accuracy"]
        figures = f"{100 * curve[0]:.1f}, {100 * curve[len(curve) // 2]:.1f}, {100 * curve[-1]:.1f} %"
        cell = f"{record['set']}, {record['arm']}, seed {record['seed']}"
        print(f"{number}/{len(missing)} {cell}: {figures} in {record['seconds']:.0f} s", flush=True)


def main() -> None:
    arguments = parse(sys.argv[1:])
    if arguments.list:
        print("\n".join(ARMS))
    elif arguments.report:
        from labels_report import write_report

        write_report(Cells(arguments.out), arguments.report_to)
    else:
        run_missing(arguments)


if __name__ == "__main__":
    try:
        main()
    except (StarALError, ValueError) as exc:
        sys.exit(f"study_labels.py: {exc}")
