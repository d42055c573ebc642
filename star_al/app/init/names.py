"""Ask what labels mean whose names tell a head nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from star_al.app.init.questions import Ask
from star_al.errors import ModelError

UnclearNames = Callable[[Sequence[str], Sequence[str], str], Sequence[str]]
"""Returns the names of labels, among those given, that say nothing about the texts given to the encoder named."""

SHOWN = 5
"""Names that a warning lists."""

_ASKED = 10
"""With more unclear names than this, nobody is asked at the terminal: the file is the better place to write."""

_TEXTS = 300
_CHARACTERS = 500
"""How many texts names are compared with, and how much of each: it takes seconds."""

_LETTERS = re.compile(r"[^\W\d_]+")
_SHORTEST = 3
_VOWELS = set("aeiouy")


def unclear_by_form(names: Sequence[str], texts: Sequence[str] = (), encoder: str = "") -> list[str]:
    """Return the names without a word: numbers, single letters, and abbreviations without a vowel.

    Args:
        names: Names of labels.
        texts: Not looked at.
        encoder: Not used.
    """
    return [name for name in names if not any(map(_is_word, _LETTERS.findall(name)))]


def unclear_here(names: Sequence[str], texts: Sequence[str], encoder: str) -> list[str]:
    """Return the names that tell an encoder nothing; by their form alone if it is not on this machine.

    Args:
        names: Names of labels.
        texts: Some texts of the pool.
        encoder: Its folder or its name on the hub.
    """
    from star_al.models.hub_download import find_cached

    by_form = unclear_by_form(names)
    if len(names) < 2 or not texts or not (Path(encoder).is_dir() or find_cached(encoder, None)):
        return by_form
    from star_al.head import LabelNames, check_names, name_text
    from star_al.models.encoder import open_encoder

    try:
        opened = open_encoder(encoder)
        of_names = opened.encode([name_text(name) for name in names]).vectors_N_d
        of_texts = opened.encode([text[:_CHARACTERS] for text in texts[:_TEXTS]]).vectors_N_d
    except ModelError:  # the campaign's start tells what is wrong with it
        return by_form
    check = check_names(names, LabelNames(of_names).similarities(of_texts), of_texts)
    suspects = {names[column] for column in check.suspects} | set(by_form)
    return list(names) if check.tell_nothing else [name for name in names if name in suspects]


def _is_word(letters: str) -> bool:
    """Return whether letters can be a word; of other scripts, even one of them may be."""
    return not letters.isascii() or (len(letters) >= _SHORTEST and bool(_VOWELS & set(letters.casefold())))


def described(
    names: Sequence[str],
    texts: Sequence[str],
    encoder: str = "",
    *,
    ask: Ask | None,
    tell: Callable[[str], None],
    unclear: UnclearNames = unclear_by_form,
) -> dict[str, str]:
    """Ask for descriptions of labels whose names tell nothing; without a terminal, say that they are missing.

    Args:
        names: Names of labels.
        texts: Some texts of the pool.
        encoder: The encoder that will read them.
        ask: Asks the user; None without a terminal.
        tell: Called with a sentence if a name stays unclear.
        unclear: Finds such names.

    Returns:
        Descriptions by name.
    """
    found = list(unclear(names, texts, encoder))
    descriptions: Mapping[str, str] = {}
    if ask is not None and 0 < len(found) <= _ASKED:
        descriptions = _ask_all(found, ask)
    left = [name for name in found if name not in descriptions]
    if left:
        more = f" and {len(left) - SHOWN} more" if len(left) > SHOWN else ""
        listed = ", ".join(map(repr, left[:SHOWN])) + more
        verb = "says" if len(left) == 1 else "say"
        noun = "The label name" if len(left) == 1 else "The label names"
        tell(
            f"{noun} {listed} {verb} little about the texts. A description helps the head: in task.labels, write "
            f"{{name: {left[0]}, description: …}}."
        )
    return dict(descriptions)


def _ask_all(names: Sequence[str], ask: Ask) -> dict[str, str]:
    question = "What does the label {!r} mean, in a few words? (Enter to leave it open)"
    answers = {name: ask.text(question.format(name), default="").strip() for name in names}
    return {name: answer for name, answer in answers.items() if answer}
