"""Open the head that the settings name: what is trained, or what ranks or stands beside a language model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from star_al.app.language_learners import model_path
from star_al.app.stores import reading
from star_al.config.spec import CampaignFile, CampaignSpec
from star_al.errors import ConfigError
from star_al.ports import Learner, Pool, Progress
from star_al.task import MultiLabel, closed, make_task
from star_al.types import Item, Role, Round

if TYPE_CHECKING:
    from star_al.models.choice_reader import ChoiceModel
    from star_al.models.encoder import SentenceEncoder
    from star_al.models.head_texts import LanguageModel, TextReader


def open_head(
    file: CampaignFile,
    spec: CampaignSpec,
    rounds: Sequence[Round],
    progress: Progress,
    language_model: Learner | None = None,
    *,
    keep: bool = True,
) -> Learner:
    """The head of ``spec``: what is trained, or what ranks or stands beside a language model.

    Args:
        file: The campaign file.
        spec: The settings of the task and the head.
        rounds: The rounds so far, as for ``open_learner``.
        progress: Where the learner shows its work.
        language_model: The learner beside it, whose base model's states it may read; None without.
        keep: Keep the features of all texts; False for those of the pool alone.
    """
    from star_al.models.encoder import open_encoder
    from star_al.models.head_texts import TextReader

    name, device = model_path(file, spec.head.encoder, "head.encoder"), file.spec.model.device
    dtype = _dtype_of_encoder(spec, rounds)

    def open_() -> SentenceEncoder:
        return open_encoder(
            name,
            revision=spec.head.revision,
            device=device,
            dtype=dtype,
            max_tokens=spec.head.max_tokens,
            say=progress.say,
        )

    return HEADS[spec.task.kind](
        spec,
        rounds,
        partial(TextReader, spec, name, open_, file.feature_folder, progress, keep=keep),
        StoredPools(file),
        None if spec.head.features == "encoder" else language_model,
    )


def _label_head(
    spec: CampaignSpec,
    rounds: Sequence[Round],
    reader: Callable[..., TextReader],
    pools: StoredPools,
    language_model: Learner | None,
) -> Learner:
    """A head over labels that all texts have."""
    from star_al.models.head_learner import HeadLearner
    from star_al.models.zero_shot import OVER_POOL

    texts = reader(language_model=cast("LanguageModel | None", language_model))
    prototypes = all(each.get("zero_shot") == OVER_POOL for each in _versions_of_head(spec, rounds)[:1])
    return HeadLearner(closed(make_task(spec.task)), spec, texts, pools, prototypes=prototypes)


def _option_head(
    spec: CampaignSpec,
    rounds: Sequence[Round],
    reader: Callable[..., TextReader],
    pools: StoredPools,
    language_model: Learner | None,
) -> Learner:
    """A head over options that each text has of its own."""
    from star_al.models.choice_reader import ChoiceReader
    from star_al.models.head_choices import ChoiceHeadLearner

    options = ChoiceReader(reader(), cast("ChoiceModel | None", language_model))
    return ChoiceHeadLearner(closed(make_task(spec.task)), options, pools)


def _no_head(spec: CampaignSpec, *_: object) -> Learner:
    """Refuse a head, which the settings have refused before."""
    raise ConfigError(f"a head needs a list of labels, which task.kind: {spec.task.kind} does not have")


def _label_set_head(
    spec: CampaignSpec,
    rounds: Sequence[Round],
    reader: Callable[..., TextReader],
    pools: StoredPools,
    language_model: Learner | None,
) -> Learner:
    """A head for each of the labels that a text may have."""
    from star_al.models.head_label_sets import LabelSetHeadLearner

    texts = reader(language_model=cast("LanguageModel | None", language_model))
    return LabelSetHeadLearner(cast("MultiLabel", make_task(spec.task)), spec, texts, pools)


HEADS: Mapping[str, Callable[..., Learner]] = {
    "classification": _label_head,
    "multiple_choice": _option_head,
    "rating": _label_head,
    "text": _no_head,
    "multi_label": _label_set_head,
    "preference": _option_head,
}
"""By kind of task."""


def _dtype_of_encoder(spec: CampaignSpec, rounds: Sequence[Round]) -> str:
    """The dtype that the first round read texts in; that of the settings before there is one."""
    dtypes = [each["dtype"] for each in _versions_of_head(spec, rounds) if "dtype" in each]
    return str(dtypes[0]) if dtypes else spec.model.dtype


def _versions_of_head(spec: CampaignSpec, rounds: Sequence[Round]) -> list[Mapping[str, Any]]:
    """What the rounds that had a head record of how it read texts."""
    fits = [round_.fit.versions for round_ in rounds if round_.fit]
    of_head = fits if spec.has_head_learner else [each["head"] for each in fits if "head" in each]
    return [each for each in of_head if isinstance(each, Mapping)]


class StoredPools:
    """Finds the pools of a campaign's rounds in its database."""

    def __init__(self, file: CampaignFile) -> None:
        self._file = file

    def __call__(self, key: str) -> Pool | None:
        """The pool with this key; None if no round had it."""
        with reading(self._file) as (store, campaign):
            for round_ in reversed(store.rounds(campaign.campaign_id)):
                ids = store.item_ids(campaign.campaign_id, Role.POOL, by_round=round_.index)
                if (pool := Pool(tuple(ids), self._load)).key == key:
                    return pool
        return None

    def _load(self, item_ids: Sequence[str]) -> list[Item]:
        with reading(self._file) as (store, campaign):
            return store.items(campaign.campaign_id, item_ids)
