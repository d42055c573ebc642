"""What it means for a started campaign that the settings in its file have changed: refused, begun again, or adopted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from star_al.app.beginning_again import has_answers
from star_al.common.wording import count, sentence_case
from star_al.config.changes import (
    added_labels,
    changed_fields,
    differing_fields,
    list_differences,
    renamed_labels,
)
from star_al.config.spec import CampaignFile, TaskSpec
from star_al.errors import ConfigError
from star_al.labelling.renaming import Relabelling, relabel
from star_al.ports import Progress, Store
from star_al.types import Campaign, Event, Lease, Role


def refuse_changes(file: CampaignFile, store: Store, campaign: Campaign) -> list[str]:
    """Refuse changes that answers do not allow; return those for which the campaign has to begin again.

    Raises:
        ConfigError: People have answered, and the settings must stay as they were then.
    """
    trained = any(round_.adapter_sha256 for round_ in store.rounds(campaign.campaign_id))
    changed = changed_fields(campaign.config, file.spec, trained=trained)
    if changed and has_answers(store, campaign):
        raise ConfigError(
            f"{file.path}: campaign {campaign.name!r} was started with different settings for {', '.join(changed)}. "
            "Change them back, or give the new campaign another name.\n"
            + list_differences(campaign.config, file.spec, changed)
            + "\nTo use them with the labels there are, restore the file and run "
            f"`star-al clone {file.path.name} NAME --with-labels`, then change the new file."
        )
    return changed


def adopt_settings(
    file: CampaignFile, store: Store, campaign: Campaign, lease: Lease, progress: Progress
) -> None:
    """Store today's settings, and log what has changed; say so if labels were added."""
    added, renamed = added_labels(campaign.config, file.spec), renamed_labels(campaign.config, file.spec)
    labels = ("task.labels", "task.renamed")
    changed = differing_fields(campaign.config, file.spec, labels)
    messages = [f"settings changed: {', '.join(changed)}"] if changed else []
    messages += (
        [_added_in_words(added, file.spec.task, store.label_counts(campaign.campaign_id))] if added else []
    )
    found = Relabelling((), ())
    if renamed:
        found = relabel(store, campaign.campaign_id, file.spec)
        messages.append(_renamed_in_words(renamed, found))
    store.update_config(
        lease,
        file.spec.model_dump(mode="json"),
        relabelled=found.relabelled,
        settled=found.settled,
        events=[Event("config", message) for message in messages],
    )
    for message in messages[bool(changed) :]:
        progress.say(sentence_case(message))


def _added_in_words(added: Sequence[str], task: TaskSpec, labelled: Mapping[Role, int]) -> str:
    """What adding labels does; a set of labels that was given before says of a new one that the text has it not."""
    words, n = f"labels added: {', '.join(added)}", sum(labelled.values())
    if not task.has_label_sets or not n:
        return words
    them = "it" if len(added) == 1 else "them"
    return (
        f"{words}; {count(n, 'text')} labelled before {'counts' if n == 1 else 'count'} as not having {them}"
    )


def _renamed_in_words(renamed: Mapping[str, str], found: Relabelling) -> str:
    pairs = ", ".join(f"{old} → {new}" for old, new in renamed.items())
    words = f"labels renamed: {pairs}; {count(len(found.relabelled), 'label')} kept under the new name"
    if found.settled:
        words += f", {len(found.settled):,} decided anew from the same answers"
    return words
