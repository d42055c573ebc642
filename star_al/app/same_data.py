"""Tell a campaign from one of the same name that was started on other data."""

from __future__ import annotations

from itertools import islice

from star_al.common.wording import count
from star_al.config.spec import CampaignFile
from star_al.data import ImportCounts, data_source, read_items, without_labels
from star_al.errors import ConfigError, DataError
from star_al.ports import Store
from star_al.task import make_task
from star_al.types import Campaign

TEXTS_COMPARED = 200
"""Texts at the beginning of the data that are looked up in the stored campaign."""


def refuse_other_data(file: CampaignFile, store: Store, campaign: Campaign) -> None:
    """Refuse to go on with a stored campaign that has none of the texts in the campaign file's data.

    Two folders whose campaigns have one name may share a database. Rows that were added to the file, changed or
    removed since the start make no difference as long as one of the first texts is known.

    Raises:
        ConfigError: The stored campaign is another one.
    """
    found = _first_texts(file)
    if not found or store.known_items(campaign.campaign_id, found):
        return
    from db.engine import location, parse_url

    first = "the text" if len(found) == 1 else f"any of the first {count(len(found), 'text')}"
    raise ConfigError(
        f"{file.path}: the campaign {campaign.name!r} in {location(parse_url(file.database_url))} was started on "
        f"other data; it does not have {first} of {file.spec.data.path}. Give this campaign another name, or "
        "another database in database.url."
    )


def _first_texts(file: CampaignFile) -> list[str]:
    """Ids of the first texts in the data; none if it is not a file that can be read here and now."""
    try:
        source = data_source(file)
        if source.table.path is None:  # a data set of the hub, which its name identifies
            return []
        read = read_items(without_labels(source), make_task(file.spec.task), ImportCounts())
        return [each.item.item_id for each in islice(read, TEXTS_COMPARED)]
    except DataError:  # moved or deleted since the start: a campaign has its own copy of its texts
        return []
