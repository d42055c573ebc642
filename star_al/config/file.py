"""A campaign file → a validated ``CampaignFile``, or one message that names every wrong setting."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from star_al.config.explaining import explain
from star_al.config.reading import read_document
from star_al.config.spec import FROM_FILE, CampaignFile, CampaignSpec
from star_al.errors import ConfigError


def load_campaign(path: Path, settings: Sequence[str] = ()) -> CampaignFile:
    """Read and validate a campaign file.

    Args:
        path: The file.
        settings: ``NAME=VALUE`` each, with a dotted name; they replace what the file says.

    Raises:
        ConfigError: The file is missing, is not YAML, or is not a valid campaign.
    """
    document = read_document(path, CampaignSpec, settings)
    try:
        spec = CampaignSpec.model_validate(document.tree, context=FROM_FILE)
    except ValidationError as exc:
        raise ConfigError(explain(path, document, exc)) from exc
    return CampaignFile(path=path.resolve(), spec=spec)
