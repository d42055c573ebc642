"""How many texts a round scores with a shortlist, in words, before there is a round."""

from __future__ import annotations

from star_al.acquire.shortlist import least_texts
from star_al.common.wording import count
from star_al.config.spec import CampaignSpec


def size_in_words(spec: CampaignSpec) -> str:
    """Say how many texts a round scores with the campaign's shortlist, without a capital or a full stop."""
    settings, depth = spec.acquisition.shortlist, spec.shortlist_depth
    least = least_texts(depth, settings.random_share)
    why = f"as the batch is chosen from {depth:,} and {100 * settings.random_share:g} % is drawn at random"
    if settings.size is None:
        share = f"{100 * settings.share:g} % of the pool"
        return f"a round scores {share}, but at least {count(least, 'text')}, {why}"
    if settings.size >= least:
        return f"a round scores {count(settings.size, 'text')}"
    return f"a round scores {count(least, 'text')}, more than acquisition.shortlist.size: {settings.size:,}, {why}"
