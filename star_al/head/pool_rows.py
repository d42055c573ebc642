"""Read some texts of a pool as the ridge does: of a million texts, copies of all offsets would take gigabytes."""

from __future__ import annotations

from dataclasses import dataclass

from star_al.head.feature_reader import FeatureReader
from star_al.head.inputs import LABEL_NAMES, PROTOTYPES, Examples, PoolTexts
from star_al.head.prototypes import Prototypes, find_prototypes
from star_al.types import Float32Array, FloatArray, IntArray


@dataclass(frozen=True)
class PoolRows:
    """A pool with all that a fit reads of its texts.

    Attributes:
        pool: All texts of the pool.
        reader: Scales their features and centres their offsets.
        features_P_r: The scaled features.
        prototypes: Of the labels; None without them.
    """

    pool: PoolTexts
    reader: FeatureReader
    features_P_r: Float32Array
    prototypes: Prototypes | None

    @classmethod
    def of(cls, pool: PoolTexts, reader: FeatureReader, examples: Examples, *, prototypes: bool) -> PoolRows:
        """Scale a pool's features; find prototypes if they are wanted and names are among the offsets."""
        without = cls(pool, reader, reader.features(pool), None)
        if not prototypes or LABEL_NAMES not in reader.offset_names:
            return without
        return cls(pool, reader, without.features_P_r, without.find_prototypes(examples))

    @property
    def offset_names(self) -> tuple[str, ...]:
        """Names of what ``offsets`` returns, in order."""
        own = self.reader.offset_names
        return own if self.prototypes is None else (*own, PROTOTYPES)

    def offsets(self, rows_N: IntArray) -> tuple[FloatArray, ...]:
        """Return the offsets of some texts, (N, C) each."""
        own = self.reader.offsets(self.pool, rows_N)
        if self.prototypes is None:
            return own
        return (*own, self.prototypes.offsets(self.features_P_r[rows_N], rows_N))

    def find_prototypes(self, examples: Examples) -> Prototypes:
        """Find the prototypes of labels that some examples tell; names must be among the offsets."""
        names = self.reader.offset_names.index(LABEL_NAMES)
        return find_prototypes(
            self.features_P_r,
            lambda rows_N: self.reader.offsets(self.pool, rows_N)[names],
            None if self.pool.graph is None else self.pool.graph.indices_N_k,
            examples,
        )
