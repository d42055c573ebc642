"""The files of a sentence encoder: where they are, whether they can be used, and what identifies them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from star_al.common.remembered_hashes import remembered_sha256
from star_al.errors import ModelError
from star_al.models.bare_base import require_no_adapter
from star_al.models.hub_download import download_model, find_cached

ADVICE = "Set head.encoder to a sentence encoder, such as sentence-transformers/all-MiniLM-L6-v2, or to its folder."

_SOURCE = "sentence_transformers."
"""Where the classes of an encoder's modules come from; others would be code that its folder brings along."""

_NO_PART = ("onnx", "openvino")
"""Folders of a hub model that hold the same weights for other programs."""


def locate_encoder(name: str, revision: str | None, say: Callable[[str], None]) -> Path:
    """Return the folder of an encoder, after downloading it if ``name`` is a hub name that is not in the cache.

    Args:
        name: A folder, or a name on the Hugging Face hub.
        revision: Branch, tag or commit of a hub name; None for the newest when it is fetched.
        say: Called with a line about the size before a large download.

    Raises:
        ModelError: There is no such encoder, or it cannot be used safely.
    """
    folder = Path(name).expanduser()
    if not folder.is_dir():
        folder = _of_hub(name, revision, say)
    require_no_adapter(folder, name)
    _require_encoder(folder)
    return folder


def is_hub_name(name: str) -> bool:
    """Return whether ``name`` can only be a model on the hub: there is no such folder, nor is it written as one."""
    folder = Path(name).expanduser()
    return not (folder.exists() or name.startswith((".", "/", "~")) or name.count("/") > 1)


def fingerprint(folder: Path) -> str:
    """SHA-256 of an encoder's weights, tokenizer and settings. Files for other programs do not count."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if _counts(path, folder)}
    parts = {name: remembered_sha256(path) for name, path in files.items()}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _of_hub(name: str, revision: str | None, say: Callable[[str], None]) -> Path:
    if not is_hub_name(name):
        raise ModelError(f"head.encoder {name!r}: there is no such folder. {ADVICE}")
    cached = find_cached(name, revision)
    if cached is not None and _weights(cached):
        return cached
    return download_model(name, revision, say=say)


def _require_encoder(folder: Path) -> None:
    """Refuse a folder without an encoder, or one whose parts would run code of their own.

    Raises:
        ModelError: Says what is wrong with it.
    """
    modules = _json(folder / "modules.json")
    if not (isinstance(modules, list) or (folder / "config.json").is_file()):
        raise ModelError(f"{folder}: not an encoder, it has neither modules.json nor config.json. {ADVICE}")
    for module in modules or []:
        kind = module.get("type") if isinstance(module, dict) else None
        if not str(kind).startswith(_SOURCE):
            raise ModelError(
                f"{folder}: modules.json names {kind}, which would run code of the model. {ADVICE}"
            )
    if not _weights(folder):
        other = any(folder.rglob("*.bin"))
        found = "only .bin weights, which can run code when loaded" if other else "no weights"
        raise ModelError(
            f"{folder}: {found}. Give an encoder that is saved with safetensors "
            "(SentenceTransformer(name).save_pretrained(folder) writes them)."
        )
    unsafe = [path for path in folder.rglob("*.bin") if _is_alone(path, folder)]
    if unsafe:
        raise ModelError(
            f"{unsafe[0]}: .bin weights can run code when loaded, and there are none in safetensors beside them. "
            f"{ADVICE}"
        )
    architectures = (_json(folder / "config.json") or {}).get("architectures") or []
    causal = [one for one in architectures if "CausalLM" in str(one) or str(one).endswith("LMHeadModel")]
    if causal and modules is None:
        raise ModelError(
            f"{folder}: {causal[0]} is a language model, not a sentence encoder. {ADVICE} "
            "With learner.kind: lora, head.features: model uses the states of model.name."
        )


def _weights(folder: Path) -> list[Path]:
    return [
        path for path in folder.rglob("*.safetensors") if path.relative_to(folder).parts[0] not in _NO_PART
    ]


def _is_alone(weights: Path, folder: Path) -> bool:
    """Return whether a .bin file would be loaded for lack of safetensors in its own folder."""
    if weights.relative_to(folder).parts[0] in _NO_PART:
        return False
    return weights.name.startswith("pytorch_model") and not any(weights.parent.glob("*.safetensors"))


def _counts(path: Path, folder: Path) -> bool:
    """Return whether a file decides on the vectors."""
    parts = path.relative_to(folder).parts
    if parts[0] in _NO_PART or any(part.startswith(".") for part in parts) or not path.is_file():
        return False
    return path.suffix in (".safetensors", ".model", ".txt") or path.name in _SETTINGS


_SETTINGS = {
    "modules.json",
    "config.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
}


def _json(path: Path) -> Any:
    """Return the content of a JSON file; None if there is none, or none that can be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
