"""Turn raw features and offsets into what the ridge reads, by what was measured on the pool."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from star_al.head.feature_scaling import COMPONENTS, FeatureScaling
from star_al.head.inputs import FeatureKind, PoolTexts, TextFeatures
from star_al.types import Float32Array, FloatArray, IntArray


@dataclass(frozen=True)
class FeatureReader:
    """Reads texts of one campaign.

    Attributes:
        scalings: By the kinds of features that are read, side by side.
        offset_means: Mean of each offset over the pool, (C,). Taking it out removes what a label's name, or the
            language model's habit, does to all texts alike.
    """

    scalings: Mapping[str, FeatureScaling]
    offset_means: Mapping[str, FloatArray]

    @classmethod
    def of(cls, pool: PoolTexts, kind: FeatureKind, components: int = COMPONENTS) -> FeatureReader:
        """Measure the pool.

        Args:
            pool: All texts of the pool.
            kind: Which features to read.
            components: Principal components of each kind.
        """
        kinds = ("encoder", "model") if kind == "both" else (kind,)
        for name in kinds:
            key = f"scaling/{name}/{components}"
            if key not in pool.kept:
                pool.kept[key] = FeatureScaling.of(pool.features[name], components)
        return cls(
            {name: pool.kept[f"scaling/{name}/{components}"] for name in kinds},
            {name: values_P_C.mean(axis=0) for name, values_P_C in sorted(pool.offsets.items())},
        )

    @property
    def width(self) -> int:
        """Number of scaled features."""
        return sum(scaling.matrix_d_r.shape[1] for scaling in self.scalings.values())

    @property
    def offset_names(self) -> tuple[str, ...]:
        """Names of the offsets, in order."""
        return tuple(self.offset_means)

    def features(self, texts: TextFeatures) -> Float32Array:
        """Return scaled features, (N, r), of mean squared length 1 over the pool; those of a pool are kept."""
        if not isinstance(texts, PoolTexts):
            return self._scaled(texts)
        digest = hashlib.sha256()
        for scaling in self.scalings.values():
            digest.update(scaling.mean_d.tobytes() + scaling.matrix_d_r.tobytes())
        key = f"features/{'/'.join(self.scalings)}"
        # A head that was read from disk has equal scalings, but not the same objects.
        if pool_has := texts.kept.get(key):
            known, scaled_P_r = pool_has
            if known == digest.digest():
                found: Float32Array = scaled_P_r
                return found
        scaled_P_r = self._scaled(texts)
        texts.kept[key] = digest.digest(), scaled_P_r
        return scaled_P_r

    def _scaled(self, texts: TextFeatures) -> Float32Array:
        blocks = [scaling.apply(texts.features[name]) for name, scaling in self.scalings.items()]
        if len(blocks) == 1:  # of a large pool, a copy takes hundreds of megabytes
            return blocks[0]
        side_by_side: Float32Array = np.concatenate(blocks, axis=1) / np.float32(np.sqrt(len(blocks)))
        return side_by_side

    def offsets(self, texts: TextFeatures, rows: IntArray | slice = slice(None)) -> tuple[FloatArray, ...]:
        """Return the centred offsets of some rows of texts, (N, C) each, in the order of ``offset_names``."""
        return tuple(texts.offsets[name][rows] - mean_C for name, mean_C in self.offset_means.items())
