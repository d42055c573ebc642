"""Compare the cost of scoring and of a training step between star_al and stock peft, on the same items.

python scripts/bench_speed.py --model some/model/folder --json speed.json

Prints medians of seconds, ratios of them and peak memory. The compared paths take turns, so that other load on the
machine affects all of them alike. "Stock peft" uses the same batches and the same head as star_al. When it scores,
it reads every prompt whole, as "base" does. star_al reads the prefix that all prompts share only once, where the
method allows it; "base, prefix once" shows what that alone saves. On a CPU with other load, use one thread and
count CPU seconds:

OMP_NUM_THREADS=1 python scripts/bench_speed.py --model some/model/folder --clock cpu
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import peft
import torch
from pydantic import TypeAdapter

from star_al.app.compose import posterior_method
from star_al.config.spec import AdapterSpec, PosteriorSpec
from star_al.models.backbone import DTYPES, Backbone, load_backbone
from star_al.models.collate import collate
from star_al.models.likelihood import label_log_probs, label_scorer
from star_al.models.lora import ADAPTER, attached, lora_config, lora_layers
from star_al.models.minibatch_plan import plan_minibatches
from star_al.models.posterior import Posterior, Training
from star_al.models.prompts import Prompt
from star_al.models.quiet import quiet
from star_al.models.train import reproducible, training_loss

T = TypeVar("T")

PARTS = ("scoring", "training", "memory")
BATCH_TOKENS = 4096
PREFIX = 24  # tokens that all prompts begin with, like an instruction
LABELS = ((11,), (12,))  # two labels of one token each, like "yes" and "no"
TARGETS: Mapping[str, Any] = {"all projections": "all-linear", "q, v": ("q_proj", "v_proj")}
KINDS: Mapping[str, dict[str, Any]] = {
    "map": {},
    "mc_dropout": {},
    "ensemble": {},
    "tfb": {},
    "laplace": {},
    "clora": {"kl_weight": 0.01},
}


STOCK = {"stock peft, eval": False, "stock peft, dropout": True}  # the value: whether dropout is on
STAR = "the released STAR way"
PATHS = ("base", "base, prefix once", *KINDS, *STOCK, STAR)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="a model folder or hub name")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--items", type=int, default=16, help="texts to score")
    parser.add_argument("--samples", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--clock", choices=["wall", "cpu"], default="wall", help="use cpu on a machine with other load"
    )
    parser.add_argument("--paths", nargs="+", choices=PATHS, default=PATHS, help="what to score with")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--peak", help=argparse.SUPPRESS)  # one path in a process of its own
    arguments = parser.parse_args()
    backbone = _load(arguments, arguments.dtype)
    if arguments.peak:
        print(_peak(backbone, arguments.peak))
        return
    result: dict[str, Any] = {"versions": dict(backbone.versions()), "clock": arguments.clock}
    with quiet():
        if "scoring" in arguments.parts:
            result["scoring"] = bench_scoring(arguments, backbone)
            show_scoring(result["scoring"])
        if "training" in arguments.parts:
            result["training"] = bench_training(arguments, backbone)
            show_training(result["training"])
        if "memory" in arguments.parts:
            result["peak memory, MiB"] = bench_memory(arguments)
            show_memory(result["peak memory, MiB"])
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


def _load(arguments: argparse.Namespace, dtype: str) -> Backbone:
    backbone = load_backbone(arguments.model, revision=None, dtype=dtype, device=arguments.device)
    _ = backbone.readout
    return backbone


def prompts(n: int, seed: int = 0) -> list[Prompt]:
    """Return prompts of random tokens that are as long as those of BoolQ: from 128 tokens on, with a long tail."""
    generator = torch.Generator().manual_seed(seed)
    lengths = (torch.randn(n, generator=generator) * 0.35 + 5.1).exp().clamp(128, 480).long().tolist()
    prefix = tuple(range(100, 100 + PREFIX))
    return [
        Prompt(f"i{index:05d}", prefix + _tokens(length - PREFIX, generator), LABELS)
        for index, length in enumerate(lengths)
    ]


def _tokens(n: int, generator: torch.Generator) -> tuple[int, ...]:
    return tuple(torch.randint(100, 400, (n,), generator=generator).tolist())


class Clock:
    """Collects seconds by path; the caller lets the paths take turns."""

    def __init__(self, device: torch.device, kind: str) -> None:
        self._cuda = device.type == "cuda"
        self._read = time.process_time if kind == "cpu" else time.perf_counter
        self._seconds: dict[str, list[float]] = {}

    def _now(self) -> float:
        if self._cuda:
            torch.cuda.synchronize()
        return self._read()

    def run(self, path: str, work: Callable[[], T], *, times: int = 1) -> T:
        """Time ``work``, count it ``times`` times, and return its result."""
        start = self._now()
        result = work()
        self._seconds.setdefault(path, []).append((self._now() - start) * times)
        return result

    def medians(self) -> dict[str, float]:
        """Median seconds by path, without the first turn, which warms up."""
        return {path: median(seconds[1:] or seconds) for path, seconds in self._seconds.items()}


# -- scoring -----------------------------------------------------------------------------------------------


def bench_scoring(arguments: argparse.Namespace, backbone: Backbone) -> dict[str, Any]:
    """Measure the seconds that each path takes to score all items with K samples."""
    items, k, clock = prompts(arguments.items), arguments.samples, Clock(backbone.device, arguments.clock)
    whole = _load(arguments, "float32")
    paths = {"base", "mc_dropout", *arguments.paths}  # the ratios refer to these two
    with tempfile.TemporaryDirectory() as name:
        posteriors = {kind: _fit(backbone, kind, k, Path(name) / kind) for kind in KINDS if kind in paths}
        adapter = Path(name) / "mc_dropout"
        for turn in range(arguments.repeats + 1):
            clock.run("base", partial(_score, backbone, items, prefix=False), times=k)
            if "base, prefix once" in paths:
                clock.run("base, prefix once", partial(_score, backbone, items), times=k)
            for kind, posterior in posteriors.items():
                sample = turn % k
                clock.run(kind, partial(_score, backbone, items, posterior, sample), times=k)
            for path in (path for path in STOCK if path in paths):
                with _stock_from(backbone, adapter, STOCK[path]):
                    clock.run(path, partial(_score, backbone, items, prefix=False), times=k)
            if STAR in paths:
                with _stock_from(whole, adapter, True, trainable=True) as model:
                    clock.run(STAR, partial(star_way, model, items), times=k)
    seconds = clock.medians()
    return {
        "items": len(items),
        "tokens": sum(map(len, items)),
        "samples": k,
        "seconds": seconds,
        "of K base forwards": {path: value / seconds["base"] for path, value in seconds.items()},
    }


def _fit(backbone: Backbone, kind: str, k: int, folder: Path) -> Posterior:
    """Fit a posterior for a few steps; its cost does not depend on what it has learned."""
    plain = {"map": {}, "ensemble": {"members": k}}.get(kind, {"samples": k})
    raw = {"kind": kind, **plain, **KINDS[kind]}
    method = posterior_method(TypeAdapter(PosteriorSpec).validate_python(raw))
    folder.mkdir()
    spec = AdapterSpec(rank=8, epochs=1, batch_size=4, dropout=0.1, target_modules=TARGETS["all projections"])
    examples = [(prompt, index % 2) for index, prompt in enumerate(prompts(8, seed=1))]
    training = Training(backbone, examples, spec, "model", 0, None, lambda n: None)
    return method.load(folder, method.fit(training, folder))


def _score(
    backbone: Backbone,
    items: list[Prompt],
    posterior: Posterior | None = None,
    sample: int | None = None,
    prefix: bool = True,
) -> None:
    """Score all items once."""
    readout, score = backbone.readout, label_scorer(backbone.readout)
    shared = prefix and (posterior is None or posterior.shares_prefix)
    start = items[0].tokens[:PREFIX] if shared else ()
    drawn = nullcontext(score) if posterior is None else posterior.draw(backbone, score, 0, sample)
    with drawn as own:
        for positions in plan_minibatches(
            items, BATCH_TOKENS, packed_up_to=2**31 if readout.supports_packing else 0
        ):
            batch = collate([items[position] for position in positions], readout, prefix=start)
            with torch.inference_mode():
                own(batch).cpu()


@contextmanager
def _stock_from(
    backbone: Backbone, folder: Path, training: bool, *, trainable: bool = False
) -> Iterator[Any]:
    """Load an adapter with peft; ``training`` turns its dropout on."""
    model = peft.PeftModel.from_pretrained(backbone.model, str(folder), is_trainable=trainable)
    try:
        yield model.train(training)
    finally:
        model.unload()
        backbone.model.requires_grad_(False).eval()


def star_way(model: Any, items: list[Prompt]) -> list[float]:
    """Score once as the code released with STAR does: item by item, all logits, one entropy a token in a loop.

    As in that code, autograd stays on and the adapter is the one that was just trained.
    """
    scores = []
    for item in items:
        logits = model(torch.tensor([item.tokens], device=model.device)).logits[0]
        entropies = []
        for position in range(len(item.tokens)):
            p = torch.softmax(logits[position].float(), dim=-1)
            entropies.append(-(p * torch.log(p + 1e-12)).sum().item())
        scores.append(sum(entropies))
    return scores


# -- training ----------------------------------------------------------------------------------------------


def bench_training(arguments: argparse.Namespace, backbone: Backbone) -> dict[str, Any]:
    """Measure the seconds of a training step by path and setting; without dropout, also compare the losses."""
    result: dict[str, Any] = {}
    for targets in TARGETS:
        for dropout in (0.1, 0.0):
            clock = Clock(backbone.device, arguments.clock)
            losses: dict[str, float] = {}
            for _ in range(arguments.repeats + 1):
                for path in ("ours", "stock peft"):
                    with _step(backbone, path, targets, dropout) as step:
                        losses[path] = clock.run(path, step)
            seconds = clock.medians()
            row: dict[str, Any] = {"seconds": seconds, "ratio": seconds["ours"] / seconds["stock peft"]}
            result[f"{targets}, dropout {dropout:g}"] = row | ({} if dropout else {"losses": losses})
    return result


@contextmanager
def _step(backbone: Backbone, path: str, targets: str, dropout: float) -> Iterator[Callable[[], float]]:
    """Yield a function that takes one optimiser step and returns its loss; ours runs reproducibly, as campaigns do."""
    spec = AdapterSpec(rank=8, dropout=dropout, target_modules=TARGETS[targets])
    examples = [(prompt, index % 2) for index, prompt in enumerate(prompts(8, seed=2))]
    kind, setting = (attached, reproducible(0)) if path == "ours" else (_stock_fresh, nullcontext())
    with setting, kind(backbone.model, spec) as model:
        model.train()
        torch.manual_seed(0)
        for layer in lora_layers(model).values():
            torch.nn.init.normal_(layer.lora_A[ADAPTER].weight, std=0.02)
            torch.nn.init.normal_(layer.lora_B[ADAPTER].weight, std=0.02)
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimiser = torch.optim.AdamW(parameters, lr=1e-4)
        loss_of = training_loss if path == "ours" else _stock_loss

        def step() -> float:
            loss = loss_of(backbone, model, examples)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            optimiser.zero_grad()
            return float(loss.item())

        yield step


@contextmanager
def _stock_fresh(model: Any, spec: AdapterSpec) -> Iterator[Any]:
    config = lora_config(model, spec)
    config.lora_dropout = spec.dropout
    wrapped = peft.get_peft_model(model, config)
    try:
        yield wrapped
    finally:
        wrapped.unload()
        model.requires_grad_(False).eval()


def _stock_loss(backbone: Backbone, model: Any, examples: list[tuple[Prompt, int]]) -> torch.Tensor:
    batch = collate([prompt for prompt, _ in examples], backbone.readout)
    columns = torch.tensor([column for _, column in examples], device=backbone.device)
    with _autocast(backbone):
        log_probs = label_log_probs(backbone.readout, batch)
    return torch.nn.functional.nll_loss(log_probs, columns)


def _autocast(backbone: Backbone) -> AbstractContextManager[Any]:
    if backbone.dtype == "float32":
        return nullcontext()
    return torch.autocast(backbone.device.type, dtype=DTYPES[backbone.dtype])


# -- memory ------------------------------------------------------------------------------------------------

PEAKS = ("training, ours", "training, stock peft", "scoring 256 items", "scoring 1024 items")


def bench_memory(arguments: argparse.Namespace) -> dict[str, int]:
    """Measure the peak memory of each path, each in a process of its own."""
    own = ["--model", arguments.model, "--device", arguments.device, "--dtype", arguments.dtype]
    command = [sys.executable, "-W", "ignore", __file__, *own, "--peak"]
    return {path: int(subprocess.check_output([*command, path], text=True).split()[-1]) for path in PEAKS}


def _peak(backbone: Backbone, path: str) -> int:
    """Peak memory in MiB: of the device, or on a CPU of the whole process, model included."""
    if path.startswith("training"):
        with quiet(), _step(backbone, path.partition(", ")[2], "all projections", 0.1) as step:
            step()
            step()
    else:
        items = prompts(int(path.split()[1]))
        short = [Prompt(item.item_id, item.tokens[: PREFIX + 8], item.labels) for item in items]
        _score(backbone, short)
    if backbone.device.type == "cuda":
        return torch.cuda.max_memory_allocated() // 2**20
    status = Path("/proc/self/status")  # ru_maxrss begins with the peak of the parent process
    if status.exists():
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) // 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 2**10


# -- output ------------------------------------------------------------------------------------------------


def show_scoring(scoring: dict[str, Any]) -> None:
    seconds, k = scoring["seconds"], scoring["samples"]
    print(f"Scoring {scoring['items']} items, {scoring['tokens']} tokens, K = {k}")
    for path, value in seconds.items():
        micro, ratio = value / scoring["tokens"] / k * 1e6, scoring["of K base forwards"][path]
        print(f"  {path:24} {value:8.2f} s  {micro:6.0f} µs a token a pass  {ratio:5.2f} × K base forwards")
    for slow in (path for path in ("stock peft, dropout", STAR) if path in seconds):
        print(f"  mc_dropout is {seconds[slow] / seconds['mc_dropout']:.1f} × faster than {slow}")


def show_training(training: dict[str, Any]) -> None:
    print("A training step, r 8, batch 8")
    for setting, row in training.items():
        ours, stock = row["seconds"]["ours"], row["seconds"]["stock peft"]
        losses = "".join(f", loss of {path} {loss:.5f}" for path, loss in row.get("losses", {}).items())
        print(f"  {setting:30} ours {ours:6.2f} s, stock peft {stock:6.2f} s: {row['ratio']:.2f}{losses}")


def show_memory(peaks: dict[str, int]) -> None:
    print("Peak memory, MiB")
    for path, value in peaks.items():
        print(f"  {path:24} {value:6}")


if __name__ == "__main__":
    main()
