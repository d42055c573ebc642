"""Write the campaign file of ``Campaign.create``, or find that it exists already."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from star_al.app.api.input_data import Texts, rows_of, write_rows_beside
from star_al.app.init.proposal import propose_campaign
from star_al.app.init.request import CampaignRequest
from star_al.app.init.starter_file import write_starter_file
from star_al.config.changes import differing_fields
from star_al.config.dotted_names import flatten, set_value
from star_al.config.explaining import explain
from star_al.config.file import load_campaign
from star_al.config.spec import FROM_FILE, CampaignFile, CampaignSpec
from star_al.data import writable_target
from star_al.errors import ConfigError, DataError


def create_file(
    data: str | Path | Texts, path: Path | None, settings: Mapping[str, Any], **request: Any
) -> CampaignFile:
    """Write a campaign file beside the data.

    Args:
        data: A file, a ``datasets`` name, or texts in memory, which are written beside the campaign file.
        path: The campaign file; ``None`` for ``campaign.yaml`` beside the data.
        settings: Further settings, nested as in the file or by dotted name.
        request: The other fields of ``CampaignRequest``.

    Returns:
        The new file, or the existing one if it holds the same settings.

    Raises:
        ConfigError: The settings are not valid, or the file exists with different settings.
        DataError: The data cannot be used.
        StoreError: A file cannot be written.
    """
    if isinstance(data, (str, Path)):
        path = path or _folder_of(data) / "campaign.yaml"
    else:
        path = path or Path("campaign.yaml")
        request["name"] = request["name"] or "campaign"
        request["text_column"] = request["text_column"] or "text"
        data = _write_data(path.with_name(f"{request['name']}.jsonl"), data, request["text_column"])
    folder = writable_target(path).parent
    proposed = propose_campaign(CampaignRequest(data=str(data), **request), folder)
    spec = _with_settings(path, proposed, settings)
    if path.exists():
        _refuse_different(path, load_campaign(path).spec, spec)
    else:
        write_starter_file(path, spec)
    return load_campaign(path)


def _folder_of(data: str | Path) -> Path:
    """Return the folder of a file; the current folder for a ``datasets`` name."""
    path = Path(data).expanduser()
    return path.parent if path.exists() else Path()


def _write_data(path: Path, texts: Texts, text_column: str) -> Path:
    rows = rows_of(texts, text_column)
    if not rows:
        raise DataError("there are no texts. Give at least one.")
    write_rows_beside(path, rows)
    return path


def _with_settings(path: Path, proposed: CampaignSpec, settings: Mapping[str, Any]) -> CampaignSpec:
    tree = proposed.model_dump(mode="json", exclude_unset=True)
    for name, value in flatten(settings).items():
        set_value(tree, name, value)
    try:
        return CampaignSpec.model_validate(tree, context=FROM_FILE)
    except ValidationError as exc:
        raise ConfigError(explain(path, None, exc)) from exc


def _refuse_different(path: Path, existing: CampaignSpec, wanted: CampaignSpec) -> None:
    changed = differing_fields(existing.model_dump(mode="json"), wanted, ())
    if changed:
        raise ConfigError(
            f"{path}: exists with different settings for {', '.join(changed)}. "
            f"Use it with Campaign.open({str(path)!r}), or choose another path and name."
        )
