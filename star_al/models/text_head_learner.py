"""What the learners share that predict by heads on frozen features of texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

from star_al.config.spec import CampaignSpec
from star_al.models.feature_head_learner import FeatureHeadLearner, hash_of
from star_al.models.head_pool import HeadPool, read_pool
from star_al.models.head_texts import TextReader
from star_al.models.opened_heads import FORMAT, FindPool, Q
from star_al.models.zero_shot import OVER_POOL, ZeroShot
from star_al.ports import Pool
from star_al.types import Item, JsonObject


class TextHeadLearner(FeatureHeadLearner[HeadPool, Q]):
    """Reads texts and pools for heads, and names what they depend on. Nothing is loaded before it is needed.

    Args:
        spec: The campaign's settings.
        reader: Reads texts.
        find_pool: Finds the pool of a head that another process has trained.
        load: Loads a head from its folder, for a pool.
        over_pool: True if zero-shot predictions depend on the pool.
    """

    _key_begins: ClassVar[tuple[str, ...]] = ()
    """What the heads' key begins with, so that another kind's heads are not taken for them."""

    def __init__(
        self,
        spec: CampaignSpec,
        reader: TextReader,
        find_pool: FindPool,
        load: Callable[[Path, HeadPool], Q],
        *,
        over_pool: bool,
    ) -> None:
        super().__init__(reader, find_pool, load)
        self._spec = spec
        self._reader = reader
        self._zero_shot = ZeroShot(reader, self._neighbours, self._heads.read_pool, over_pool=over_pool)
        self._checked = False

    @property
    def base_key(self) -> str:
        """Hash of everything that zero-shot predictions depend on but the pool: the encoder, and the labels' names."""
        return self._zero_shot.key

    @property
    def base_reads_pool(self) -> bool:
        """See ``Learner.base_reads_pool``."""
        return self._zero_shot.over_pool

    @cached_property
    def _head_key(self) -> str:
        """Hash of everything that a head is trained for: features, labels, and whether names guide it."""
        names = self._reader.label_texts if self._spec.head.label_names else len(self._reader.label_texts)
        return hash_of(*self._key_begins, FORMAT, self._reader.keys, names)

    def versions(self) -> JsonObject:
        """See ``Learner.versions``: libraries, device, and a hash of the encoder's weights."""
        zero_shot: JsonObject = {"zero_shot": OVER_POOL} if self.base_reads_pool else {}
        return {**super().versions(), **zero_shot}

    def check(self, items: Sequence[Item] = ()) -> None:
        """See ``Learner.check``."""
        if self._checked:
            return
        super().check(items)
        _ = self._reader.label_embeddings_C_d
        self._checked = True

    @property
    def _features(self) -> Literal["auto", "encoder", "model", "both"]:
        """What a head reads; without a language model, only the encoder's vectors are there."""
        return "encoder" if len(self._reader.keys) == 1 else self._spec.head.features

    @property
    def _neighbours(self) -> int | None:
        neighbours = self._spec.head.neighbours
        return None if neighbours == "auto" else neighbours

    def _read_pool(self, pool: Pool) -> HeadPool:
        return read_pool(pool, self._reader, self._neighbours)
