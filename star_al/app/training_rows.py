"""Export what people labelled as examples to train on elsewhere, in the formats that TRL reads."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from functools import cached_property
from pathlib import Path

from star_al.app.exporting import Exported
from star_al.app.known_items import CONTROL, known_items
from star_al.app.predicting import own_files
from star_al.app.stores import reading
from star_al.common.paging import pages
from star_al.common.wording import count
from star_al.config.spec import CampaignFile
from star_al.data import Known, check_out, write_rows
from star_al.errors import DataError
from star_al.models.prompt_template import plain_prompt_of, prompt_of
from star_al.ports import Store
from star_al.task import Task, make_task
from star_al.types import Campaign, Item, JsonObject, JsonValue, Role

LEARNED = (Role.POOL.value, CONTROL)
"""Roles of the texts that a model may learn from; the others measure it."""

PAGE = 2048
"""Items loaded from the store at once."""

_MARKER = re.compile(r"<\|[^<>\s]{1,40}\|>|</?s>|\[/?INST\]|<(?:start|end)_of_turn>|<</?SYS>>")
"""What chat templates of known models write."""


class Examples(StrEnum):
    """What an example is."""

    SFT = "sft"  # a prompt and what to write
    DPO = "dpo"  # a prompt, what to write, and what rather not


def export_examples(file: CampaignFile, out: Path, examples: Examples) -> Exported:
    """Write an example for each labelled text; texts of the audit and calibration sets are left out.

    Each has ``prompt`` and ``completion``, or ``prompt``, ``chosen`` and ``rejected``: lists of messages, or plain
    texts if the task uses no chat template.

    Args:
        file: The campaign.
        out: The file to write, ``.jsonl``.
        examples: What an example is.

    Raises:
        DataError: The suffix is another one, or ``out`` is a file of the campaign.
        StoreError: ``out`` cannot be written, or the campaign has not been started.
    """
    if out.suffix.lower() != ".jsonl":
        raise DataError(f"{out}: examples to train on are JSON lines. Write to a file that ends in .jsonl.")
    check_out(out, own_files(file))
    with reading(file) as (store, campaign):
        rows = _Rows(store, campaign, make_task(file.spec.task))
        n = write_rows(out, rows.of(examples))
        return Exported(n, rows.notes(examples))


class _Rows:
    """The examples of one campaign, and what was left out."""

    def __init__(self, store: Store, campaign: Campaign, task: Task) -> None:
        self._store, self._campaign, self._task = store, campaign, task
        known = known_items(store, campaign, task)
        labelled = {item_id: each for item_id, each in known.items() if each.label is not None}
        self._known = {item_id: each for item_id, each in labelled.items() if each.role in LEARNED}
        self._held_out = len(labelled) - len(self._known)
        self._without, self._marked = 0, 0

    def of(self, examples: Examples) -> Iterator[JsonObject]:
        """All examples, in the order of import."""
        make: Callable[[Item, Known], list[JsonObject]] = (
            self._completions if examples is Examples.SFT else self._pairs
        )
        for page in pages(self._known, PAGE):
            for item in self._store.items(self._campaign.campaign_id, page):
                rows = make(item, self._known[item.item_id])
                self._without += not rows
                self._marked += any(_MARKER.search(str(row)) for row in rows)
                yield from rows

    def notes(self, examples: Examples) -> tuple[str, ...]:
        """What a user should know, after the rows were written."""
        notes = []
        if self._held_out:
            notes.append(
                f"{count(self._held_out, 'held-out text')} with a label left out, so that a model trained on the file "
                "can be measured on them."
            )
        if self._without:
            why = "without a label to write" if examples is Examples.SFT else "without an answer to reject"
            notes.append(f"{count(self._without, 'text')} left out: {why}.")
        if self._marked:
            notes.append(
                f"{count(self._marked, 'text')} with something like a marker of a chat template (<|im_end|>). A "
                "trainer may read it as one; star-al's own training does not."
            )
        return tuple(notes)

    def _completions(self, item: Item, known: Known) -> list[JsonObject]:
        label = known.label.value if known.label else None
        if not self._task.teaches(item, label):
            return []
        return [{**self._prompt(item), "completion": self._answer(item, self._task.spell(item, label))}]

    def _pairs(self, item: Item, known: Known) -> list[JsonObject]:
        label = known.label.value if known.label else None
        if not self._task.teaches(item, label):
            return []
        given = [each.label for each in known.answers if each.label is not None]
        right = self._task.answer(label)
        predicted = self._predicted.get(item.item_id, ())
        others = [*given, *(value for value in predicted if not self._task.same(item, value, right))]
        chosen = self._task.spell(item, label)
        spelled = (self._task.spell(item, value) for value in self._task.rejected(item, label, others))
        return [
            {
                **self._prompt(item),
                "chosen": self._answer(item, chosen),
                "rejected": self._answer(item, rejected),
            }
            for rejected in dict.fromkeys(spelled)
        ]

    @cached_property
    def _predicted(self) -> Mapping[str, list[JsonValue]]:
        """What the model said of each item when it was asked, as far as it can be a label."""
        campaign_id, found = self._campaign.campaign_id, defaultdict[str, list[JsonValue]](list)
        options = self._store.options(campaign_id, sorted(self._known)) if self._task.has_options else {}
        for query in self._store.queries(campaign_id):
            predicted = query.reason.written
            value = None if predicted is None else self._task.find(options.get(query.item_id, ()), predicted)
            if value is not None:
                found[query.item_id].append(value)
        return found

    def _prompt(self, item: Item) -> JsonObject:
        if not self._task.spec.chat_template:
            return {"prompt": plain_prompt_of(self._task, item)[0]}
        instruction, message = prompt_of(self._task, item)
        system = [{"role": "system", "content": instruction}] if instruction else []
        return {"prompt": [*system, {"role": "user", "content": message}]}

    def _answer(self, item: Item, text: str) -> JsonValue:
        if self._task.spec.chat_template:
            return [{"role": "assistant", "content": text}]
        return plain_prompt_of(self._task, item)[1] + text
