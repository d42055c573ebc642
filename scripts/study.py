"""Measure whether active learning saves labels, and with which strategy, on three data sets and your own.

python scripts/study.py --model MODEL_FOLDER --data DATA_FOLDER --out STUDY_FOLDER --seeds 5

DATA_FOLDER holds the folders ``obqa`` and ``boolq``, each with ``train.jsonl`` and ``test.jsonl``. BBC news is
downloaded as ``star-al demo`` does. ``--config FILE`` adds a campaign of your own. Each set gets a campaign file and a
database in STUDY_FOLDER/SET and is run as by ``star-al simulate``. If a run is killed, the same command continues it.
``--report`` prints the tables of all finished runs. The tables are also written to STUDY_FOLDER as ``results.md`` and
``results.json``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markdown_tables import table

from star_al import rng
from star_al.app.demo import fetch_news
from star_al.app.simulating import SimulationRequest, results, simulate
from star_al.cli.simulate import comparison_json, difference, estimate, saved
from star_al.config.file import load_campaign
from star_al.config.spec import CampaignFile
from star_al.config.writing import to_yaml
from star_al.display.progress import LineProgress
from star_al.errors import StarALError, StoreError
from star_al.stats.learning_curves import SHARES, Comparison, StrategyCurve, in_words

STRATEGIES = ("random", "entropy", "margin", "bald", "star", "star_measured", "badge")

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
SETS = ("bbc", "obqa", "boolq")
MAX_TOKENS = {"bbc": 48, "obqa": 96, "boolq": 64}
"""Nearly all questions fit. News texts are cut short: that saves time and leaves errors to measure."""

PROMPTS: dict[str, dict[str, Any]] = {
    "bbc": {},
    "obqa": {"chat_template": False},
    "boolq": {"chat_template": False, "template": "{text}\n\nAnswer:"},
}
"""Task settings that differ from those in ``configs/``."""

TOP = 6
"""A diversified batch is chosen from the top of the ranking, this many times the batch size."""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="the study's folder")
    parser.add_argument("--model", help="folder of SmolLM2-135M-Instruct; `star-al demo` makes one")
    parser.add_argument("--data", type=Path, help="folder of obqa and boolq")
    parser.add_argument("--sets", nargs="*", choices=SETS, default=list(SETS))
    parser.add_argument("--config", type=Path, nargs="*", default=[], help="campaign files of your own sets")
    parser.add_argument("--strategies", nargs="+", default=list(STRATEGIES))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, help="runs at a time; default: what cores and memory allow")
    parser.add_argument("--rounds", type=int, default=5, help="trained rounds")
    parser.add_argument("--batch-size", type=int, default=20, help="labels per round")
    parser.add_argument(
        "--pool-size",
        type=int,
        default=1000,
        help="texts in the pool, drawn at random; the base model predicts all of them",
    )
    parser.add_argument("--test-size", type=int, default=250)
    parser.add_argument(
        "--calibration", type=int, default=30, help="labels that the temperature is fitted on"
    )
    parser.add_argument("--candidates", type=int, default=200, help="texts scored in each round")
    parser.add_argument("--samples", type=int, default=3, help="samples of MC dropout")
    parser.add_argument("--layers", type=int, default=6, help="how many of the last blocks are adapted")
    parser.add_argument("--min-steps", type=int, default=20, help="least number of training steps")
    parser.add_argument(
        "--report", action="store_true", help="run nothing; write the tables of the finished runs"
    )
    found = parser.parse_args(arguments)
    if found.sets and not found.report:
        if found.model is None:
            parser.error("a run needs --model")
        if found.data is None and set(found.sets) - {"bbc"}:
            parser.error("obqa and boolq need --data")
    return found


# -- the sets -------------------------------------------------------------------------------------------


def prepare(name: str, arguments: argparse.Namespace) -> CampaignFile:
    """Write the set's ``pool.jsonl``, ``test.jsonl`` and ``campaign.yaml``; existing data files are kept."""
    folder = arguments.out / name
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "test.jsonl").exists():
        pool, test = rows_of(name, arguments)
        for part, rows in (("pool", pool), ("test", test)):
            text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            (folder / f"{part}.jsonl").write_text(text, encoding="utf-8")
    config = folder / "campaign.yaml"
    config.write_text(to_yaml(campaign(name, arguments)))
    return load_campaign(config)


def rows_of(name: str, arguments: argparse.Namespace) -> tuple[list[Any], list[Any]]:
    """Return ``--pool-size`` rows of the pool and ``--test-size`` test rows, the same for every seed."""
    n_pool, n_test = arguments.pool_size, arguments.test_size
    if name == "bbc":
        news = fetch_news(print)  # in a random order
        return news[n_test : n_test + n_pool], news[:n_test]
    train, test = (read(arguments.data / name / f"{part}.jsonl") for part in ("train", "test"))
    return some(train, n_pool, f"study/{name}/pool"), some(test, n_test, f"study/{name}/test")


def some(rows: list[Any], n: int, purpose: str) -> list[Any]:
    """Draw ``n`` rows at random."""
    chosen = rng.draw(map(str, range(len(rows))), n, rng.derive_seed(0, 0, purpose))
    return [rows[int(number)] for number in chosen]


def read(path: Path) -> list[Any]:
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def campaign(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the set's campaign: a short prompt, short training, small rounds."""
    demo = load_campaign(CONFIGS / "demo.yaml").spec
    spec = demo if name == "bbc" else load_campaign(CONFIGS / f"{name}.yaml").spec
    tree = spec.model_dump(mode="json")
    gold = tree["annotator"]["gold"]
    tree["task"] |= PROMPTS[name]
    tree["adapter"] = demo.adapter.model_dump(mode="json") | {
        "layers": arguments.layers,
        "min_steps": arguments.min_steps,
    }
    return tree | {
        "name": name,
        "seed": 0,
        "data": tree["data"] | {"path": "pool.jsonl"},
        "model": {
            "name": str(Path(arguments.model).resolve()),
            "dtype": "bfloat16",
            "max_tokens": MAX_TOKENS[name],
        },
        "posterior": {"kind": "mc_dropout", "samples": arguments.samples},
        "acquisition": {
            "batch_size": arguments.batch_size,
            "candidates": arguments.candidates,
            "batch": {"top": TOP * arguments.batch_size},
        },
        "evaluation": {
            "kind": "test",
            "path": "test.jsonl",
            "label": gold,
            "calibration": arguments.calibration,
            "stop_set": 0,
        },
        "stopping": {"max_rounds": arguments.rounds},
        "database": {"url": "sqlite:///study.db"},
        "artefacts": "artefacts",
    }


def campaigns(arguments: argparse.Namespace) -> list[CampaignFile]:
    """Return the campaign files of all sets; with ``--report``, of the sets that have been started."""
    own = [load_campaign(path) for path in arguments.config]
    if not arguments.report:
        return [*(prepare(name, arguments) for name in arguments.sets), *own]
    paths = [arguments.out / name / "campaign.yaml" for name in arguments.sets]
    return [*(load_campaign(path) for path in paths if path.exists()), *own]


# -- results --------------------------------------------------------------------------------------------


def markdown(comparison: Comparison) -> str:
    """Format a set's table and its conclusions in words."""
    heading = ["strategy", "seeds", "final accuracy %", "AULC %", "AULC − random (95 % interval)", "p"]
    heading += [*(f"labels saved at {share:.0%}" for share in SHARES), "s a run"]
    rows = [cells(curve) for curve in comparison.strategies]
    parts = [f"## {comparison.study}", standing(comparison), table(heading, rows)]
    return "\n\n".join([*parts, "\n".join(f"- {line}" for line in in_words(comparison))])


def cells(curve: StrategyCurve) -> list[str]:
    return [
        curve.strategy,
        str(len(curve.seeds)),
        estimate(curve.final),
        estimate(curve.aulc),
        *difference(curve.aulc_difference),
        *(saved(curve.saving_at(share)) for share in SHARES),
        f"{curve.seconds:.0f}",
    ]


def standing(comparison: Comparison) -> str:
    """Compare majority class and base model, and say whether the set counts."""
    if comparison.majority is None or comparison.base_accuracy is None:
        return "No run has finished."
    verdict = "the set counts" if comparison.above_majority else "the set does not count"
    return (
        f"Majority class {100 * comparison.majority:.1f} %, base model {100 * comparison.base_accuracy:.1f} %: "
        f"{verdict}."
    )


def main() -> None:
    arguments = parse(sys.argv[1:])
    found, failed = [], 0
    for file in campaigns(arguments):
        if not arguments.report:
            request = SimulationRequest(tuple(arguments.strategies), arguments.seeds, jobs=arguments.jobs)
            done = simulate(file, request, LineProgress(lambda line: print(line, flush=True)))
            failed += len(done.failed)
        try:
            found.append(results(file))
        except StoreError as exc:
            print(exc)
        write(arguments.out, found)
    print((arguments.out / "results.md").read_text(encoding="utf-8") if found else "Nothing has been run.")
    sys.exit(min(failed, 1))


def write(folder: Path, found: Sequence[Comparison]) -> None:
    """Write the tables and figures of all sets so far."""
    text = "\n\n".join(map(markdown, found)) + "\n"
    (folder / "results.md").write_text(text, encoding="utf-8")
    tree = {comparison.study: comparison_json(comparison) for comparison in found}
    (folder / "results.json").write_text(json.dumps(tree, indent=2, allow_nan=False), encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except StarALError as exc:
        sys.exit(f"study.py: {exc}")
