"""The licence of a base model, as its own card says."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import ModelCard
from huggingface_hub.errors import HfHubHTTPError


def find_licence(folder: Path, name: str) -> str | None:
    """Return the licence's identifier, such as ``apache-2.0``; None if no card tells it.

    Args:
        folder: The model's files.
        name: Its name on the hub, or the folder again.
    """
    card = folder / "README.md"
    if card.is_file():
        return _licence_of(card)
    return None if Path(name).is_dir() else _licence_of(name)


def _licence_of(card: Path | str) -> str | None:
    try:
        licence = ModelCard.load(card, ignore_metadata_errors=True).data.get("license")
    except (HfHubHTTPError, OSError, ValueError):
        return None  # the hub is away, or the card has no metadata that can be read
    return licence if isinstance(licence, str) else None
