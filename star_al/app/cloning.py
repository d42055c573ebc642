"""Begin another campaign with the settings of one, with or without its labels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from star_al.app.stores import open_started
from star_al.common.sqlite_address import split_sqlite_address
from star_al.config.file import load_campaign
from star_al.config.spec import CampaignFile
from star_al.config.writing import with_values
from star_al.data import writable_target, write_text
from star_al.errors import ConfigError, StoreError
from star_al.ports import Store
from star_al.types import Role


@dataclass(frozen=True)
class Clone:
    """A new campaign file, and how many labels its campaign has from the original."""

    path: Path
    labels: int


def clone(file: CampaignFile, name: str, out: Path, *, with_labels: bool) -> Clone:
    """Write a campaign file with the same settings under a new name; with labels, also make its campaign.

    Safe to repeat: a file with the same content stays.

    Args:
        file: The original.
        name: The new campaign's name.
        out: The file to write.
        with_labels: Take over the labels in force, and which texts are held out.

    Raises:
        ConfigError: The name cannot be one, or the file exists with other content.
        StoreError: The name is taken, or the original has not been started (with labels).
    """
    text = _renamed(file, name)
    target = writable_target(out)
    if target.exists() and target.read_text(encoding="utf-8") != text:
        raise ConfigError(f"{out} already exists. Give another file with --out.")
    if target.resolve().parent != file.path.parent:
        raise ConfigError(
            f"{out}: the new file must be beside {file.path.name}, as its paths start at its own folder."
        )
    existed = target.exists()
    write_text(target, text)
    try:
        new = load_campaign(target)
        with open_started(file) if with_labels else _no_store() as store:
            return Clone(out, 0 if store is None else _copy(file, store, new))
    except BaseException:
        if not existed:
            target.unlink(missing_ok=True)
        raise


@contextmanager
def _no_store() -> Iterator[None]:
    yield None


def _copy(file: CampaignFile, store: Store, new: CampaignFile) -> int:
    campaign = store.find_campaign(file.spec.name)
    if campaign is None:
        raise StoreError(
            f"campaign {file.spec.name!r} has not been started, so it has no labels. Leave out --with-labels."
        )
    config = {**campaign.config, "name": new.spec.name, "database": new.spec.database.model_dump(mode="json")}
    made = store.clone_campaign(campaign.campaign_id, new.spec.name, config)
    return sum(len(store.labels(made.campaign_id, role)) for role in Role if role is not Role.TEST)


def _renamed(file: CampaignFile, name: str) -> str:
    """The text of the campaign file with another name, in the same database."""
    values = {"name": name}
    parts = split_sqlite_address(file.database_url)
    if file.spec.database.url is None and parts is not None:  # its default depends on the name
        values["database.url"] = f"sqlite:///{Path(parts[0]).name}"
    return with_values(file.path.read_text(encoding="utf-8"), values)
