"""A fitted head for multiple choice: all that predictions need. It is saved as safetensors and JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular
from threadpoolctl import threadpool_limits

from star_al.head.choice_inputs import ChoiceTexts
from star_al.head.choice_scaling import ChoiceScaling
from star_al.head.feature_scaling import unit_length
from star_al.head.head_files import read_parts, write_parts
from star_al.types import FloatArray, JsonObject

VERSION = 1
KIND = "multiple_choice"


@dataclass(frozen=True)
class FittedChoiceHead:
    """A head for questions with options of their own.

    Attributes:
        scalings: By the kinds of features that are read, side by side.
        weights_r: Weights of the scaled features.
        offset_weights: Weight of each offset, not negative.
        precision_r_r: Precision of the weights' posterior, by the Laplace approximation.
        temperature: Divides the logits.
        record: What was chosen and how well held-out answers were predicted, for people and reports.
    """

    scalings: Mapping[str, ChoiceScaling]
    weights_r: FloatArray
    offset_weights: dict[str, float]
    precision_r_r: FloatArray
    temperature: float
    record: JsonObject

    def samples(self, draws: range, seed: int) -> FloatArray:
        """Return weights drawn from the posterior, (K, r); a sample does not depend on the others asked for."""
        with threadpool_limits(1):  # several threads would add up in any order
            lower_r_r = cholesky(self.precision_r_r, lower=True)
            noise = [np.random.default_rng([seed, k]).standard_normal(len(self.weights_r)) for k in draws]
            apart = [solve_triangular(lower_r_r, each, lower=True, trans="T") for each in noise]
        weights_K_r: FloatArray = self.weights_r + np.array(apart).reshape(len(draws), len(self.weights_r))
        return weights_K_r

    def logits(self, texts: ChoiceTexts, weights_K_r: FloatArray) -> FloatArray:
        """Return the logits of options under some weights, (R, K).

        Under one weight vector an option's logit is the same to the bit whatever is predicted with it: it is a sum of
        its own, not a row of a matrix product.
        """
        parts_R: FloatArray = np.zeros(int(texts.counts_N.sum()))
        for name, weight in self.offset_weights.items():
            parts_R = parts_R + weight * texts.offsets[name]
        logits_R_K = np.repeat(parts_R[:, None], len(weights_K_r), axis=1)
        first, share = 0, 1 / np.sqrt(len(self.scalings))
        with threadpool_limits(1):
            for kind, scaling in self.scalings.items():
                width = scaling.matrix_d_r.shape[1]
                raw_K_d = weights_K_r[:, first : first + width] @ (share * scaling.matrix_d_r.T)
                features_R_d = unit_length(texts.features[kind].astype(np.float64))
                if len(raw_K_d) == 1:
                    logits_R_K[:, 0] += (features_R_d * raw_K_d[0]).sum(axis=1)
                else:
                    logits_R_K += features_R_d @ raw_K_d.T
                first += width
        return logits_R_K

    def save(self, folder: Path) -> None:
        """Write the head; the same head writes the same bytes.

        Raises:
            StoreError: The folder cannot be written.
        """
        arrays: dict[str, NDArray[Any]] = {"weights": self.weights_r, "precision": self.precision_r_r}
        arrays |= {f"scaling.{kind}": scaling.matrix_d_r for kind, scaling in self.scalings.items()}
        rest: JsonObject = {
            "version": VERSION,
            "kind": KIND,
            "features": list(self.scalings),
            "offset_weights": [[name, weight] for name, weight in self.offset_weights.items()],
            "temperature": self.temperature,
            "record": self.record,
        }
        write_parts(folder, arrays, rest)

    @classmethod
    def load(cls, folder: Path) -> FittedChoiceHead:
        """Read a head.

        Raises:
            ModelError: A file is missing or damaged.
        """
        return read_parts(folder, _from_parts)


def _from_parts(arrays: dict[str, NDArray[Any]], rest: dict[str, Any]) -> FittedChoiceHead:
    if rest["version"] != VERSION or rest["kind"] != KIND:
        raise ValueError(f"version {rest['version']} of kind {rest['kind']}")
    return FittedChoiceHead(
        {kind: ChoiceScaling(arrays[f"scaling.{kind}"]) for kind in rest["features"]},
        arrays["weights"],
        {name: float(weight) for name, weight in rest["offset_weights"]},
        arrays["precision"],
        float(rest["temperature"]),
        rest["record"],
    )
