"""Tell whether texts are English, by their letters and their function words.

It decides on one proposal only, that of a multilingual encoder, so it asks less than a language detector: no
model, no dependency, and texts without a language of their own (codes, product names) pass as English.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from itertools import islice

MULTILINGUAL_ENCODER = "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2"
"""The encoder to propose for texts that are not English: it reads about 50 languages."""

MULTILINGUAL_SIZE = "471 MB"
"""What there is to download for it."""

TEXTS_READ = 1000
_CHARACTERS_READ = 2000

_OTHER_LETTERS = 0.2
"""Share of letters outside the Latin alphabet from which on texts are not English."""

_FOREIGN = 0.5
"""Function words of other languages for each English one from which on texts are not English."""

_FEW = 0.03
_ACCENTED = 0.01
"""With fewer English function words, and more letters with accents, texts are in a language that is not listed."""

_WORD = re.compile(r"[^\W\d_]+")


def _words(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


_ENGLISH = _words(
    """
    the and of you that this these those with have has had from they them their there what which who
    when where why how would could should can will just your yours his her she its our than then been
    being be are were is was not but if into about out only my it for u ur im dont thats some any each
    more most very because while please want need get got know think at by as or
    """
)
"""English words that are rare in other languages."""

_OTHER = _words(
    """
    der das und ist nicht ein eine einen ich sie mit auf für den dem des von zu sich auch wird sind oder
    aber wie mein el los las que una por con para como del pero más está muy mi su lo se le les est une
    pas dans je vous nous sur qui avec pour sont cette mais il elle du au ne ce di che è non per sono
    della gli anche alla nel dei questo ho não uma os com em da dos foi meu você isso het een van niet
    ik dat voor zijn maar ook naar wel nie się jest że na jak tak czy dla już mnie ale och att det som
    är inte på av jag har till ett og er ikke jeg af til ve bir bu için çok değil gibi ja ei että oli
    mutta kun olen az és nem hogy egy meg să și cu este nu pe din yang dan ini itu tidak untuk dengan
    saya že byl jsem ako của là không và có cho ya wa kwa ni
    """
)
"""Frequent words of other languages in Latin letters that are rare in English."""


def looks_english(texts: Iterable[str]) -> bool:
    """Return whether most of the texts seem to be English, or to be in no language at all.

    Args:
        texts: Texts; the first thousand are looked at.
    """
    letters: Counter[str] = Counter()
    words: Counter[str] = Counter()
    for text in islice(texts, TEXTS_READ):
        found = _WORD.findall(unicodedata.normalize("NFC", text[:_CHARACTERS_READ]).casefold())
        letters.update("".join(found))
        words.update(found)
    n_letters, n_words = letters.total(), words.total()
    if not n_letters:
        return True
    other = sum(n for letter, n in letters.items() if not _is_latin(letter))
    if other > _OTHER_LETTERS * n_letters:
        return False
    english = sum(n for word, n in words.items() if word in _ENGLISH)
    foreign = sum(n for word, n in words.items() if word in _OTHER)
    accented = sum(n for letter, n in letters.items() if letter > "\x7f") - other
    if english < _FEW * n_words and accented > _ACCENTED * n_letters:
        return False
    return foreign <= _FOREIGN * english or foreign < _FEW * n_words


def _is_latin(letter: str) -> bool:
    return letter <= "\x7f" or unicodedata.name(letter, "").startswith("LATIN")
