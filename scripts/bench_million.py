"""Time a campaign with a million texts step by step, with the peak of memory, beside smaller ones.

python scripts/bench_million.py --texts 10000 100000 1000000 --store sqlite postgres --folder /scratch/million \
    --json docs/studies/data/million.json --page docs/studies/speed.md

Short made-up texts, a tiny sentence encoder and, with --learner lora, a tiny language model are made in --folder. Each
stage runs in a process of its own: import, embeddings, three rounds, reading the campaign, and predicting half as many
new texts. Stages that are in the JSON file are not run again, and rounds that were interrupted go on.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from markdown_tables import table
from million_campaign import has_shortlist
from million_steps import STAGES, Figures
from own_postgres import own_postgres

from star_al.common.files import replacing

HERE = Path(__file__).resolve().parent
MARKS = ("<!-- million: begin -->", "<!-- million: end -->")
"""Where the table stands in the page."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--texts", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--store", nargs="+", choices=("sqlite", "postgres"), default=["sqlite"])
    parser.add_argument("--learner", nargs="+", choices=("head", "lora"), default=["head"])
    parser.add_argument("--folder", type=Path, required=True, help="where campaigns are made, and kept")
    parser.add_argument("--json", type=Path, required=True, help="where figures are kept")
    parser.add_argument("--page", type=Path, help="a page whose table is written again")
    parser.add_argument("--stage", choices=tuple(STAGES), help=argparse.SUPPRESS)
    parser.add_argument("--cell", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    figures = FigureFile(arguments.json)
    if arguments.stage:
        STAGES[arguments.stage](
            arguments.folder / "campaign.yaml", lambda *found: figures.keep(arguments.cell, *found)
        )
        return
    for learner in arguments.learner:
        if learner == "lora" and not has_shortlist():
            print("This version has no acquisition.shortlist: the language model scores all texts.")
        for store in arguments.store:
            for texts in arguments.texts:
                run_cell(arguments.folder, figures, texts, store, learner)
    found = report(figures.cells())
    print(found)
    if arguments.page:
        before, _, rest = arguments.page.read_text(encoding="utf-8").partition(MARKS[0])
        after = rest.partition(MARKS[1])[2]
        arguments.page.write_text(f"{before}{MARKS[0]}\n\n{found}\n\n{MARKS[1]}{after}", encoding="utf-8")


class FigureFile:
    """Figures by cell and step, in a JSON file that is whole after each step."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def cells(self) -> dict[str, dict[str, Any]]:
        """What has been measured."""
        return json.loads(self.path.read_text()) if self.path.exists() else {}

    def keep(self, cell: str, step: str, figures: Figures) -> None:
        """Keep the figures of a step."""
        cells = self.cells()
        cells.setdefault(cell, {})[step] = {name: round(value, 3) for name, value in figures.items()}
        self._write(cells)
        print(f"{cell}: {step}: {_in_words(figures)}", flush=True)

    def finish(self, cell: str, stage: str) -> None:
        """Note that a stage is finished."""
        cells = self.cells()
        cells.setdefault(cell, {}).setdefault("finished", []).append(stage)
        self._write(cells)

    def _write(self, cells: Mapping[str, Any]) -> None:
        with replacing(self.path) as new:
            new.write_text(json.dumps(cells, indent=1) + "\n", encoding="utf-8")


def run_cell(root: Path, figures: FigureFile, texts: int, store: str, learner: str) -> None:
    """Run the stages of a cell that are not finished."""
    cell = f"{learner}, {store}, {texts}"
    finished = figures.cells().get(cell, {}).get("finished", [])
    left = [stage for stage in STAGES if stage not in finished]
    if not left:
        return
    folder = root / f"{learner}-{store}-{texts}"
    with _database(root, store, folder, fresh="import" in left) as url:
        making = [sys.executable, str(HERE / "million_campaign.py"), str(folder), str(texts), learner, url]
        subprocess.run(making, check=True)  # in a process of its own, as it builds models
        for stage in left:
            command = [sys.executable, __file__, "--stage", stage, "--cell", cell, "--folder", str(folder)]
            subprocess.run([*command, "--json", str(figures.path)], check=True)
            figures.finish(cell, stage)


@contextmanager
def _database(root: Path, store: str, folder: Path, *, fresh: bool) -> Iterator[str]:
    """The URL of a cell's database; without an import it is that of the stages before."""
    if fresh:
        shutil.rmtree(folder, ignore_errors=True)
    if store == "sqlite":
        yield f"sqlite:///{folder.resolve() / 'campaign.db'}"
        return
    with own_postgres(root / "postgres", folder.name.replace("-", "_"), fresh=fresh) as url:
        yield url


# -- the table -----------------------------------------------------------------------------------------

ROWS: Mapping[str, str] = {
    "import": "import",
    "embeddings": "embeddings",
    "first evaluation, with the pool's neighbours": "round 0: evaluate",
    "first texts, by herding": "round 0: select",
    "fit": "round [123]: fit",
    "evaluate": "round [123]: evaluate",
    "decide": "round [123]: decide",
    "score": "round [123]: score",
    "select": "round [123]: select",
    "push and collect": "round [123]: (push|collect)",
    "`status`": "status",
    "`history`": "history",
    "`report`": "report",
    "`predict`, half as many new texts": "predict",
}
"""Rows of the table, with a pattern of the steps that each stands for; of several rounds, the largest figures."""

LEAST = 0.1
"""CPU seconds of a step below which its growth says nothing."""


def report(cells: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a table for each learner and store: a row for each step, a column for each size, and how it grows."""
    groups: dict[str, dict[int, Mapping[str, Any]]] = {}
    for cell, steps in cells.items():
        name, _, texts = cell.rpartition(", ")
        groups.setdefault(name, {})[int(texts)] = steps
    return "\n\n".join(
        f"**{name}**\n\n{_table(dict(sorted(sizes.items())))}" for name, sizes in sorted(groups.items())
    )


def _table(sizes: Mapping[int, Mapping[str, Any]]) -> str:
    heading = ["CPU s (s; MB)", *(f"{n:,} texts" for n in sizes), "growth"]
    lines = []
    for row, pattern in ROWS.items():
        found = {n: largest for n, steps in sizes.items() if (largest := _largest(steps, pattern))}
        lines.append([row, *(_in_words(found[n]) if n in found else "" for n in sizes), _growth(found)])
    return table(heading, lines)


def _largest(steps: Mapping[str, Any], pattern: str) -> Figures | None:
    """The largest of each figure of the steps; None if there is none."""
    found = [figures for step, figures in steps.items() if re.fullmatch(pattern, step)]
    return {name: max(each[name] for each in found) for name in found[0]} if found else None


def _in_words(figures: Mapping[str, float]) -> str:
    return f"{figures['cpu_seconds']:.1f} ({figures['seconds']:.0f}; {figures['peak_mb']:,.0f})"


def _growth(found: Mapping[int, Figures]) -> str:
    """How many times the CPU seconds grow from the second largest size to the largest, of how many times the texts."""
    if len(found) < 2:
        return ""
    fewer, more = list(found)[-2:]
    before, after = found[fewer]["cpu_seconds"], found[more]["cpu_seconds"]
    return f"{after / before:.1f} of {more / fewer:.0f}" if before >= LEAST else ""


if __name__ == "__main__":
    main()
