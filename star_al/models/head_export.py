"""Write a trained head as a folder that predicts without star_al."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from star_al.acquire.embeddings import unit_vectors
from star_al.errors import ModelError
from star_al.head import (
    LABEL_NAMES,
    SIMILARITY,
    FittedChoiceHead,
    FittedHead,
    HeadPredictor,
    LabelSetPredictor,
)
from star_al.models.artefact_files import translate_write_errors
from star_al.models.head_texts import TextReader
from star_al.models.licence import find_licence
from star_al.models.opened_heads import KIND
from star_al.types import FloatArray, JsonObject


def write_head(out: Path, predictor: HeadPredictor, reader: TextReader) -> JsonObject:
    """Write a head, and the code that predicts by it.

    Args:
        out: Where to write.
        predictor: Predicts by the head.
        reader: Read the texts that it was trained on.

    Returns:
        What is needed to use the folder.

    Raises:
        ModelError: The head reads more than the sentence encoder's vectors.
        StoreError: The folder cannot be written.
    """
    head = predictor.head
    _require_encoder_alone(list(head.reader.scalings), set(head.offset_weights) - {LABEL_NAMES})
    scaling, smoothing = head.reader.scalings["encoder"], head.smoothing
    arrays: dict[str, NDArray[Any]] = {
        "mean": scaling.mean_d,
        "matrix": scaling.matrix_d_r.astype(np.float64) @ head.weights_r_C,
        "bias": head.bias_C,
    }
    names_weight = head.offset_weights.get(LABEL_NAMES, 0.0)
    if names_weight:
        arrays |= {
            "names": unit_vectors(reader.label_embeddings_C_d),
            "names_mean": head.reader.offset_means[LABEL_NAMES],
        }
    if smoothing.neighbours:
        arrays |= {"pool": predictor.unit_pool.rows(), "pool_probabilities": predictor.labelled_pool_P_C}
    _write(out, arrays, "labeller.py")
    return {
        **_needed(reader),
        "names_weight": names_weight,
        "neighbours": smoothing.neighbours,
        "neighbour_weight": smoothing.weight,
        "head_temperature": smoothing.temperature,
    }


def write_choice_head(out: Path, head: FittedChoiceHead, reader: TextReader) -> JsonObject:
    """Write a head for multiple choice, and the code that predicts by it.

    Args:
        out: Where to write.
        head: The head.
        reader: Read the texts that it was trained on.

    Returns:
        What is needed to use the folder.

    Raises:
        ModelError: The head reads more than the sentence encoder's vectors.
        StoreError: The folder cannot be written.
    """
    _require_encoder_alone(list(head.scalings), set(head.offset_weights) - {SIMILARITY})
    weights_d = head.scalings["encoder"].matrix_d_r.astype(np.float64) @ head.weights_r
    _write(out, {"weights": weights_d}, "choice_labeller.py")
    return {
        **_needed(reader),
        "similarity_weight": head.offset_weights.get(SIMILARITY, 0.0),
        "neighbours": 0,
        "head_temperature": head.temperature,
    }


def write_label_set_head(out: Path, predictor: LabelSetPredictor, reader: TextReader) -> JsonObject:
    """Write the heads of all labels, and the code that predicts by them.

    Args:
        out: Where to write.
        predictor: Predicts by the heads.
        reader: Read the texts that they were trained on.

    Returns:
        What is needed to use the folder.

    Raises:
        ModelError: A head reads more than the sentence encoder's vectors.
        StoreError: The folder cannot be written.
    """
    heads = predictor.head.heads
    for head in heads:
        _require_encoder_alone(list(head.reader.scalings), set(head.offset_weights) - {LABEL_NAMES})
    weights, biases = zip(*map(_of_having, heads), strict=True)
    arrays: dict[str, NDArray[Any]] = {"weights": np.stack(weights, axis=1), "bias": np.array(biases)}
    names_weights = [head.offset_weights.get(LABEL_NAMES, 0.0) for head in heads]
    if any(names_weights):
        names = unit_vectors(reader.label_embeddings_C_d)
        arrays |= {"names": names, "names_weights": np.array(names_weights)}
    if any(head.smoothing.neighbours for head in heads):
        pool_P_L = np.stack([one.labelled_pool_P_C[:, 1] for one in predictor.of_labels], axis=1)
        arrays |= {"pool": predictor.of_labels[0].unit_pool.rows(), "pool_probabilities": pool_P_L}
    _write(out, arrays, "set_labeller.py")
    return {
        **_needed(reader),
        "neighbours": max(head.smoothing.neighbours for head in heads),
        "neighbours_by_label": [head.smoothing.neighbours for head in heads],
        "neighbour_weights": [head.smoothing.weight for head in heads],
        "head_temperature": [head.smoothing.temperature for head in heads],
    }


def _of_having(head: FittedHead) -> tuple[FloatArray, float]:
    """What a label's head adds to the logit of having it: weights of a text's vector, and a bias."""
    scaling = head.reader.scalings["encoder"]
    weights_d = scaling.matrix_d_r.astype(np.float64) @ (head.weights_r_C[:, 1] - head.weights_r_C[:, 0])
    bias = head.bias_C[1] - head.bias_C[0] - scaling.mean_d.astype(np.float64) @ weights_d
    if names_weight := head.offset_weights.get(LABEL_NAMES, 0.0):
        mean_C = head.reader.offset_means[LABEL_NAMES]
        bias -= names_weight * (mean_C[1] - mean_C[0])
    return weights_d, float(bias)


def refuse_merged(merged: bool) -> None:
    """Refuse to write a head as whole weights of a language model.

    Raises:
        ModelError: ``merged`` is True.
    """
    if merged:
        raise ModelError("a head has no weights to merge into a language model. Leave out --merged.")


def _require_encoder_alone(features: Sequence[str], further_offsets: Collection[str]) -> None:
    if list(features) != ["encoder"] or further_offsets:
        raise ModelError(
            "the head reads the language model as well, which an exported head cannot do. "
            "Set head.features: encoder, and run another round."
        )


def _needed(reader: TextReader) -> JsonObject:
    """What the folder needs, and how its code reads texts."""
    name = reader.encoder_name
    is_local = Path(name).is_dir()
    return {
        "kind": KIND,
        "needs": "numpy and sentence-transformers",
        "base": str(Path(name).resolve()) if is_local else name,
        "revision": None if is_local else reader.spec.head.revision,
        "base_licence": find_licence(reader.encoder.folder, name),
        "dtype": reader.encoder.dtype,
        "max_tokens": reader.encoder.max_tokens,
        "most_windows": reader.encoder.most_windows,
    }


def _write(out: Path, arrays: Mapping[str, NDArray[Any]], labeller: str) -> None:
    with translate_write_errors(out):
        save_file(
            {name: np.ascontiguousarray(array) for name, array in sorted(arrays.items())},
            out / "head.safetensors",
        )
        _write_code(out / "labeller", labeller)


def _write_code(folder: Path, labeller: str) -> None:
    """Write the code, in which the given module of ``head_labeller`` is the labeller."""
    folder.mkdir()
    models = resources.files("star_al.models")
    sources = {name: models / name for name in ("windows.py", "quiet.py")}
    shared = {name: name for name in ("__init__.py", "exported.py", "texts.py")}
    sources |= {
        name: models / "head_labeller" / part for name, part in (shared | {"labeller.py": labeller}).items()
    }
    for name, source in sources.items():
        code = re.sub(
            r"\bstar_al\.models\.(head_labeller\.)?", "labeller.", source.read_text(encoding="utf-8")
        )
        (folder / name).write_text(code, encoding="utf-8")
