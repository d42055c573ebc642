"""Write a trained head as a folder that predicts without star_al."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from star_al.acquire.embeddings import unit_vectors
from star_al.errors import ModelError
from star_al.head import LABEL_NAMES, HeadPredictor
from star_al.models.artefact_files import translate_write_errors
from star_al.models.head_texts import TextReader
from star_al.types import JsonObject

NEEDS = "numpy and sentence-transformers"
"""What the exported folder needs."""


def write_head(out: Path, predictor: HeadPredictor, reader: TextReader) -> JsonObject:
    """Write a head, and the code that predicts by it.

    Args:
        out: Where to write.
        predictor: Predicts by the head.
        reader: Read the texts that it was trained on.

    Returns:
        What the code needs to know besides.

    Raises:
        ModelError: The head reads more than the sentence encoder's vectors.
        StoreError: The folder cannot be written.
    """
    head = predictor.head
    if list(head.reader.scalings) != ["encoder"] or set(head.offset_weights) - {LABEL_NAMES}:
        raise ModelError(
            "the head reads the language model as well, which an exported head cannot do. "
            "Set head.features: encoder, and run another round."
        )
    scaling, smoothing = head.reader.scalings["encoder"], head.smoothing
    arrays = {
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
        arrays |= {"pool": predictor.unit_pool_P_d, "pool_probabilities": predictor.labelled_pool_P_C}
    with translate_write_errors(out):
        save_file(
            {name: np.ascontiguousarray(array) for name, array in sorted(arrays.items())},
            out / "head.safetensors",
        )
        _write_code(out / "labeller")
    return {
        "dtype": reader.encoder.dtype,
        "max_tokens": reader.encoder.max_tokens,
        "most_windows": reader.encoder.most_windows,
        "names_weight": names_weight,
        "neighbours": smoothing.neighbours,
        "neighbour_weight": smoothing.weight,
        "head_temperature": smoothing.temperature,
    }


def _write_code(folder: Path) -> None:
    folder.mkdir()
    models = resources.files("star_al.models")
    sources = {name: models / name for name in ("windows.py", "quiet.py")}
    sources |= {name: models / "head_labeller" / name for name in ("__init__.py", "labeller.py")}
    for name, source in sources.items():
        code = re.sub(
            r"\bstar_al\.models\.(head_labeller\.)?", "labeller.", source.read_text(encoding="utf-8")
        )
        (folder / name).write_text(code, encoding="utf-8")
