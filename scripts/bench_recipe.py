"""Measure how well LoRA learns from few labels by different recipes, beside the head.

python scripts/bench_recipe.py --model MODEL --cache CACHE --sets bbc banking77 --labels 100 --seeds 3
python scripts/bench_recipe.py --report

A cell is one training: a set, a recipe, a number of labels, a draw of texts, a seed of the training. The first
command runs the cells that are missing in ``docs/studies/data/recipe``, one small file each; killed, the same command
goes on. Cells of one draw differ in the training alone, so that the spread over their seeds is that of the training.
The second command writes the tables of the finished cells into ``docs/studies/recipe.md``. ``--step-cost`` times a
training step with 5 and with 77 labels.

CACHE holds the encoded sets that ``study_labels.py`` makes. Without ``--recipes`` the grid runs, the most telling
recipes first. A recipe is written as its kind and its settings: ``taught,rate=0.002,steps=100``.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy is imported: other work runs beside

from labels_data import Texts, load, prepare
from recipe_cells import Cell, Workplace, keep, missing
from recipes import PROMPTS, Recipe

from star_al.common.user_cache import cache_folder
from star_al.config.defaults import DEFAULT_MODEL
from star_al.errors import StarALError

DOCS = Path(__file__).parents[1] / "docs" / "studies"


def grid() -> list[Recipe]:
    """Return the recipes that are compared, the most telling ones first."""
    earlier = Recipe(loss="labels", rate=2e-3, targets="qv", steps=20, layers=6)
    first = [
        Recipe(kind="head"),
        Recipe(),
        Recipe(kind="taught"),
        Recipe(loss="labels"),
        earlier,
    ]
    rest = [
        Recipe(kind=kind, rate=rate, targets=targets, steps=steps, layers=layers)
        for kind in ("lora", "taught")
        for layers in (None, 12)
        for steps in (60, 100, 30)
        for targets in ("all", "qv")
        for rate in (1e-3, 5e-4, 2e-3)
    ]
    averaged = [Recipe(kind=kind, average=0.5) for kind in ("lora", "taught")]
    return list(dict.fromkeys([*first, *averaged, *rest]))


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default=DEFAULT_MODEL, help="folder or hub name of the language model")
    parser.add_argument(
        "--data", type=Path, help="folder of the sets; only for sets that are not in the cache"
    )
    parser.add_argument("--encoder", help="encoder of the head; only for sets that are not in the cache")
    parser.add_argument("--cache", type=Path, default=cache_folder() / "study", help="folder of encoded sets")
    parser.add_argument("--out", type=Path, default=DOCS / "data" / "recipe", help="folder of finished cells")
    parser.add_argument("--sets", nargs="+", choices=PROMPTS, default=list(PROMPTS))
    parser.add_argument("--labels", nargs="+", type=int, default=[100], metavar="N")
    parser.add_argument("--recipes", nargs="+", type=Recipe.parse, default=grid(), metavar="RECIPE")
    parser.add_argument("--draws", nargs="+", type=int, default=[0], help="which draws of texts")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="which seeds of the training")
    parser.add_argument("--minutes", type=float, help="start no further cell after this time")
    parser.add_argument("--list", action="store_true", help="print the missing cells, and run nothing")
    parser.add_argument(
        "--step-cost", action="store_true", help="only time training steps with 5 and 77 labels"
    )
    parser.add_argument("--report", action="store_true", help="run nothing; write the tables")
    return parser.parse_args(arguments)


def planned(arguments: argparse.Namespace) -> Iterator[Cell]:
    """Yield all cells that are asked for: each recipe on all sets before the next recipe."""
    for draw in arguments.draws:
        for seed in arguments.seeds:
            for recipe in arguments.recipes:
                for labels in arguments.labels:
                    for name in arguments.sets:
                        yield Cell(name, labels, recipe, draw, seed if recipe.kind != "head" else 0)


def workplace(arguments: argparse.Namespace) -> Workplace:
    """Return where cells run; nothing is loaded yet."""
    return Workplace(arguments.model, lambda name: read_texts(name, arguments), arguments.cache / "states")


def read_texts(name: str, arguments: argparse.Namespace) -> Texts:
    """Read a set, encoded."""
    return load(prepare(name, arguments.data, arguments.encoder, arguments.cache))


def run_missing(arguments: argparse.Namespace) -> None:
    """Run the missing cells one by one."""
    cells = missing(dict.fromkeys(planned(arguments)), arguments.out)
    print(f"{len(cells)} cells are missing.", flush=True)
    if arguments.list:
        print("\n".join(str(cell.path(arguments.out)) for cell in cells))
        return
    place = workplace(arguments)
    until = float("inf") if arguments.minutes is None else time.monotonic() + 60 * arguments.minutes
    for number, cell in enumerate(cells, start=1):
        if time.monotonic() > until:
            return
        if not missing([cell], arguments.out):  # another process was faster
            continue
        record = place.run(cell)
        keep(cell, record, arguments.out)
        print(
            f"{number}/{len(cells)} {cell.set}, {cell.labels} labels, {cell.recipe.name}, draw {cell.draw}, "
            f"seed {cell.seed}: {100 * record['accuracy']:.1f} %, NLL {record['nll']:.3f}, trained in "
            f"{record['train_s']:.0f} s, scored in {record['score_s']:.0f} s",
            flush=True,
        )


def main() -> None:
    arguments = parse(sys.argv[1:])
    if arguments.report:
        from recipe_report import write_report

        write_report(arguments.out, DOCS / "recipe.md")
    elif arguments.step_cost:
        from recipe_step_cost import step_costs

        for line in step_costs(workplace(arguments), read_texts("banking77", arguments)):
            print(line, flush=True)
    else:
        run_missing(arguments)


if __name__ == "__main__":
    try:
        main()
    except (StarALError, ValueError) as exc:
        sys.exit(f"bench_recipe.py: {exc}")
