from __future__ import annotations

import numpy as np
import pytest

from star_al.head import LabelNames, check_names, name_text, plain_name, zero_shot
from star_al.types import Float32Array


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("card_arrival", "card arrival"),
        ("Refund_not_showing_up", "Refund not showing up"),
        ("cardPayment-notRecognised", "card Payment not Recognised"),
        ("World", "World"),
        ("sci/tech", "sci tech"),
        ("__", "__"),
        ("天气_查询", "天气 查询"),
    ],
)
def test_a_name_becomes_words(name: str, plain: str) -> None:
    assert plain_name(name) == plain


def test_a_description_stands_in_for_a_name() -> None:
    assert name_text("ham", "a message from a friend") == "a message from a friend"
    assert name_text("card_arrival", " ") == "card arrival?"
    assert name_text("card_arrival") == "card arrival?"


def test_similarities_are_cosines() -> None:
    names = LabelNames(np.array([[2.0, 0.0], [0.0, 3.0]], dtype=np.float32))
    found = names.similarities(np.array([[5.0, 0.0], [1.0, 1.0]], dtype=np.float32))
    np.testing.assert_allclose(found, [[1, 0], [0.5**0.5, 0.5**0.5]], atol=1e-6)


def test_zero_shot_predicts_the_closest_name() -> None:
    found = zero_shot(np.array([[0.3, 0.4], [0.4, 0.1]]))
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1)
    assert found.argmax(axis=1).tolist() == [1, 0]


def _texts() -> tuple[Float32Array, Float32Array]:
    """Texts about one of three subjects, and the directions of the subjects."""
    generator = np.random.default_rng(0)
    subjects = np.linalg.qr(generator.standard_normal((30, 4)))[0].T
    texts = subjects[generator.integers(0, 3, 300)] + 0.1 * generator.standard_normal((300, 30))
    return texts.astype(np.float32), subjects.astype(np.float32)


def test_names_of_the_subjects_tell_something() -> None:
    texts, subjects = _texts()
    check = check_names(["a b", "c d", "e f"], LabelNames(subjects[:3]).similarities(texts), texts)
    assert not check.tell_nothing
    assert check.suspects == ()


def test_names_close_to_each_other_or_of_another_subject_tell_nothing() -> None:
    texts, subjects = _texts()
    alike = subjects[3] + 0.05 * subjects[:2]
    check = check_names(["label_1", "label_2"], LabelNames(alike).similarities(texts), texts)
    assert check.tell_nothing
    assert check.suspects == (0, 1)


@pytest.mark.parametrize("name", ["1", "A", "label_1", "Class 3", "cluster-12", "b"])
def test_numbers_and_letters_are_suspects(name: str) -> None:
    texts, subjects = _texts()
    similarities = LabelNames(subjects[:2]).similarities(texts)
    assert check_names(["card arrival", name], similarities, texts).suspects == (1,)
