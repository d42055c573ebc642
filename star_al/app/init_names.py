"""Ask what labels mean whose names tell a head nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from star_al.app.init_questions import Ask

UnclearNames = Callable[[Sequence[str], Sequence[str]], Sequence[str]]
"""Returns the names of labels, among those given, that say nothing about the texts given."""

SHOWN = 5
"""Names that a warning lists."""

_ASKED = 10
"""With more unclear names than this, nobody is asked at the terminal: the file is the better place to write."""

_LETTERS = re.compile(r"[^\W\d_]+")
_SHORTEST = 3
_VOWELS = set("aeiouy")


def unclear_by_form(names: Sequence[str], texts: Sequence[str] = ()) -> list[str]:
    """Return the names without a word: numbers, single letters, and abbreviations without a vowel.

    Args:
        names: Names of labels.
        texts: Not looked at.
    """
    return [name for name in names if not any(map(_is_word, _LETTERS.findall(name)))]


def _is_word(letters: str) -> bool:
    """Return whether letters can be a word; of other scripts, even one of them may be."""
    return not letters.isascii() or (len(letters) >= _SHORTEST and bool(_VOWELS & set(letters.casefold())))


def described(
    names: Sequence[str],
    texts: Sequence[str],
    *,
    ask: Ask | None,
    tell: Callable[[str], None],
    unclear: UnclearNames = unclear_by_form,
) -> dict[str, str]:
    """Ask for descriptions of labels whose names tell nothing; without a terminal, say that they are missing.

    Args:
        names: Names of labels.
        texts: Some texts of the pool.
        ask: Asks the user; None without a terminal.
        tell: Called with a sentence if a name stays unclear.
        unclear: Finds such names.

    Returns:
        Descriptions by name.
    """
    found = list(unclear(names, texts))
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
