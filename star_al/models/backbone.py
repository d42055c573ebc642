"""The frozen base model and its tokenizer, from a folder or the Hugging Face hub, and what identifies them."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import transformers

from star_al.common.remembered_hashes import remembered_sha256
from star_al.errors import ModelError
from star_al.models.bare_base import require_bare, require_no_adapter
from star_al.models.devices import DTYPES, first_line, require_gpus, resolve_device, resolve_dtype
from star_al.models.hub_download import download_model
from star_al.models.out_of_memory import is_out_of_memory, translate_out_of_memory
from star_al.models.quantised import cast_unquantised, keep_differentiable, quantised_on
from star_al.models.quiet import quiet
from star_al.models.readout import Readout
from star_al.models.readout_checks import open_readout
from star_al.models.spread import device_map, join_blocks
from star_al.types import JsonObject

_LIBRARIES = ("torch", "transformers", "peft", "tokenizers", "safetensors")
_QUANTISERS = ("bitsandbytes", "torchao")  # these may be missing


def require_quantiser(bits: str) -> None:
    """Check that the library is there which quantises a model when it is loaded.

    Raises:
        ModelError: It is not installed.
    """
    if bits != "none" and importlib.util.find_spec("bitsandbytes") is None:
        raise ModelError(
            f"model.quantise: {bits} needs bitsandbytes, which is not installed. Run: pip install 'star-al[quantised]'"
        )


def locate_model(path: str, revision: str | None, say: Callable[[str], None] = lambda _: None) -> Path:
    """Return the folder of a model, after downloading it if ``path`` is a hub name.

    Args:
        path: A folder, or a name on the Hugging Face hub.
        revision: Branch, tag or commit of a hub name; ``None`` for the default branch.
        say: Called with a line about the size before a large download.

    Raises:
        ModelError: There is no such folder or hub model, or it has no safetensors, or an adapter.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        if folder.exists() or path.startswith((".", "/", "~")) or path.count("/") > 1:
            raise ModelError(f"{path}: not a model folder. Give a folder with config.json and *.safetensors.")
        folder = download_model(path, revision, say=say)
    require_no_adapter(folder, path)
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"{folder}: not a model folder, config.json is missing. Give a saved transformers model."
        )
    if not _weight_files(folder):
        other = any(folder.glob("*.bin"))
        found = "only .bin weights, which can run code when loaded" if other else "no weights"
        raise ModelError(f"{folder}: {found}. Save the model with save_pretrained, which writes safetensors.")
    return folder


def _weight_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


@dataclass(frozen=True)
class Backbone:
    """A frozen base model; tokenizer, weights and fingerprint are read when they are first used.

    Attributes:
        folder: Where its files are.
        dtype: One of ``DTYPES``.
        device: Where it runs.
        quantise: ``model.quantise``.
        gpus: Over how many GPUs it is spread, from ``device`` on.
    """

    folder: Path
    dtype: str
    device: torch.device
    quantise: str = "none"
    gpus: int = 1

    @cached_property
    def config(self) -> Any:
        """The transformers configuration.

        Raises:
            ModelError: It is not the configuration of a causal language model that transformers knows.
        """
        try:
            with quiet():
                config = transformers.AutoConfig.from_pretrained(self.folder, trust_remote_code=False)
        except (OSError, ValueError, KeyError) as exc:
            raise ModelError(f"{self.folder}: config.json cannot be used: {first_line(exc)}") from exc
        if config.is_encoder_decoder or type(config) not in transformers.MODEL_FOR_CAUSAL_LM_MAPPING:
            raise ModelError(
                f"{self.folder}: a {config.model_type} model is no causal language model. "
                "Give one that continues text, such as Llama, Qwen, Gemma, GPT-2."
            )
        return config

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer.

        Raises:
            ModelError: It is missing or damaged.
        """
        try:
            with quiet():
                return transformers.AutoTokenizer.from_pretrained(self.folder, trust_remote_code=False)
        except Exception as exc:  # tokenizers raise bare Exception on a damaged file
            raise ModelError(f"{self.folder}: the tokenizer cannot be loaded: {first_line(exc)}") from exc

    @cached_property
    def context(self) -> int:
        """The longest input in tokens."""
        text_config = self.config.get_text_config()
        limits = [getattr(text_config, "max_position_embeddings", None), self.tokenizer.model_max_length]
        return min((limit for limit in limits if limit is not None and limit > 0), default=2**31)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of weights, configuration and tokenizer files, and of how they are quantised, not of the dtype."""
        names = [
            "config.json",
            "tokenizer.json",
            "tokenizer_config.json",
            "tokenizer.model",
            "chat_template.jinja",
        ]
        names += ["special_tokens_map.json", "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt"]
        files = [self.folder / name for name in names if (self.folder / name).is_file()]
        parts = {path.name: remembered_sha256(path) for path in [*files, *_weight_files(self.folder)]}
        if self.quantise != "none":
            parts["quantise"] = self.quantise
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @cached_property
    def model(self) -> Any:
        """The model in evaluation mode, frozen, on its device.

        Raises:
            ModelError: The weights are damaged or incomplete or do not fit into memory, or the library that
                quantised them is not installed.
        """
        auto: Any = transformers.AutoModelForCausalLM
        saved = getattr(self.config, "quantization_config", None) is not None
        if saved and self.quantise != "none":
            raise ModelError(f"{self.folder}: the model was saved quantised. Leave out model.quantise.")
        # transformers would choose CUDA for what is quantised.
        options: dict[str, Any] = {"device_map": {"": str(self.device)} if saved else None}
        options |= quantised_on(str(self.device), self.quantise, DTYPES[self.dtype])
        if self.gpus > 1:
            options["device_map"] = self._places()
        try:
            with quiet():
                model, report = auto.from_pretrained(
                    self.folder,
                    config=self.config,
                    dtype=DTYPES[self.dtype],
                    trust_remote_code=False,
                    use_safetensors=True,
                    output_loading_info=True,
                    **options,
                )
                if self.gpus > 1:
                    join_blocks(model)
                else:
                    model.to(self.device)
        except Exception as exc:  # safetensors, transformers and torch have no common class of errors
            missing = isinstance(exc, ImportError) and "bitsandbytes" in str(exc)
            advice = ". Install star-al[quantised], or give the model unquantised." if missing else ""
            if is_out_of_memory(exc):
                advice = ". Set model.quantise, model.gpus or another model.device, or give a smaller model."
            raise ModelError(f"{self.folder}: the model cannot be loaded: {first_line(exc)}{advice}") from exc
        require_bare(model, self.folder)
        absent = sorted(map(str, [*report["missing_keys"], *report["mismatched_keys"]]))
        if absent:
            raise ModelError(
                f"{self.folder}: the weight files lack {len(absent)} tensors, such as {absent[0]}."
            )
        if saved or self.quantise != "none":
            cast_unquantised(model, DTYPES[self.dtype])
            keep_differentiable(model, DTYPES[self.dtype])
        model.config.use_cache = False
        return model.eval().requires_grad_(False)

    def _places(self) -> dict[str, str]:
        """Return the GPU of each part of the model."""
        first = self.device.index or 0
        devices = [torch.device("cuda", first + number) for number in range(self.gpus)]
        return device_map(self.config, devices, DTYPES[self.dtype], self.quantise)

    @cached_property
    def readout(self) -> Readout:
        """Hidden states and logits of the model.

        Raises:
            ModelError: The model is not built in a way that star_al can read.
        """
        model = self.model
        message = f"the model runs out of memory on {self.device}. Set another model.device."
        try:
            with quiet(), translate_out_of_memory(message):
                return open_readout(model)
        except (TypeError, ValueError, RuntimeError, AttributeError, AssertionError, LookupError) as exc:
            raise ModelError(
                f"{self.folder}: {type(model).__name__} cannot be read as a causal language model: "
                f"{first_line(exc)}. Give another, such as Llama, Qwen, Gemma, GPT-2."
            ) from exc

    def versions(self) -> JsonObject:
        """Return the versions of libraries, and device, threads and dtype."""
        cuda = self.device.type == "cuda"
        return {
            **{name: importlib.metadata.version(name) for name in _LIBRARIES},
            **{name: version for name in _QUANTISERS if (version := _installed(name)) is not None},
            "device": torch.cuda.get_device_name(self.device) if cuda else self.device.type,
            "threads": torch.get_num_threads(),
            "dtype": self.dtype,
        }


def load_backbone(
    path: str,
    *,
    revision: str | None,
    dtype: str,
    device: str,
    quantise: str = "none",
    gpus: int = 1,
    say: Callable[[str], None] = lambda _: None,
) -> Backbone:
    """Locate a base model and choose how to run it.

    Args:
        path: A folder, or a name on the Hugging Face hub.
        revision: Branch, tag or commit of a hub name.
        dtype: One of ``DTYPES``, or ``auto``.
        device: A torch device, or ``auto``.
        quantise: ``model.quantise``.
        gpus: Over how many GPUs it is spread, from ``device`` on.
        say: Called with a line about the size before a large download.

    Returns:
        The backbone; its weights are not loaded yet.

    Raises:
        ModelError: There is no such model or device, or the library that quantises is not installed.
    """
    place = resolve_device(device)
    require_gpus(place, gpus, "model.gpus")
    require_quantiser(quantise)
    return Backbone(locate_model(path, revision, say), resolve_dtype(dtype, place), place, quantise, gpus)


def _installed(name: str) -> str | None:
    """Return the version of a library, or ``None`` if it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
