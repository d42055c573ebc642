"""What a shell proposes when Tab is pressed: campaign files, rounds, strategies, posteriors."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import typer


def campaign_files(incomplete: str) -> list[str]:
    """YAML files that the word may become; none leaves it to the shell, which also knows folders."""
    folder, _, start = incomplete.rpartition("/")
    with suppress(OSError):
        place = Path(f"{folder}/" if "/" in incomplete else ".").expanduser()
        names = sorted(path.name for path in place.iterdir() if path.suffix in (".yaml", ".yml"))
        before = incomplete[: len(incomplete) - len(start)]
        return [before + name for name in names if name.startswith(start)]
    return []


def round_numbers(context: typer.Context, incomplete: str) -> list[str]:
    """The rounds of the campaign on the line."""
    from star_al.app.stores import reading
    from star_al.config.file import load_campaign

    with suppress(Exception):  # a shell shows nothing but proposals
        # An option without its value ends the parsing, so that words before it are not yet arguments.
        config = next(iter(context.args), context.params.get("config") or "campaign.yaml")
        file = load_campaign(Path(config))
        with reading(file) as (store, campaign):
            numbers = [str(each.index) for each in store.rounds(campaign.campaign_id)]
        return [number for number in numbers if number.startswith(incomplete)]
    return []


def strategies(incomplete: str) -> list[str]:
    """The strategies that the last word of a list may become."""
    from star_al.app.strategies import known_strategies

    return _last_of_list(incomplete, known_strategies())


def posteriors(incomplete: str) -> list[str]:
    """The posteriors that the last word of a list may become."""
    from star_al.app.strategies import POSTERIORS

    return _last_of_list(incomplete, POSTERIORS)


def _last_of_list(incomplete: str, names: Sequence[str]) -> list[str]:
    before, comma, start = incomplete.rpartition(",")
    chosen = before.split(",")
    return [before + comma + name for name in names if name.startswith(start) and name not in chosen]
