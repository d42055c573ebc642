"""Compare the cost of scoring and of a training step between star_al, transformers and peft, on the same texts.

python scripts/bench_speed.py --model some/model/folder --json docs/studies/data/speed.json --page docs/studies/speed.md

Every path gets its own best batch: each is timed with a few sizes in turns, a size that is far behind the path's best
drops out, and the fastest time of the best size counts. The paths take turns, so that other load on the machine
affects all of them alike. Parts and shapes may be run one by one (``--parts``, ``--shapes``): the JSON file keeps what
it has of the others, and the table is made from all of it. On a CPU with other load, use one thread and count CPU
seconds:

OMP_NUM_THREADS=1 python scripts/bench_speed.py --model some/model/folder --clock cpu
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from generation_paths import ANSWER_TOKENS, DRAWS, draw_ours, draw_stock, read_whole, score_answers
from speed_paths import (
    KINDS,
    TARGETS,
    block_weights,
    fit,
    multiply_weights,
    prompts,
    score,
    star_way,
    stock_adapter,
    stock_score,
    training_step,
)
from speed_table import MARKS, PRODUCTS, table

from star_al.models.backbone import Backbone, load_backbone
from star_al.models.prompts import Prompt
from star_al.models.quiet import quiet

PARTS = ("scoring", "training", "memory", "generation")
SHAPES = {"32 × 90": (32, 90), "16 × 171": (16, 171), "8 × 400": (8, 400)}  # texts, and tokens of each
PREFIX_SHARE = 0.25

TOKENS = (384, 768, 1536, 3072)
"""Sizes of our batches, in tokens: those that ``model.batch_tokens: auto`` measures on a CPU."""

TEXTS = (2, 4, 8, 16)
"""Sizes of the other programs' batches, in texts."""

STOCK = {"peft, eval": False, "peft, dropout": True}  # the value: whether dropout is on
STAR = "the released STAR way"
PATHS = ("base", "base, prefix once", "transformers", PRODUCTS, *KINDS, *STOCK, STAR)
TRAINING_TEXTS, TRAINING_TOKENS = 8, 171
DROPOUTS = (0.1, 0.0)

_BEHIND = 1.3
"""A size that is this much slower than the best of its path is not timed again."""

Work = Callable[[], AbstractContextManager[Callable[[], object]]]
"""Prepares a run, and yields what is timed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="a model folder or hub name")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--samples", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--clock", choices=["wall", "cpu"], default="wall", help="use cpu on a machine with other load"
    )
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--paths", nargs="+", choices=PATHS, default=PATHS, help="what to score with")
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=list(TARGETS), help="what to train")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--peaks", nargs="+", choices=PEAKS, default=PEAKS, help="whose memory to measure")
    parser.add_argument("--json", type=Path, help="what is there already is kept")
    parser.add_argument("--page", type=Path, help="a page whose table is written again")
    parser.add_argument("--machine", default="", help="words on the machine for the table")
    parser.add_argument("--peak", help=argparse.SUPPRESS)  # one path in a process of its own
    arguments = parser.parse_args()
    backbone = _load(arguments, arguments.dtype)
    if arguments.peak:
        print(_peak(backbone, arguments.peak))
        return
    result: dict[str, Any] = {}
    if arguments.json and arguments.json.exists():
        result = json.loads(arguments.json.read_text())
    result |= {"versions": dict(backbone.versions()), "clock": arguments.clock}
    if arguments.machine:
        result["machine"] = arguments.machine
    with quiet():
        if "scoring" in arguments.parts:
            for shape in arguments.shapes:
                result.setdefault("scoring", {})[shape] = bench_scoring(arguments, backbone, shape)
                _write(arguments, result)
        if "training" in arguments.parts:
            for targets, dropout in product(arguments.targets, DROPOUTS):
                found = bench_training(arguments, backbone, targets, dropout)
                result.setdefault("training", {})[f"{targets}, dropout {dropout:g}"] = found
                _write(arguments, result)
        if "generation" in arguments.parts:
            result["generation"] = bench_generation(arguments, backbone)
            _write(arguments, result)
        if "memory" in arguments.parts:
            result["peak memory, MiB"] = bench_memory(arguments)
            _write(arguments, result)
    print(table(result))


def _write(arguments: argparse.Namespace, result: Mapping[str, Any]) -> None:
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    if arguments.page:
        before, _, rest = arguments.page.read_text().partition(MARKS[0])
        after = rest.partition(MARKS[1])[2]
        arguments.page.write_text(f"{before}{MARKS[0]}\n\n{table(result)}\n\n{MARKS[1]}{after}")


def _load(arguments: argparse.Namespace, dtype: str) -> Backbone:
    backbone = load_backbone(arguments.model, revision=None, dtype=dtype, device=arguments.device)
    _ = backbone.readout
    return backbone


class Clock:
    """Seconds by path and size of batch, of paths that take turns."""

    def __init__(self, device: torch.device, kind: str) -> None:
        self._cuda = device.type == "cuda"
        self._read = time.process_time if kind == "cpu" else time.perf_counter
        self.seconds: dict[str, dict[int, float]] = {}

    def _now(self) -> float:
        if self._cuda:
            torch.cuda.synchronize()
        return self._read()

    def time(self, path: str, works: Mapping[int, Work]) -> None:
        """Run a path once with each size that is not far behind its best."""
        own = self.seconds.setdefault(path, {})
        for size, work in works.items():
            if own.get(size, 0.0) > _BEHIND * min(own.values(), default=math.inf):
                continue
            with work() as run:
                start = self._now()
                run()
                own[size] = min(self._now() - start, own.get(size, math.inf))

    def best(self) -> dict[str, dict[str, Any]]:
        """The best size of each path with its seconds, and the seconds of all sizes."""
        return {
            path: {"batch": min(own, key=own.__getitem__), "seconds": min(own.values()), "all": own}
            for path, own in self.seconds.items()
        }


# -- scoring -----------------------------------------------------------------------------------------------


def bench_scoring(arguments: argparse.Namespace, backbone: Backbone, shape: str) -> dict[str, Any]:
    """Measure the seconds of one pass over all texts by path."""
    n, tokens = SHAPES[shape]
    prefix = int(PREFIX_SHARE * tokens)
    items, clock = prompts(n, tokens, prefix), Clock(backbone.device, arguments.clock)
    weights = block_weights(backbone)
    with tempfile.TemporaryDirectory() as name:
        works = _scoring_works(arguments, backbone, items, items[0].tokens[:prefix], Path(name))
        for works_by_size in works.values():  # warms up
            with next(iter(works_by_size.values()))() as run:
                run()
        for _ in range(arguments.repeats):
            for path, works_by_size in works.items():
                clock.time(path, works_by_size)
    return {
        "texts": n,
        "tokens": sum(map(len, items)),
        "prefix": prefix,
        "operations a token": 2 * sum(weight.numel() for weight in weights),
        "paths": clock.best(),
    }


def _scoring_works(
    arguments: argparse.Namespace,
    backbone: Backbone,
    items: Sequence[Prompt],
    prefix: tuple[int, ...],
    folder: Path,
) -> dict[str, dict[int, Work]]:
    """Return what is run for each path, by size of batch."""
    wanted, k = arguments.paths, arguments.samples
    adapted = {kind for kind in KINDS if kind in wanted}
    if {STAR, *STOCK} & set(wanted):
        adapted.add("mc_dropout")
    posteriors = {kind: fit(backbone, kind, k, folder / kind) for kind in KINDS if kind in adapted}

    weights, n_tokens = block_weights(backbone), sum(map(len, items))

    def ours(size: int, **options: Any) -> Work:
        return lambda: nullcontext(partial(score, backbone, items, size, **options))

    @contextmanager
    def by_peft(size: int, dropout: bool) -> Iterator[Callable[[], object]]:
        with stock_adapter(backbone, folder / "mc_dropout", dropout) as model:
            yield partial(stock_score, model.base_model.model, items, size)

    @contextmanager
    def by_star(whole: Backbone) -> Iterator[Callable[[], object]]:
        with stock_adapter(whole, folder / "mc_dropout", True, trainable=True) as model:
            yield partial(star_way, model, items)

    works: dict[str, dict[int, Work]] = {
        "base": {size: ours(size) for size in TOKENS},
        "base, prefix once": {size: ours(size, prefix=prefix) for size in TOKENS},
        "transformers": {
            size: lambda size=size: nullcontext(partial(stock_score, backbone.model, items, size))  # type: ignore[misc]
            for size in TEXTS
        },
        PRODUCTS: {
            size: lambda size=size: nullcontext(partial(multiply_weights, weights, n_tokens, size))  # type: ignore[misc]
            for size in TOKENS
        },
        **{
            kind: {size: ours(size, posterior=posterior, sample=0) for size in TOKENS}
            for kind, posterior in posteriors.items()
        },
        **{path: {size: partial(by_peft, size, on) for size in TEXTS} for path, on in STOCK.items()},
    }
    if STAR in wanted:
        works[STAR] = {1: partial(by_star, _load(arguments, "float32"))}
    return {path: work for path, work in works.items() if path in wanted}


# -- training ----------------------------------------------------------------------------------------------


def bench_training(
    arguments: argparse.Namespace, backbone: Backbone, targets: str, dropout: float
) -> dict[str, Any]:
    """Measure the seconds of a training step by path; without dropout, the losses must agree."""
    items = prompts(TRAINING_TEXTS, TRAINING_TOKENS, 0, seed=2)
    sizes = {"ours": (len(items),), "stock peft": (2, 4, 8)}
    clock = Clock(backbone.device, arguments.clock)
    losses: dict[str, float] = {}

    @contextmanager
    def step(path: str, size: int) -> Iterator[Callable[[], object]]:
        with training_step(backbone, path, targets, dropout, items, size) as run:
            yield lambda: losses.update({path: run()})

    for _ in range(arguments.repeats):
        for path, own in sizes.items():
            clock.time(path, {size: partial(step, path, size) for size in own})
    return {"paths": clock.best(), **({} if dropout else {"losses": losses})}


# -- generation --------------------------------------------------------------------------------------------

PROMPTS, PROMPT_TOKENS = 16, 128

Draw = Callable[[int, int], object]
"""What is run with a size of batch and a number of samples."""


def bench_generation(arguments: argparse.Namespace, backbone: Backbone) -> dict[str, Any]:
    """Measure the seconds of K samples' draws for some prompts, and of scoring what was drawn, by path.

    Other sizes of batches than a path's best are tried with one sample, so that the bench ends in minutes on a CPU.
    """
    items = [replace(item, labels=()) for item in prompts(PROMPTS, PROMPT_TOKENS, 0, seed=3, spread=0.0)]
    clock, trial = (Clock(backbone.device, arguments.clock) for _ in range(2))
    k: int = arguments.samples
    with tempfile.TemporaryDirectory() as name:
        posterior = fit(backbone, "mc_dropout", k, Path(name) / "mc_dropout")
        drawn = draw_ours(backbone, items, posterior, k)  # warms up, too
        works: dict[str, tuple[tuple[int, ...], Draw]] = {
            "ours": ((PROMPTS,), lambda _, k: draw_ours(backbone, items, posterior, k)),
            "transformers": (TEXTS[2:], lambda size, k: draw_stock(backbone, items, size, posterior, k)),
            "a sample": ((PROMPTS,), lambda *_: draw_ours(backbone, items, posterior)),
            "base": ((PROMPTS,), lambda *_: draw_ours(backbone, items)),
            "scoring": (TOKENS[1:3], lambda size, _: score_answers(backbone, items, drawn, size)),
            "reading": (TEXTS[:2], lambda size, _: read_whole(backbone, items, drawn, size)),
        }
        for path, (sizes, work) in works.items():
            if len(sizes) > 1:
                trial.time(path, {size: _work(work, size, 1) for size in sizes})
        best = {path: found["batch"] for path, found in trial.best().items()}
        for _ in range(arguments.repeats):
            for path, (sizes, work) in works.items():
                size = best.get(path, sizes[0])
                clock.time(path, {size: _work(work, size, k)})
    return {"prompts": PROMPTS, "samples": k, "draws": DRAWS, "answer": ANSWER_TOKENS, "paths": clock.best()}


def _work(work: Draw, size: int, samples: int) -> Work:
    return lambda: nullcontext(partial(work, size, samples))


# -- memory ------------------------------------------------------------------------------------------------

PEAKS = (
    "training, ours",
    "training, stock peft",
    "scoring 256 items",
    "scoring 1024 items",
    "drawing 64 items",
    "drawing 256 items",
)


def bench_memory(arguments: argparse.Namespace) -> dict[str, int]:
    """Measure the peak memory of each path, each in a process of its own."""
    own = ["--model", arguments.model, "--device", arguments.device, "--dtype", arguments.dtype]
    command = [sys.executable, "-W", "ignore", __file__, *own, "--peak"]
    return {
        path: int(subprocess.check_output([*command, path], text=True).split()[-1])
        for path in arguments.peaks
    }


def _peak(backbone: Backbone, path: str) -> int:
    """Peak memory in MiB: of the device, or on a CPU of the whole process, model included."""
    if path.startswith("training"):
        items = prompts(TRAINING_TEXTS, TRAINING_TOKENS, 0, seed=2)
        own = path.partition(", ")[2]
        with quiet(), training_step(backbone, own, "all projections", 0.1, items, len(items)) as step:
            step()
            step()
    elif path.startswith("drawing"):
        draw_ours(backbone, prompts(int(path.split()[1]), 32, 0))
    else:
        score(backbone, prompts(int(path.split()[1]), 32, 0), max(TOKENS))
    if backbone.device.type == "cuda":
        return torch.cuda.max_memory_allocated() // 2**20
    status = Path("/proc/self/status")  # ru_maxrss begins with the peak of the parent process
    if status.exists():
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) // 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 2**10


if __name__ == "__main__":
    main()
