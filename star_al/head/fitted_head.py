"""A fitted head: all that predictions need besides the pool's features. It is saved as safetensors and JSON."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from star_al.head.feature_reader import FeatureReader
from star_al.head.feature_scaling import FeatureScaling
from star_al.head.head_files import read_parts, write_parts
from star_al.head.laplace import Posterior
from star_al.head.smoothing import Smoothing
from star_al.types import Float32Array, FloatArray, IntArray, JsonObject

VERSION = 1


@dataclass(frozen=True)
class FittedHead:
    """A head for texts with one label of a closed set.

    Attributes:
        reader: Scales features and centres offsets.
        weights_r_C: Weights of the scaled features.
        bias_C: Biases.
        offset_weights: Weight of each offset, not negative.
        posterior: What samples are drawn from.
        smoothing: Neighbours, their weight, and the temperature.
        fixed_rows_U: Rows of the pool that have labels; as neighbours they count with these.
        fixed_probs_U_C: Their distribution over labels.
        record: What was chosen and how well held-out labels were predicted, for people and reports.
    """

    reader: FeatureReader
    weights_r_C: FloatArray
    bias_C: FloatArray
    offset_weights: dict[str, float]
    posterior: Posterior
    smoothing: Smoothing
    fixed_rows_U: IntArray
    fixed_probs_U_C: Float32Array
    record: JsonObject

    @property
    def n_labels(self) -> int:
        """Number of labels, C."""
        return len(self.bias_C)

    def logits(self, features_N_r: Float32Array, offsets: tuple[FloatArray, ...]) -> FloatArray:
        """Return logits (N, C) of scaled features and centred offsets, before smoothing."""
        logits_N_C: FloatArray = features_N_r @ self.weights_r_C + self.bias_C
        for weight, offset_N_C in zip(self.offset_weights.values(), offsets, strict=True):
            if weight:
                logits_N_C += weight * offset_N_C
        return logits_N_C

    def save(self, folder: Path) -> None:
        """Write the head; the same head writes the same bytes.

        Raises:
            StoreError: The folder cannot be written.
        """
        arrays, rest = parts_of(self)
        write_parts(folder, arrays, rest)

    @classmethod
    def load(cls, folder: Path) -> FittedHead:
        """Read a head.

        Raises:
            ModelError: A file is missing or damaged.
        """
        return read_parts(folder, head_from_parts)


def parts_of(head: FittedHead) -> tuple[dict[str, NDArray[Any]], JsonObject]:
    """Return what a head's files hold: arrays by name, and the rest."""
    arrays: dict[str, NDArray[Any]] = {
        "weights": head.weights_r_C,
        "bias": head.bias_C,
        "examples": head.posterior.examples_n_r,
        "example_logits": head.posterior.logits_n_C,
        "example_weights": head.posterior.weights_n,
        "fixed_rows": head.fixed_rows_U,
        "fixed_probs": head.fixed_probs_U_C,
    }
    for name, scaling in head.reader.scalings.items():
        arrays[f"scaling.{name}.mean"] = scaling.mean_d
        arrays[f"scaling.{name}.matrix"] = scaling.matrix_d_r
    for name, mean_C in head.reader.offset_means.items():
        arrays[f"offset_mean.{name}"] = mean_C
    rest: JsonObject = {
        "version": VERSION,
        "kind": "single_label",
        "features": list(head.reader.scalings),
        "offset_weights": [[name, weight] for name, weight in head.offset_weights.items()],
        "strength": head.posterior.strength,
        "bias_sd": head.posterior.bias_sd,
        "logit_variance": head.posterior.variance,
        "neighbours": head.smoothing.neighbours,
        "neighbour_weight": head.smoothing.weight,
        "temperature": head.smoothing.temperature,
        "record": head.record,
    }
    return arrays, rest


def head_from_parts(arrays: dict[str, NDArray[Any]], rest: dict[str, Any]) -> FittedHead:
    """Return the head of such parts.

    Raises:
        ValueError, KeyError: They are not those of a head.
    """
    if rest["version"] != VERSION or rest["kind"] != "single_label":
        raise ValueError(f"version {rest['version']} of kind {rest['kind']}")
    offset_weights = {name: float(weight) for name, weight in rest["offset_weights"]}
    reader = FeatureReader(
        {
            name: FeatureScaling(arrays[f"scaling.{name}.mean"], arrays[f"scaling.{name}.matrix"])
            for name in rest["features"]
        },
        {name: arrays[f"offset_mean.{name}"] for name in offset_weights},
    )
    posterior = Posterior(
        arrays["examples"],
        arrays["example_logits"],
        arrays["example_weights"],
        float(rest["strength"]),
        float(rest["bias_sd"]),
        float(rest["logit_variance"]),
    )
    return FittedHead(
        reader,
        arrays["weights"],
        arrays["bias"],
        offset_weights,
        posterior,
        Smoothing(int(rest["neighbours"]), float(rest["neighbour_weight"]), float(rest["temperature"])),
        arrays["fixed_rows"],
        arrays["fixed_probs"],
        rest["record"],
    )
