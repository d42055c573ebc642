"""Compare star_al with plain transformers and peft on every causal language model of the installed transformers.

Each architecture is built tiny and random, and read in texts longer than its attention windows. Compared are the base
model's label probabilities, the gradient of the adapter, and the probabilities of a merged adapter. Results are
written as they come, and an architecture whose result is there is skipped:

    python scripts/sweep_architectures.py --out sweep.json
    python scripts/sweep_architectures.py --out sweep.json --only llama,mamba --again
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import multiprocessing
import resource
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import peft
import torch
import transformers
from safetensors.torch import load_file, save_file
from tiny_architectures import UnbuiltError, architectures, save_tiny
from torch import Tensor

from star_al.app.language_learners import posterior_method
from star_al.common.files import replacing
from star_al.config.spec import CampaignSpec
from star_al.errors import StarALError
from star_al.models.adapter_file import WEIGHTS, load_adapter
from star_al.models.learner import LoraLearner
from star_al.models.lora import ADAPTER, attached, lora_layers
from star_al.models.prompts import Prompt
from star_al.models.targets import answered
from star_al.models.train import _start_from
from star_al.models.training_loss import training_loss
from star_al.task import closed, make_task
from star_al.types import FloatArray, Item

VERDICTS = {
    "exact": "equals plain transformers and peft",
    "refused": "refused with a message before anything is labelled",
    "late": "refused or failed after labels were bought",
    "wrong": "differs",
    "unbuilt": "no tiny model could be made",
}

LABELS = ("sport", "sports", "tech news", "politics")
WORDS = ["team", "cup", "striker", "final", "phone", "chip", "company", "minister", "election", "parliament"]
SENTENCES = (
    "Classify the text. Answer with exactly one of these labels: sport, sports, tech news, politics. Text: Label:",
    "The team won the cup final, and the striker of the company phone chip met the minister of parliament.",
    "user assistant system positive negative neutral the a of in was election",
)

NATS = 1e-3
"""Largest difference of log-probabilities that counts as equal."""
SHARE = 1e-3
"""Largest difference of a gradient, as a share of its largest entry."""
SECONDS = 600
"""An architecture that takes longer is given up."""
GIGABYTES = 3.0
"""Memory that an architecture may take besides the libraries."""


@dataclass(frozen=True)
class Cell:
    """What was found for one architecture.

    Attributes:
        verdict: One of ``VERDICTS``.
        note: The message, or what differs.
        base: Largest difference of the base model's log-probabilities, in nats.
        gradient: Largest difference of the adapter's gradient, as a share of its largest entry.
        merged: Largest difference of a merged adapter's log-probabilities, in nats.
        adapted: Kinds of layers that are adapted.
    """

    verdict: str
    note: str = ""
    base: float | None = None
    gradient: float | None = None
    merged: float | None = None
    adapted: tuple[str, ...] = ()


def build_tokenizer() -> Any:
    """Return a small tokenizer, without a chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=430,
        show_progress=False,
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    bpe.train_from_iterator([*SENTENCES] * 5, trainer)
    fast: Any = transformers.PreTrainedTokenizerFast
    tokenizer = fast(tokenizer_object=bpe, bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    tokenizer.model_max_length = 256
    return tokenizer


def open_learner(folder: Path, **adapter: Any) -> LoraLearner:
    """Return a learner of the model in ``folder`` with settings under which training is deterministic."""
    spec = CampaignSpec.model_validate(
        {
            "name": "sweep",
            "data": {"path": "unused.jsonl"},
            "task": {"kind": "classification", "labels": LABELS, "chat_template": False},
            "model": {"name": "tiny", "dtype": "float32", "device": "cpu", "max_tokens": 200},
            "annotator": {"kind": "oracle", "gold": "label"},
            "posterior": {"kind": "map"},
            "adapter": {"dropout": 0.0, "epochs": 1, "batch_size": 4, **adapter},
        }
    )
    return LoraLearner(closed(make_task(spec.task)), spec, str(folder), posterior_method(spec.posterior))


def texts() -> list[Item]:
    """Return items of several lengths, all longer than an attention window."""
    rng = np.random.default_rng(0)
    return [Item(f"item{n}", " ".join(rng.choice(WORDS, 24 + 5 * n))) for n in range(4)]


def examine(folder: Path) -> Cell:
    """Compare a model's figures with those of plain transformers and peft."""
    one, items = open_learner(folder), texts()
    try:
        one.check(items)
    except StarALError as exc:
        return Cell("refused", str(exc).replace(f"{folder}: ", ""))
    prompts = [one.prompts.encode(item) for item in items]
    base = np.stack([prediction.log_probs_C for prediction in one.base_predict(items, _ignore)])
    expected = plain_log_probs(load_plain(folder), prompts).detach().numpy()
    adapter = folder / "adapter"
    adapter.mkdir()
    examples = [(item, LABELS[n % len(LABELS)]) for n, item in enumerate(items)]
    try:
        one.fit(examples, seed=0, folder=adapter, parent=None, advance=_ignore)
    except Exception as exc:
        return Cell("late", f"{type(exc).__name__}: {exc}")
    _randomise_b(adapter)
    merged = one.predict(adapter, items, draws=None, seed=0, advance=_ignore).log_probs_N_K_C[:, 0]
    wrapped = peft.PeftModel.from_pretrained(load_plain(folder), str(adapter), is_trainable=True).eval()
    log_probs = plain_log_probs(wrapped, prompts)
    columns = torch.arange(len(items)) % len(LABELS)
    (-log_probs[torch.arange(len(items)), columns].mean()).backward()
    reference = {name: _gradient(layer) for name, layer in lora_layers(wrapped).items()}
    differences = {
        "base": _largest(base - expected),
        "merged": _largest(merged - log_probs.detach().numpy()),
        "gradient": _gradient_difference(own_gradient(one, prompts, columns.tolist(), adapter), reference),
    }
    limits = {"base": NATS, "merged": NATS, "gradient": SHARE}
    wrong = [name for name, limit in limits.items() if not differences[name] <= limit]
    effect = _largest(merged - base)
    if effect < 10 * NATS or _largest(base - base[:, :1]) < 10 * NATS:
        return Cell("unbuilt", f"the adapter or the text makes no difference ({effect:.1e} nats)")
    adapted = tuple(sorted({name.rpartition(".")[2] for name in load_adapter(adapter).a}))
    return Cell("wrong" if wrong else "exact", ", ".join(wrong), **differences, adapted=adapted)


def own_gradient(
    one: LoraLearner, prompts: Sequence[Prompt], columns: Sequence[int], adapter: Path
) -> dict[str, tuple[Tensor | None, Tensor | None]]:
    """Return star_al's gradient of A and B by layer, at the adapter in a folder."""
    targets = [answered(prompt, column) for prompt, column in zip(prompts, columns, strict=True)]
    with attached(one.backbone.model, one._spec.adapter) as model:
        _start_from(model, load_adapter(adapter))
        model.train()
        training_loss(one.backbone, model, targets).backward()
        return {name: _gradient(layer) for name, layer in lora_layers(model).items()}


def load_plain(folder: Path) -> Any:
    """Load the model as anybody would."""
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def plain_log_probs(model: Any, prompts: Iterable[Prompt]) -> Tensor:
    """Return log-probabilities (N, C), float64, by one forward pass for each prompt and label."""
    rows = []
    for prompt in prompts:
        sums = []
        for label in prompt.labels:
            ids = torch.tensor([[*prompt.tokens, *label]])
            steps = model(input_ids=ids, use_cache=False).logits[0].double().log_softmax(-1)
            start = len(prompt.tokens) - 1
            sums.append(sum(steps[start + place, token] for place, token in enumerate(label)))
        rows.append(torch.stack(sums).log_softmax(0))
    return torch.stack(rows)


def _randomise_b(folder: Path) -> None:
    """Replace B of a trained adapter, which is nearly zero after one step."""
    generator = torch.Generator().manual_seed(1)
    tensors = load_file(folder / WEIGHTS)
    for name in sorted(tensors):
        if ".lora_B." in name:
            tensors[name] = torch.randn(tensors[name].shape, generator=generator) * 0.05
    save_file(tensors, folder / WEIGHTS)


def _gradient(layer: Any) -> tuple[Tensor | None, Tensor | None]:
    return layer.lora_A[ADAPTER].weight.grad, layer.lora_B[ADAPTER].weight.grad


def _gradient_difference(
    found: Mapping[str, tuple[Tensor | None, Tensor | None]],
    expected: Mapping[str, tuple[Tensor | None, Tensor | None]],
) -> float:
    """Return the largest difference as a share of the largest entry; infinite if other layers are adapted."""
    if found.keys() != expected.keys():
        return float("inf")
    pairs = [
        (left, right)
        for name in found
        for left, right in zip(found[name], expected[name], strict=True)
        if left is not None or right is not None
    ]
    largest = max((float(right.abs().max()) for _, right in pairs if right is not None), default=0.0)
    differences = [
        float(((0 if left is None else left) - (0 if right is None else right)).abs().max())  # type: ignore[union-attr]
        for left, right in pairs
    ]
    return _largest(np.array(differences)) / largest if largest else float("inf")


def _largest(values: FloatArray) -> float:
    return float(np.abs(values).max()) if np.isfinite(values).all() else float("inf")


def _ignore(_: int) -> None:
    """Take progress that nobody watches."""


# -- one process for each ----------------------------------------------------------------------------------


def sweep_one(model_type: str, *, causal: bool = True) -> Cell:
    """Build an architecture and examine it."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory(prefix="sweep-") as name:
        try:
            save_tiny(Path(name), model_type, build_tokenizer(), causal=causal)
        except UnbuiltError as exc:
            return Cell("unbuilt", str(exc))
        try:
            return examine(Path(name))
        except Exception as exc:
            return Cell("wrong", f"{type(exc).__name__}: {' '.join(str(exc).split())[:300]}")


def _child(model_type: str, causal: bool, answer: Connection) -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = used + int(GIGABYTES * 1e9)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    answer.send(asdict(sweep_one(model_type, causal=causal)))


def in_own_process(model_type: str, *, causal: bool) -> Cell:
    """Examine an architecture in a process with limited memory and time."""
    context = multiprocessing.get_context("forkserver")
    answer, other = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(model_type, causal, other))
    process.start()
    other.close()
    try:
        if not answer.poll(SECONDS):
            return Cell("unbuilt", f"took longer than {SECONDS} s")
        return Cell(**answer.recv())
    except EOFError:
        process.join()
        return Cell("unbuilt", f"its process ended with code {process.exitcode}")
    finally:
        process.kill()
        process.join()


# -- the table ---------------------------------------------------------------------------------------------


def table(cells: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the results as a table in Markdown, worst first."""
    order = ["wrong", "late", "exact", "refused", "unbuilt"]
    rows = [
        "| Model type | Verdict | Base | Gradient | Merged | Note |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, cell in sorted(cells.items(), key=lambda pair: (order.index(pair[1]["verdict"]), pair[0])):
        figures = [_figure(cell[key]) for key in ("base", "gradient", "merged")]
        note = str(cell["note"]).replace("|", "\\|")[:160]
        rows.append(f"| {name} | {cell['verdict']} | {' | '.join(figures)} | {note} |")
    return "\n".join(rows)


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.0e}"


def summary(cells: Mapping[str, Mapping[str, Any]]) -> str:
    """Return how often each verdict came."""
    counts = Counter(cell["verdict"] for cell in cells.values())
    return ", ".join(f"{name}: {counts[name]}" for name in VERDICTS)


def versions() -> dict[str, str]:
    """Return the versions that results depend on."""
    return {name: importlib.metadata.version(name) for name in ("torch", "transformers", "peft")}


def sweep(names: Sequence[str], out: Path, jobs: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Examine the architectures of ``names`` that ``out`` does not have, and write each result as it comes."""
    known, results = architectures(), _read(out)
    cells = results["cells"]
    with ThreadPoolExecutor(jobs) as pool:
        missing = [name for name in names if name not in cells]
        running = {pool.submit(in_own_process, name, causal=known[name]): name for name in missing}
        for done in as_completed(running):
            name, cell = running[done], done.result()
            cells[name] = asdict(cell)
            say(f"{name}: {cell.verdict} {cell.note}")
            with replacing(out) as temporary:
                temporary.write_text(json.dumps(results, indent=0, sort_keys=True) + "\n")
    return results


def _read(out: Path) -> dict[str, Any]:
    if out.is_file():
        found: dict[str, Any] = json.loads(out.read_text())
        if found["versions"] == versions():
            return found
    return {"versions": versions(), "cells": {}}


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--out", type=Path, required=True, help="JSON file of results")
    parser.add_argument("--only", default="", help="model types, comma-separated; by default all")
    parser.add_argument("--jobs", type=int, default=1, help="architectures at a time")
    parser.add_argument("--again", action="store_true", help="examine those of --only again")
    options = parser.parse_args(arguments)
    names = [name for name in options.only.split(",") if name] or list(architectures())
    if options.again:
        results = _read(options.out)
        results["cells"] = {name: cell for name, cell in results["cells"].items() if name not in names}
        options.out.write_text(json.dumps(results))
    multiprocessing.get_context("forkserver").set_forkserver_preload(["sweep_architectures"])
    results = sweep(names, options.out, options.jobs, lambda line: print(line, flush=True))
    shown = {name: results["cells"][name] for name in names}
    print(f"\n{table(shown)}\n\n{summary(shown)}")
    return int(any(cell["verdict"] in ("wrong", "late") for cell in shown.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
