"""Try a campaign's model on some of its own texts before anybody is asked for a label."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from star_al.config.spec import CampaignFile, CampaignSpec
from star_al.data import ImportCounts, data_source, read_items
from star_al.parts import Parts, round_spec
from star_al.task import make_task
from star_al.types import Item, JsonObject, Role

TEXTS = 1000
"""So many texts are looked through."""

LONGEST = 32
"""So many of them are tried, the longest by their characters, and the shortest one."""


def texts_of_data(file: CampaignFile) -> list[Item]:
    """Return the longest and the shortest of the first texts of the data, without a database.

    Raises:
        DataError: The data cannot be read.
    """
    rows = read_items(data_source(file), make_task(file.spec.task), ImportCounts())
    return _longest_and_shortest(row.item for row in islice(rows, TEXTS))


def check_untrained(parts: Parts) -> None:
    """Check a campaign's model on texts of its pool, unless a round was trained with it under these settings.

    Raises:
        ModelError, ConfigError: See ``Learner.check``.
    """
    if not _has_trained(parts):
        campaign_id = parts.campaign.campaign_id
        item_ids = parts.store.item_ids(campaign_id, Role.POOL)[:TEXTS]
        parts.learner.check(_longest_and_shortest(parts.store.items(campaign_id, item_ids)))


def _has_trained(parts: Parts) -> bool:
    """Return whether the last round that was trained had the settings and the weights of now.

    Where a head ranks the pool, any round counts: the model was checked before it, and is trained only later.
    """
    is_later = parts.spec.ranking_model == "head"
    rounds = parts.store.rounds(parts.campaign.campaign_id)
    trained = [one for one in rounds if one.adapter_sha256 or (is_later and one.fit)]
    if not trained:
        return False
    fit = trained[-1].fit
    same_weights = fit is not None and fit.versions.get("weights") == parts.learner.versions().get("weights")
    return same_weights and _trained_settings(round_spec(trained[-1])) == _trained_settings(parts.spec)


def _trained_settings(spec: CampaignSpec) -> JsonObject:
    settings = spec.model_dump(mode="json", include={"task", "model", "adapter", "posterior"})
    for name in ("device", "gpus", "batch_tokens", "trunk_cache_gb"):  # these concern the machine
        settings["model"].pop(name)
    return settings


def _longest_and_shortest(items: Iterable[Item]) -> list[Item]:
    ordered = sorted(items, key=lambda item: len(item.text) + sum(map(len, item.options)))
    return ordered if len(ordered) <= LONGEST else [ordered[0], *ordered[-LONGEST:]]
