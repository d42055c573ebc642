"""Measure how many labels a choice of texts saves a LoRA, on five sets and with several strategies.

python scripts/study_lora.py --model MODEL --cache CACHE --sets hwu64 bbc --seeds 5
python scripts/study_lora.py --model MODEL --cache CACHE --seeds 10 --device cuda --jobs 24 --minutes 8
python scripts/study_lora.py --report

A cell is one campaign: a set, an arm, a recipe and a seed. It trains a LoRA at its start and at three further counts of
labels, and measures it each time. The first command runs the cells that are missing in ``docs/studies/data/lora``, one
small file each; killed, the same command goes on. The second does so with many processes on one card. The third writes
the tables of the finished cells into ``docs/studies/lora.md``.

The sets and their division into pool and test are those of ``study_labels.py``, whose encoded texts are in CACHE.
``--alone``, ``--taught`` and so on are recipes as ``bench_recipe.py`` writes them; by default they are the product's.
Everything runs in memory: learner, head and rules are those of the product, the loop and its database are left out.
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

from labels_data import Texts, load, prepare  # noqa: E402
from lora_arms import ARMS, ORDER  # noqa: E402
from lora_cells import Cell, LoraCells, Recipes, keep, missing, planned, run  # noqa: E402
from lora_sets import SIZES  # noqa: E402
from recipes import Recipe, SharedModel  # noqa: E402
from side_by_side import finished  # noqa: E402

from star_al.common.user_cache import cache_folder  # noqa: E402
from star_al.config.defaults import DEFAULT_MODEL  # noqa: E402
from star_al.errors import StarALError  # noqa: E402

RECIPES = Recipes(
    alone=Recipe(loss="labels"),
    alone_many=Recipe(output="classifier", reads="text"),
    taught=Recipe(kind="taught", loss="labels"),
    taught_many=Recipe(kind="taught", output="classifier", reads="text"),
)
DOCS = Path(__file__).parents[1] / "docs" / "studies"


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default=DEFAULT_MODEL, help="folder or hub name of the language model")
    parser.add_argument("--device", default="auto", help="where it runs: auto, cpu or cuda")
    parser.add_argument(
        "--data", type=Path, help="folder of the sets; only for sets that are not in the cache"
    )
    parser.add_argument("--encoder", help="encoder of the head; only for sets that are not in the cache")
    parser.add_argument("--cache", type=Path, default=cache_folder() / "study", help="folder of encoded sets")
    parser.add_argument("--out", type=Path, default=DOCS / "data" / "lora", help="folder of finished cells")
    parser.add_argument("--sets", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ORDER), metavar="ARM")
    parser.add_argument("--seeds", type=int, default=5)
    for option, default, words in (
        ("--alone", RECIPES.alone, "a LoRA that learns alone"),
        ("--alone-many", RECIPES.alone_many, "one that learns alone, on a set with many labels"),
        ("--taught", RECIPES.taught, "one that the head teaches"),
        ("--taught-many", RECIPES.taught_many, "one that the head teaches, on a set with many labels"),
    ):
        parser.add_argument(
            option, type=Recipe.parse, default=default, metavar="RECIPE", help=f"recipe of {words}"
        )
    parser.add_argument("--jobs", type=int, default=1, help="processes, each with one thread")
    parser.add_argument("--minutes", type=float, help="start no further cell after this time")
    parser.add_argument("--list", action="store_true", help="print the missing cells, and run nothing")
    parser.add_argument("--report", action="store_true", help="run nothing; write the tables")
    return parser.parse_args(arguments)


def recipes_of(arguments: argparse.Namespace) -> Recipes:
    """The recipes that are asked for."""
    return Recipes(arguments.alone, arguments.alone_many, arguments.taught, arguments.taught_many)


@cache
def texts_of(path: Path) -> Texts:
    """An encoded set, loaded once in each process."""
    return load(path)


shared_model = cache(SharedModel)
"""The language model, loaded once in each process."""


def run_cell(
    cell: Cell, paths: dict[str, Path], model: str, device: str, out: Path, shared: Path
) -> tuple[Cell, dict[str, Any]]:
    """Run a cell in a process of its own, and keep its record, whatever becomes of the other cells."""
    record = run(cell, shared_model(model, device), lambda name: texts_of(paths[name]), shared)
    keep(cell, record, out)
    return cell, record


def run_missing(arguments: argparse.Namespace) -> None:
    """Run the missing cells, so many at a time."""
    recipes = recipes_of(arguments)
    cells = missing(planned(arguments.sets, arguments.arms, recipes, range(arguments.seeds)), arguments.out)
    print(f"{len(cells)} cells are missing.", flush=True)
    if arguments.list:
        print("\n".join(str(cell.path(arguments.out)) for cell in cells))
        return
    paths = {
        name: prepare(name, arguments.data, arguments.encoder, arguments.cache)
        for name in dict.fromkeys(cell.set for cell in cells)
    }
    until = float("inf") if arguments.minutes is None else time.monotonic() + 60 * arguments.minutes
    tasks = [
        partial(
            run_cell,
            cell,
            paths,
            arguments.model,
            arguments.device,
            arguments.out,
            arguments.cache / "lora-starts",
        )
        for cell in cells
    ]
    for number, (cell, record) in enumerate(finished(tasks, arguments.jobs, until), start=1):
        curve = ", ".join(f"{100 * accuracy:.1f}" for accuracy in record["accuracy"])
        name = f"{cell.set}, {cell.arm}, {cell.recipe.name}, seed {cell.seed}"
        print(f"{number}/{len(cells)} {name}: {curve} % in {record['seconds']:.0f} s", flush=True)


def main() -> None:
    arguments = parse(sys.argv[1:])
    if arguments.report:
        from lora_report import write_report

        cells = LoraCells(arguments.out, recipes_of(arguments))
        write_report(cells, DOCS / "lora.md")
    else:
        run_missing(arguments)


if __name__ == "__main__":
    try:
        main()
    except (StarALError, ValueError) as exc:
        sys.exit(f"study_lora.py: {exc}")
