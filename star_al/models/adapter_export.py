"""Write a fitted posterior as files that other programs load: peft adapters or whole weights, and the tokenizer.

Predictions average over samples of the posterior. Each sample of most methods is a LoRA adapter, so the folder
holds them all, and what it predicts is what the campaign predicts. At its top is the posterior's mean or mode,
for those who want a single model:

- adapters: the mean as adapter at the top, and the samples in ``sample-<k>``, all for the base model;
- merged: the whole weights of the mean at the top, and the samples as adapters for these weights.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from star_al.errors import ModelError
from star_al.models.adapter_file import CONFIG, WEIGHTS
from star_al.models.artefact_files import read_json, translate_write_errors, write_json, write_tensors
from star_al.models.backbone import Backbone
from star_al.models.labeller.prompt import PromptReader
from star_al.models.lora import PEFT_PREFIX
from star_al.models.posterior import Factors, LowRankPosterior, Posterior
from star_al.models.posterior.merging import merged
from star_al.models.prompts import PromptFormat
from star_al.models.quantised import is_quantised
from star_al.models.quiet import quiet
from star_al.types import Item, JsonObject

TOP = "."
"""The name of the adapter at the top of a folder."""

LORA_NEEDS = "torch, transformers and peft"
"""What an exported adapter needs."""

_ABOVE = ".."
"""What adapters for the merged weights name as their base model."""

_CODE = ("content", "label_tree", "model_body", "piece_tokenizer", "quantised")
"""Modules of ``star_al.models`` that the labeller needs; they need nothing of star_al but its error."""

_SET_CODE = {
    "set_labeller.py": ("star_al.models", "labeller/set_labeller.py"),
    "likeliest_sets.py": ("star_al.acquire", "likeliest_sets.py"),
}
"""Further files of a labeller that gives texts any number of labels, as package and path."""

_ERRORS = '''"""What can go wrong with a text."""


class ModelError(ValueError):
    """The model cannot read a text."""
'''


def low_rank(posterior: Posterior | None, kind: str) -> LowRankPosterior:
    """Return a posterior whose samples are adapters.

    Raises:
        ModelError: Its samples depend on the text.
    """
    if isinstance(posterior, LowRankPosterior):
        return posterior
    raise ModelError(
        f"posterior.kind: {kind} changes the weights with each text, so it is no adapter that other programs can "
        "load. Use star-al predict, or start a campaign with another posterior."
    )


def write_adapters(
    out: Path, posterior: LowRankPosterior, fitted: Path, base: str, draws: Sequence[int], seed: int
) -> list[str]:
    """Write the mean and the samples as peft adapters for the base model.

    Args:
        out: Where to write.
        posterior: The posterior.
        fitted: The artefact that it was read from.
        base: The base model, as peft shall load it.
        draws: The numbers of the samples; none for the mean alone.
        seed: Their seed.

    Returns:
        The names of the adapters that a prediction averages over.

    Raises:
        StoreError: The folder cannot be written.
    """
    if (fitted / WEIGHTS).is_file():  # as trained, with its own rank and alpha
        with translate_write_errors(out):
            shutil.copyfile(fitted / WEIGHTS, out / WEIGHTS)
        write_json(out / CONFIG, read_json(fitted / CONFIG) | {"base_model_name_or_path": base})
    else:
        write_adapter(out, posterior, posterior.factors(seed, None), _peft_config(fitted), base)
    for draw in draws:
        folder = _new_folder(out, draw)
        write_adapter(folder, posterior, posterior.factors(seed, draw), _peft_config(fitted), base)
    return [_sample_name(draw) for draw in draws] or [TOP]


def write_merged(
    out: Path,
    backbone: Backbone,
    posterior: LowRankPosterior,
    fitted: Path,
    draws: Sequence[int],
    seed: int,
) -> list[str]:
    """Write the whole weights of the mean, and the samples as adapters for them.

    Returns:
        The names of the adapters that a prediction averages over; none if it uses the weights alone.

    Raises:
        ModelError: The base model is quantised.
        StoreError: The folder cannot be written.
    """
    model = backbone.model
    if is_quantised(model):
        raise ModelError(
            "the base model is quantised, and nothing can be added to quantised weights. Leave out --merged."
        )
    mean = posterior.factors(seed, None)
    with translate_write_errors(out), quiet(), merged(model, posterior.layers, mean):
        model.save_pretrained(out)
    # The backbone runs without a cache of keys and values, which others will want.
    write_json(out / "config.json", read_json(out / "config.json") | {"use_cache": True})
    for draw in draws:
        difference = _difference(posterior.factors(seed, draw), mean)
        write_adapter(_new_folder(out, draw), posterior, difference, _peft_config(fitted), _ABOVE)
    return [_sample_name(draw) for draw in draws]


def write_reader(out: Path, backbone: Backbone, prompts: PromptFormat, examples: Sequence[Item]) -> None:
    """Write the tokenizer and the code of the labeller, and check that both read texts as the campaign does.

    Args:
        out: Where to write.
        backbone: Has the tokenizer.
        prompts: How the campaign shows texts to the model.
        examples: Texts to check on.

    Raises:
        ModelError: The tokenizer that was written reads a text differently.
        StoreError: The folder cannot be written.
    """
    with translate_write_errors(out), quiet():
        backbone.tokenizer.save_pretrained(out)
        _write_code(out / "labeller", has_sets=prompts.paired)
    with quiet():
        written = Backbone(out, backbone.dtype, backbone.device).tokenizer
    reader = PromptReader(written, prompts.record())
    for item in examples:
        prompt = prompts.encode(item)
        if prompt.truncated and item.options:
            continue  # options that do not fit are refused there
        found = reader.read(item.text, item.options)
        if (found.tokens, found.labels, found.text) != (prompt.tokens, prompt.labels, prompt.text):
            raise ModelError(
                f"{out}: the tokenizer that was written reads item {item.external_id or item.item_id} differently. "
                "Please report this model."
            )


def _write_code(folder: Path, *, has_sets: bool) -> None:
    folder.mkdir()
    models = resources.files("star_al.models")
    sources = {f"{name}.py": models / f"{name}.py" for name in _CODE}
    sources |= {name: models / "labeller" / name for name in ("__init__.py", "labeller.py", "prompt.py")}
    if has_sets:
        sources |= {name: resources.files(package) / path for name, (package, path) in _SET_CODE.items()}
    for name, source in sources.items():
        code = source.read_text(encoding="utf-8")
        if has_sets and name == "__init__.py":
            code = code.replace("labeller.labeller import", "labeller.set_labeller import")
        code = re.sub(r"\bstar_al\.(models\.|acquire\.)?(labeller\.)?", "labeller.", code)
        (folder / name).write_text(code, encoding="utf-8")
    (folder / "errors.py").write_text(_ERRORS, encoding="utf-8")


def _new_folder(out: Path, draw: int) -> Path:
    folder = out / _sample_name(draw)
    with translate_write_errors(out):
        folder.mkdir()
    return folder


def _sample_name(draw: int) -> str:
    return f"sample-{draw}"


def _peft_config(fitted: Path) -> dict[str, Any]:
    """The configuration of an artefact's adapter, or of its first member's."""
    path = fitted / CONFIG
    return read_json(path if path.is_file() else next(iter(sorted(fitted.glob(f"*/{CONFIG}")))))


def _difference(sample: Factors, mean: Factors) -> Factors:
    def factors(name: str) -> tuple[Tensor, Tensor]:
        (b, a), (mean_b, mean_a) = sample(name), mean(name)
        return torch.cat([b, -mean_b], dim=1), torch.cat([a, mean_a])

    return factors


def write_adapter(
    folder: Path, posterior: LowRankPosterior, factors: Factors, config: dict[str, Any], base: str
) -> None:
    """Write factors, which have all scales in them, as an adapter with a scale of 1."""
    pairs = {name: factors(name) for name in sorted(posterior.layers)}
    rank = max(len(a) for _, a in pairs.values())
    tensors: dict[str, Tensor] = {}
    for name, (b, a) in pairs.items():
        missing = rank - len(a)  # layers of lower rank are filled up with zeros
        tensors[f"{PEFT_PREFIX}{name}.lora_A.weight"] = torch.nn.functional.pad(a, (0, 0, 0, missing))
        tensors[f"{PEFT_PREFIX}{name}.lora_B.weight"] = torch.nn.functional.pad(b, (0, missing))
    write_tensors(folder / WEIGHTS, tensors)
    scale = {"r": rank, "lora_alpha": rank, "rank_pattern": {}, "alpha_pattern": {}, "use_rslora": False}
    write_json(folder / CONFIG, config | scale | {"base_model_name_or_path": base, "lora_dropout": 0.0})


def example_code(record: JsonObject) -> str:
    """Return a short program that uses the exported folder."""
    writes: Any = record.get("writes")
    if writes:
        call = "answer" if writes["sure"] else "write"
        return f'''"""Answers to texts. Needs {record.get("needs", LORA_NEEDS)}."""

from pathlib import Path

from labeller import Labeller

labeller = Labeller(Path(__file__).parent)
for text in {_example_texts(record)}:
    print(text, labeller.{call}(text))
'''
    if record.get("sets"):
        return f'''"""Labels of texts. Needs {record.get("needs", LORA_NEEDS)}."""

from pathlib import Path

from labeller import Labeller

labeller = Labeller(Path(__file__).parent)
for text in {_example_texts(record)}:
    probabilities = labeller(text)
    print(text, labeller.choose(text), {{label: round(p, 4) for label, p in probabilities.items()}})
'''
    call = (
        "labeller(text)" if record["labels"] else 'labeller(text, ["the first option", "the second option"])'
    )
    return f'''"""Label probabilities of texts. Needs {record.get("needs", LORA_NEEDS)}."""

from pathlib import Path

from labeller import Labeller

labeller = Labeller(Path(__file__).parent)
for text in {_example_texts(record)}:
    probabilities = {call}
    print(text, {{label: round(p, 4) for label, p in probabilities.items()}})
'''


def _example_texts(record: JsonObject) -> str:
    """Two texts as Python code; dictionaries of columns, if the campaign's template names several."""
    columns: Any = record.get("columns") or {}
    texts = []
    for which in ("first", "second"):
        row = {column: f"The {which} {column}." for column in columns.values()}
        texts.append(repr(row) if len(row) > 1 else f'"The {which} text."')
    return f"[{', '.join(texts)}]"


def write_record(out: Path, record: JsonObject) -> None:
    """Write what the labeller needs to know of the model, and the example.

    Raises:
        StoreError: The folder cannot be written.
    """
    with translate_write_errors(out):
        text = json.dumps(record, ensure_ascii=False, indent=1)
        (out / "labeller.json").write_text(text + "\n", encoding="utf-8")
        (out / "example.py").write_text(example_code(record), encoding="utf-8")
