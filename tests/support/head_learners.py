"""Heads on a tiny random encoder, for tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from star_al.config.spec import CampaignSpec
from star_al.models.encoder import SentenceEncoder, open_encoder
from star_al.models.head_learner import HeadLearner
from star_al.models.head_texts import LanguageModel, TextReader
from star_al.ports import Pool
from star_al.task import closed, make_task
from star_al.types import Item
from support.quiet import Quiet


def head_spec(labels: Sequence[Any], **sections: Any) -> CampaignSpec:
    """Settings of a campaign whose learner is a head."""
    tree = {
        "name": "test",
        "data": {"path": "pool.jsonl"},
        "task": {"kind": "classification", "labels": list(labels)},
        "learner": {"kind": "head"},
        "annotator": {"kind": "oracle", "gold": "gold"},
        "acquisition": {},
    }
    return CampaignSpec.model_validate(tree | sections)


def head_learner(
    encoder: Path,
    folder: Path,
    spec: CampaignSpec,
    pools: Sequence[Pool] = (),
    *,
    language_model: LanguageModel | None = None,
    keep: bool = True,
    prototypes: bool = True,
) -> HeadLearner:
    """A head that keeps its features in ``folder`` and finds pools among ``pools``."""

    progress = Quiet()
    reader = TextReader(
        spec, str(encoder), opener(encoder), folder, progress, keep=keep, language_model=language_model
    )
    by_key = {pool.key: pool for pool in pools}
    return HeadLearner(closed(make_task(spec.task)), spec, reader, by_key.get, prototypes=prototypes)


def opener(encoder: Path) -> Callable[[], SentenceEncoder]:
    """What opens the encoder in a folder."""
    return lambda: open_encoder(str(encoder), device="cpu", dtype="float32")


def pool_of(items: Sequence[Item]) -> Pool:
    """A pool of items, in order of their ids."""
    by_id = {item.item_id: item for item in items}
    return Pool(tuple(sorted(by_id)), lambda ids: [by_id[item_id] for item_id in ids])
