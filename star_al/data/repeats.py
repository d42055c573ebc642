"""Texts that stand in several rows with different labels, and ids that stand for several texts.

The label of such a text must not depend on the order of the rows: it is that of most rows. A tie has none.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from star_al.types import JsonValue

Settled = dict[int, JsonValue]
"""Labels of texts with several labels, by ``key_of`` their ids; None for a tie."""


@dataclass(frozen=True, slots=True)
class Repeats:
    """What is known of the rows of a source once all were read.

    Attributes:
        given: The texts whose rows have different given labels.
        gold: The texts whose rows have different labels in the gold column.
        shared_ids: How many of the user's ids stand for several texts.
    """

    given: Settled = field(default_factory=dict)
    gold: Settled = field(default_factory=dict)
    shared_ids: int = 0

    @property
    def disagreeing(self) -> int:
        """Texts whose rows have different labels."""
        return len(self.given.keys() | self.gold.keys())

    @property
    def ties(self) -> int:
        """Texts that have several labels equally often."""
        ties = {key for found in (self.given, self.gold) for key, label in found.items() if label is None}
        return len(ties)


def key_of(item_id: str) -> int:
    """The first 64 bits of an item's id, by which items are told apart in little memory."""
    return int(item_id[:16], 16)


class Pairs:
    """Counts which values go with which keys, in 16 bytes a pair."""

    def __init__(self) -> None:
        self._keys = array("Q")
        self._values = array("Q")

    def add(self, key: int, value: int) -> None:
        """Count a pair of numbers below 2⁶⁴."""
        self._keys.append(key)
        self._values.append(value)

    def several(self) -> dict[int, Counter[int]]:
        """The keys that go with several values, and how often with each."""
        found: dict[int, Counter[int]] = defaultdict(Counter)
        for position in _repeated(self._keys):
            found[self._keys[position]][self._values[position]] += 1
        return {key: values for key, values in found.items() if len(values) > 1}


class Votes:
    """Counts the labels that rows give each text."""

    def __init__(self) -> None:
        self._pairs = Pairs()
        self._codes: dict[tuple[bool, str], int] = {}
        self._labels: list[JsonValue] = []
        self._names: dict[str, int] = {}
        self._name_of: list[int] = []

    def add(self, item_id: str, label: JsonValue, name: str) -> None:
        """Count the label of a row; None is no vote. Labels of a text that have one name count as the first of them."""
        if label is None:
            return
        written = (True, label) if isinstance(label, str) else (False, repr(label))
        code = self._codes.setdefault(written, len(self._labels))
        if code == len(self._labels):
            self._labels.append(label)
            self._name_of.append(self._names.setdefault(name, len(self._names)))
        self._pairs.add(key_of(item_id), code)

    def settled(self) -> Settled:
        """The texts with different labels, each with the label of most rows, or None for a tie."""
        return {
            key: self._majority(codes)
            for key, codes in self._pairs.several().items()
            if len({self._name_of[code] for code in codes}) > 1
        }

    def _majority(self, codes: Counter[int]) -> JsonValue:
        votes: Counter[int] = Counter()
        for code, n in codes.items():
            votes[self._name_of[code]] += n
        (name, most), (_, next_most) = votes.most_common(2)
        if most == next_most:
            return None
        return next(self._labels[code] for code in codes if self._name_of[code] == name)


def hash_of(external_id: str) -> int:
    """A hash of a user's id."""
    digest = hashlib.blake2b(external_id.encode("utf-8", "replace"), digest_size=8)
    return int.from_bytes(digest.digest())


def _repeated(keys: array[int]) -> Iterable[int]:
    """The positions of keys that occur more than once."""
    found = np.frombuffer(keys, dtype=np.uint64) if keys else np.zeros(0, dtype=np.uint64)
    _, inverse, counts = np.unique(found, return_inverse=True, return_counts=True)
    positions: list[int] = np.flatnonzero(counts[inverse] > 1).tolist()
    return positions
