"""Tell the user that texts are longer than the models read."""

from __future__ import annotations

from star_al.common.wording import count
from star_al.parts import Parts


def say_cut_texts(parts: Parts, said: set[str]) -> None:
    """Say once, for each model that reads texts, how many it has cut so far.

    Args:
        parts: The campaign.
        said: What has been said; added to.
    """
    limit = f"model.max_tokens = {parts.spec.model.max_tokens}"
    completion = parts.spec.task.completion
    if completion is not None:
        limit += f", completions to task.max_completion_tokens = {completion.max_completion_tokens}"
    encoder = "what the sentence encoder reads (head.max_tokens)"
    readers = {encoder if parts.spec.has_head_learner else limit: parts.learner}
    if parts.head is not None:
        readers[encoder] = parts.head
    for what, learner in readers.items():
        # Workers of a cluster read texts with the language model alone.
        elsewhere = 0 if what is encoder else parts.compute.truncated
        n = max(learner.truncated, elsewhere)
        if n and what not in said:
            said.add(what)
            parts.progress.say(f"Long texts are cut to {what}: {count(n, 'text')} so far")
