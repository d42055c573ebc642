"""Compare posteriors by likelihood, calibration, and how much their samples differ.

python scripts/bench_calibration.py --model MODEL --cache CACHE --sets bbc sms_spam --labels 50 --draws 0 1
python scripts/bench_calibration.py --report

A cell is one posterior: a set, a number of labels, a row, a draw of texts. The first command runs the cells that are
missing in ``docs/studies/data/calibration``, one small file each; killed, the same command goes on. The second one
writes the tables of the finished cells into ``docs/studies/calibration.md``.

CACHE holds the encoded sets that ``study_labels.py`` makes, and gets the adapters that rows share.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy is imported: other work runs beside

from calibration_cells import ROWS, Cell, Workplace, keep, missing
from labels_data import load, prepare
from recipes import PROMPTS

from star_al.common.user_cache import cache_folder
from star_al.config.defaults import DEFAULT_MODEL
from star_al.errors import StarALError

DOCS = Path(__file__).parents[1] / "docs" / "studies"


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
    parser.add_argument("--adapters", type=Path, help="folder of shared adapters; by default in the cache")
    parser.add_argument(
        "--out", type=Path, default=DOCS / "data" / "calibration", help="folder of finished cells"
    )
    parser.add_argument("--sets", nargs="+", choices=PROMPTS, default=["bbc", "sms_spam"])
    parser.add_argument("--labels", nargs="+", type=int, default=[50, 200], metavar="N")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW")
    parser.add_argument("--draws", nargs="+", type=int, default=[0], help="which draws of texts")
    parser.add_argument("--minutes", type=float, help="start no further cell after this time")
    parser.add_argument("--list", action="store_true", help="print the missing cells, and run nothing")
    parser.add_argument("--report", action="store_true", help="run nothing; write the tables")
    return parser.parse_args(arguments)


def planned(arguments: argparse.Namespace) -> Iterator[Cell]:
    """Yield all cells that are asked for: each row on all sets before the next row."""
    for draw in arguments.draws:
        for labels in arguments.labels:
            for row in arguments.rows:
                for name in arguments.sets:
                    yield Cell(name, labels, row, draw)


def run_missing(arguments: argparse.Namespace) -> None:
    """Run the missing cells one by one."""
    cells = missing(planned(arguments), arguments.out)
    print(f"{len(cells)} cells are missing.", flush=True)
    if arguments.list:
        print("\n".join(str(cell.path(arguments.out)) for cell in cells))
        return
    place = Workplace(
        arguments.model,
        lambda name: load(prepare(name, arguments.data, arguments.encoder, arguments.cache)),
        arguments.adapters or arguments.cache / "adapters",
    )
    until = float("inf") if arguments.minutes is None else time.monotonic() + 60 * arguments.minutes
    for number, cell in enumerate(cells, start=1):
        if time.monotonic() > until:
            return
        record = place.run(cell)
        keep(cell, record, arguments.out)
        print(f"{number}/{len(cells)} {line_of(record)}", flush=True)


def line_of(record: dict[str, object]) -> str:
    """Summarise a finished cell in one line."""
    raw: object = record["raw"]
    assert isinstance(raw, dict)
    spread = f", spread {record['spread']}, agreement {record['agreement']}" if "spread" in record else ""
    return (
        f"{time.strftime('%H:%M:%S')} {record['set']}, {record['labels']} labels, {record['row']}, draw "
        f"{record['draw']}: NLL {raw['nll']:.3f}, accuracy {record['accuracy']:.3f}, ECE {raw['ece']:.3f} (floor "
        f"{raw['floor']:.3f}){spread}, {record['train_s']} + {record['score_s']} s"
    )


def main() -> None:
    arguments = parse(sys.argv[1:])
    if arguments.report:
        from calibration_report import write_report

        write_report(arguments.out, DOCS / "calibration.md")
    else:
        run_missing(arguments)


if __name__ == "__main__":
    try:
        main()
    except (StarALError, ValueError) as exc:
        sys.exit(f"bench_calibration.py: {exc}")
