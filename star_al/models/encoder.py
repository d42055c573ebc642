"""A sentence encoder: texts → vectors. A text has one vector, to the bit, whatever is encoded with it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from star_al.errors import ModelError, NotFiniteError, OutOfMemoryError
from star_al.models.devices import DTYPES, first_line, resolve_device, resolve_dtype
from star_al.models.encoded import Encoded
from star_al.models.encoder_files import fingerprint, locate_encoder
from star_al.models.fixed_batches import fixed_batches
from star_al.models.out_of_memory import Portions, is_out_of_memory
from star_al.models.quiet import quiet
from star_al.models.windows import MOST_WINDOWS, Windows
from star_al.ports import Advance
from star_al.types import Float32Array

FORMAT = 1
"""Version of how texts are encoded. It grows if the same files may give a text another vector."""

_LONGEST_BY_DEFAULT = 512
"""Tokens of a window where the encoder sets no limit of its own, or one above it."""


def open_encoder(
    name: str,
    *,
    revision: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    max_tokens: int | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> SentenceEncoder:
    """Find an encoder, downloading it if need be. Its weights are loaded when they are first used.

    Args:
        name: A folder in the format of sentence-transformers or of a transformers encoder (then the mean over
            tokens is taken), or the hub name of such a model.
        revision: Branch, tag or commit of a hub name.
        device: A torch device, or ``auto``.
        dtype: ``bfloat16``, ``float32``, or ``auto`` for the faster of them here.
        max_tokens: Tokens of a window; None for the encoder's own limit.
        say: Called with a line about the size before a large download.

    Raises:
        ModelError: There is no such encoder, or it cannot be used safely.
    """
    place = resolve_device(device)
    return SentenceEncoder(
        locate_encoder(name, revision, say), place, resolve_dtype(dtype, place), max_tokens
    )


MANY_TEXTS = 64
"""From so many texts on, other processes may encode them; a few are read sooner than they are sent."""


class SentenceEncoder:
    """Encodes texts with a model of the sentence-transformers library.

    Args:
        folder: Its files.
        device: Where it runs.
        dtype: One of ``DTYPES``.
        max_tokens: Tokens of a window; None for the encoder's own limit.

    Attributes:
        most_windows: Windows of a text that are read; the rest of it is cut.
        elsewhere: Encodes many texts in other processes, with the same result; None to encode all here.
    """

    most_windows = MOST_WINDOWS
    elsewhere: Callable[[Sequence[str], Advance], Encoded] | None = None

    def __init__(self, folder: Path, device: torch.device, dtype: str, max_tokens: int | None) -> None:
        self.folder, self.device, self.dtype = folder, device, dtype
        self._asked = max_tokens
        self._portions = Portions()

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all that a vector depends on, but for device and library versions. Loads no weights."""
        parts = [FORMAT, fingerprint(self.folder), self.dtype, self._asked, self.most_windows]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @cached_property
    def max_tokens(self) -> int:
        """Tokens of a window."""
        own = self._model.max_seq_length
        own = own if isinstance(own, int) and 0 < own < 2**30 else _LONGEST_BY_DEFAULT
        return min(self._asked, self._context) if self._asked else min(own, self._context)

    @cached_property
    def dimension(self) -> int:
        """Numbers in a vector."""
        return int(self._model.get_embedding_dimension())

    def check(self) -> None:
        """Load the encoder and encode a word.

        Raises:
            ModelError: It cannot be loaded or its answer is NaN.
        """
        self.encode(["text"])

    def encode(self, texts: Sequence[str], advance: Advance = lambda _: None) -> Encoded:
        """Encode texts. A long one is read in several windows, whose vectors are averaged.

        Args:
            texts: N texts.
            advance: Counts texts.

        Raises:
            NotFiniteError: The vector of a text is NaN.
            OutOfMemoryError: A batch does not fit into memory.
            ModelError: The encoder cannot be loaded.
        """
        if self.elsewhere is not None and len(texts) >= MANY_TEXTS:
            return self.elsewhere(texts, advance)
        split = self._windows.split(texts)
        sums_N_d = np.zeros((len(texts), self.dimension))
        n_windows_N = np.bincount(split.owners, minlength=len(texts))
        left_N = n_windows_N.copy()
        with quiet():
            for batch in fixed_batches(split.lengths, self.max_tokens, self.device):
                vectors = self._forward([split.texts[position] for position in batch.filled], batch.width)
                owners = split.owners[batch.positions]
                np.add.at(sums_N_d, owners, vectors[: len(owners)])
                np.subtract.at(left_N, owners, 1)
                advance(int((left_N[np.unique(owners)] == 0).sum()))
        vectors_N_d = (sums_N_d / n_windows_N[:, None]).astype(np.float32)
        _require_finite(vectors_N_d, texts)
        return Encoded(vectors_N_d, split.cut)

    # -- the model -----------------------------------------------------------------------------------------

    @cached_property
    def _model(self) -> Any:
        """The model without a final normalisation, in evaluation mode.

        Raises:
            ModelError: It cannot be loaded.
        """
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer.modules import Normalize

        try:
            with quiet():
                model: Any = SentenceTransformer(
                    str(self.folder),
                    device=str(self.device),
                    trust_remote_code=False,
                    local_files_only=True,
                    model_kwargs={"dtype": DTYPES[self.dtype], "use_safetensors": True},
                )
        except Exception as exc:  # safetensors, transformers and torch have no common class of errors
            if is_out_of_memory(exc):
                raise OutOfMemoryError(
                    f"{self.folder}: the encoder does not fit into the memory of {self.device}. "
                    "Set another model.device, or a smaller head.encoder."
                ) from exc
            raise ModelError(f"{self.folder}: the encoder cannot be loaded: {first_line(exc)}") from exc
        while len(model) > 1 and isinstance(model[-1], Normalize):
            del model[-1]
        return model.eval().requires_grad_(False)

    @property
    def _context(self) -> int:
        """The most tokens that the network has positions for."""
        config = self._model.config
        positions = getattr(config, "max_position_embeddings", None) if config is not None else None
        # RoBERTa and its descendants count positions from the padding token's id on.
        offset = (
            2 if getattr(config, "model_type", "") in ("roberta", "xlm-roberta", "camembert", "mpnet") else 0
        )
        return positions - offset if isinstance(positions, int) and positions > 0 else 2**30

    @cached_property
    def _prompt(self) -> str:
        """What the encoder's own settings put before each text."""
        return (self._model.prompts or {}).get(self._model.default_prompt_name) or ""

    @cached_property
    def _windows(self) -> Windows:
        return Windows(self._model.tokenizer, self._prompt, self.max_tokens, self.most_windows)

    def _forward(self, texts: list[str], width: int) -> Float32Array:
        """Return the vectors of a batch whose texts are padded to ``width`` tokens."""
        message = (
            f"a text of {width} tokens does not fit into the memory of {self.device}. "
            "Lower head.max_tokens, or set another model.device."
        )
        try:
            return self._portions.read(lambda part: self._read(part, width), texts, message)
        except (RuntimeError, ValueError, TypeError, LookupError) as exc:
            raise ModelError(f"{self.folder}: the encoder cannot read a text: {first_line(exc)}") from exc

    def _read(self, texts: list[str], width: int) -> Float32Array:
        shape = {"padding": "max_length", "max_length": width, "truncation": True}
        with torch.inference_mode():
            inputs = self._model.preprocess(
                texts, prompt=self._prompt or None, processing_kwargs={"text": shape}
            )
            inputs = {
                name: value.to(self.device) if isinstance(value, torch.Tensor) else value
                for name, value in inputs.items()
            }
            vectors: Float32Array = self._model(inputs)["sentence_embedding"].float().cpu().numpy()
        return vectors


def _require_finite(vectors_N_d: Float32Array, texts: Sequence[str]) -> None:
    wrong = ~np.isfinite(vectors_N_d).all(axis=1)
    if wrong.any():
        text = texts[int(wrong.argmax())]
        raise NotFiniteError(
            f"the encoder answers NaN for the text {text[:60]!r}. Check the weights of head.encoder, or set another."
        )
