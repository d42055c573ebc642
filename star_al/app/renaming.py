"""Rename a label of a campaign file, or merge it with another one."""

from __future__ import annotations

from star_al.config.file import load_campaign
from star_al.config.spec import CampaignFile, normalise_label
from star_al.config.writing import plain_label, with_values
from star_al.data import write_text
from star_al.errors import ConfigError


def rename_label(file: CampaignFile, old: str, new: str) -> bool:
    """Write a label's new name into a campaign file; return True if that merges it with another label.

    Args:
        file: The campaign file.
        old: One of its labels.
        new: Its new name, or another of its labels.

    Raises:
        ConfigError: There is no such label, or too few are left; the file stays as it is.
    """
    task = file.spec.task
    if task.labels and "renamed" not in type(task).model_fields:
        raise ConfigError(f"{file.path}: labels of task.kind: {task.kind} cannot be renamed.")
    before = {normalise_label(label.name): label for label in task.labels}
    label = before.get(normalise_label(old))
    if label is None:
        names = ", ".join(task.label_names) or "the options of each text"
        raise ConfigError(f"{file.path}: there is no label {old!r}; the labels are {names}.")
    merged = normalise_label(new) in before.keys() - {normalise_label(old)}
    kept = [each for each in task.labels if each is not label or not merged]
    labels = [each.model_copy(update={"name": new}) if each is label else each for each in kept]
    target = before[normalise_label(new)].name if merged else new
    # A name that becomes a label again must not lead elsewhere.
    renamed = {name: to for name, to in task.renamed.items() if normalise_label(name) != normalise_label(new)}
    if normalise_label(old) != normalise_label(new):
        renamed[label.name] = target
    text = file.path.read_text(encoding="utf-8")
    values = {
        "task.labels": [plain_label(each.model_dump(mode="json")) for each in labels],
        "task.renamed": renamed,
    }
    write_text(file.path, with_values(text, values))  # type: ignore[arg-type]
    try:
        load_campaign(file.path)
    except ConfigError:
        write_text(file.path, text)
        raise
    return merged
