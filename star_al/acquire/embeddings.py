"""How embeddings are compared: by their directions from a common centre."""

from __future__ import annotations

import numpy as np

from star_al.types import Float32Array, FloatArray


def centred_directions(embeddings_N_d: Float32Array, centre_d: FloatArray) -> FloatArray:
    """Return unit vectors (N, d) from the centre to the embeddings; zero for an embedding at the centre.

    Hidden states of language models share one large component, beside which texts hardly differ. It is in
    their mean, so that is what to pass as the centre.

    Raises:
        ValueError: An embedding holds NaN or infinity.
    """
    if not np.isfinite(embeddings_N_d).all():
        raise ValueError("embeddings are not finite")
    moved_N_d = embeddings_N_d - centre_d
    lengths_N_1 = np.linalg.norm(moved_N_d, axis=1, keepdims=True)
    units_N_d: FloatArray = moved_N_d / np.where(lengths_N_1 > 0, lengths_N_1, 1.0)
    return units_N_d


def unit_vectors(embeddings_N_d: Float32Array) -> Float32Array:
    """Return the embeddings with length 1 (N, d); zero stays zero. For sentence encoders, whose cosines mean something.

    Raises:
        ValueError: An embedding holds NaN or infinity.
    """
    if not np.isfinite(embeddings_N_d).all():
        raise ValueError("embeddings are not finite")
    lengths_N_1 = np.linalg.norm(embeddings_N_d, axis=1, keepdims=True)
    units_N_d: Float32Array = embeddings_N_d / np.where(lengths_N_1 > 0, lengths_N_1, np.float32(1.0))
    return units_N_d
