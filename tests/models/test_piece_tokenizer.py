"""Parts of a prompt have the ids that they have in the whole prompt, whatever the tokenizer adds or strips."""

from __future__ import annotations

from typing import Any

import pytest

from star_al.config.spec import task_spec
from star_al.errors import ModelError
from star_al.models.piece_tokenizer import PieceTokenizer, require_agreement
from star_al.models.prompts import PromptFormat
from star_al.task import make_task
from star_al.types import Item
from support.kinds_of_tokenizer import KINDS, byte_level, metaspace, prepending, word_piece

LABELS = ("sport", "politics", "tech")
TEXT = "The striker scored twice in the final"


def prompt_format(tokenizer: Any, **task: Any) -> PromptFormat:
    spec = task_spec({"kind": "classification", "labels": LABELS} | task)
    return PromptFormat(tokenizer, make_task(spec), max_tokens=400, context=500)


@pytest.fixture(params=KINDS)
def tokenizer(request: pytest.FixtureRequest) -> Any:
    return KINDS[request.param]()


@pytest.mark.parametrize(
    "task",
    [{}, {"template": "{text}\nLabel: "}, {"template": "Of {labels}: {text} is"}],
    ids=["default", "ends with a space", "labels first"],
)
def test_a_plain_prompt_with_its_label_is_the_tokenised_whole(
    tokenizer: Any, task: Any, request: pytest.FixtureRequest
) -> None:
    form = prompt_format(tokenizer, **task)
    prompt = form.encode(Item("a", TEXT))
    instruction = "Classify the text. Answer with exactly one of these labels: sport, politics, tech."
    message = task.get("template", "Text:\n{text}\n\nLabel:")
    text = f"{instruction}\n\n{message}".replace("{text}", TEXT).replace("{labels}", ", ".join(LABELS))
    neutral = PieceTokenizer(tokenizer).is_neutral
    for label, ids in zip(LABELS, prompt.labels, strict=True):
        whole = tokenizer(f"{text.rstrip(' ')} {label}", add_special_tokens=False).input_ids
        ours = [*prompt.tokens, *ids][len(PieceTokenizer(tokenizer).opening) :]
        if message.endswith(" ") and neutral:  # the user's space stays in the prompt, apart from the label
            assert tokenizer.decode(ours) == tokenizer.decode(whole)
        else:
            assert ours == whole


def test_options_are_those_of_the_tokenised_whole(tokenizer: Any) -> None:
    spec = task_spec({"kind": "multiple_choice"})
    form = PromptFormat(tokenizer, make_task(spec), max_tokens=400, context=500)
    prompt = form.encode(Item("a", TEXT, options=("the bank", "the team")))
    text = f"Choose the right option. Answer with its letter only.\n\n{TEXT}\n\nOptions:\nA. the bank\nB. the team"
    whole = tokenizer(f"{text}\n\nAnswer: B", add_special_tokens=False).input_ids
    assert [*prompt.tokens, *prompt.labels[1]][len(PieceTokenizer(tokenizer).opening) :] == whole


def test_options_that_are_cut_keep_the_ids_of_the_whole(tokenizer: Any) -> None:
    spec = task_spec({"kind": "multiple_choice"})
    task, options = make_task(spec), ("the bank " * 40, "the team")
    size = len(
        PromptFormat(tokenizer, task, max_tokens=400, context=500).encode(Item("a", "", options=("x", "y")))
    )
    cut = PromptFormat(tokenizer, task, max_tokens=size + 30, context=500).encode(
        Item("a", "x", options=options)
    )
    shown = tokenizer.decode(cut.tokens)
    assert cut.truncated and "the bank the bank" in shown
    last = tokenizer("B. the team\n\nAnswer:", add_special_tokens=False).input_ids
    assert list(cut.tokens[-5:]) == last[-5:]


@pytest.mark.parametrize("kind", ["byte-level", "word pieces", "slow"])
def test_tokenizers_that_add_nothing_need_no_anchor(kind: str) -> None:
    assert PieceTokenizer(KINDS[kind]()).is_neutral


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "prepends" in kind or "before" in kind])
def test_tokenizers_that_add_something_are_found_out(kind: str) -> None:
    assert not PieceTokenizer(KINDS[kind]()).is_neutral


def test_what_begins_a_sequence_is_put_before_a_plain_prompt() -> None:
    bos, bert, bare = (KINDS[kind]() for kind in ("beginning of a sequence", "word pieces", "byte-level"))
    assert prompt_format(bos).encode(Item("a", TEXT)).tokens[0] == bos.bos_token_id
    assert prompt_format(bert).encode(Item("a", TEXT)).tokens[0] == bert.cls_token_id
    assert bert.sep_token_id not in prompt_format(bert).encode(Item("a", TEXT)).tokens
    assert prompt_format(bare).encode(Item("a", TEXT)).tokens[0] != bare.bos_token_id


def test_a_chat_of_plain_markers_is_the_tokenised_whole() -> None:
    chat = (
        "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('none') }}"
        "{% elif m['role'] == 'user' %}{{ '[INST] ' + m['content'] + ' [/INST]' }}"
        "{% else %}{{ ' ' + m['content'] + eos_token }}{% endif %}{% endfor %}"
    )
    tokenizer = prepending(chat_template=chat)
    form = prompt_format(tokenizer, labels=("the bank", "the bank raised"), instruction="")
    prompt = form.encode(Item("a", TEXT))
    messages = [
        {"role": "user", "content": f"Text:\n{TEXT}"},
        {"role": "assistant", "content": "the bank raised"},
    ]
    whole = tokenizer.apply_chat_template(messages, return_dict=False)
    assert [*prompt.tokens, *prompt.labels[1]] == whole
    assert tokenizer.convert_ids_to_tokens(whole)[-1] == "</s>"


def test_a_text_behind_a_special_token_is_as_in_the_whole() -> None:
    from tokenizers import AddedToken

    chat = (
        "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + '<|end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
    )
    tokenizer = prepending(chat_template=chat)
    names = ("<|user|>", "<|assistant|>", "<|system|>", "<|end|>")
    tokenizer.add_tokens([AddedToken(name, rstrip=True, special=True) for name in names])
    prompt = prompt_format(tokenizer, labels=("the bank", "the bank raised"), template="{text}").encode(
        Item("a", TEXT)
    )
    messages = [
        {
            "role": "system",
            "content": "Classify the text. Answer with exactly one of these labels: the bank, the bank raised.",
        },
        {"role": "user", "content": TEXT},
        {"role": "assistant", "content": "the bank"},
    ]
    whole = tokenizer.apply_chat_template(messages, return_dict=False)
    assert [*prompt.tokens, *prompt.labels[0]] == whole[:-1]  # Phi-3 writes eos_token after the last turn


def test_words_that_the_user_added_stay_whole() -> None:
    tokenizer = byte_level()
    tokenizer.add_tokens(["<GOOD>", "<BAD>", "covid"])
    labels = [{"name": "good", "verbaliser": "<GOOD>"}, {"name": "bad", "verbaliser": "<BAD>"}]
    form = prompt_format(tokenizer, labels=labels)
    prompt = form.encode(Item("a", "a covid case"))
    good, bad, covid = tokenizer.convert_tokens_to_ids(["<GOOD>", "<BAD>", "covid"])
    assert [label[-1] for label in prompt.labels] == [good, bad]
    assert covid in prompt.tokens and good in prompt.tokens  # the latter from {labels}
    spec = task_spec({"kind": "multiple_choice"})
    choice = PromptFormat(tokenizer, make_task(spec), max_tokens=400, context=500)
    assert covid in choice.encode(Item("a", "x", options=("covid", "flu"))).tokens


@pytest.mark.parametrize("label", ["体育", "体育 news", "news 体"])
def test_a_label_of_unknown_characters_is_refused(label: str) -> None:
    with pytest.raises(ModelError, match=f"the label '{label}' holds characters that the model's tokenizer"):
        prompt_format(metaspace(), labels=("sport", label))


def test_unknown_characters_of_a_text_are_no_fault() -> None:
    tokenizer = metaspace()
    assert tokenizer.unk_token_id in prompt_format(tokenizer).encode(Item("a", "体育 team")).tokens


def test_unknown_characters_of_the_prompt_are_told() -> None:
    form = prompt_format(metaspace(alphabet=["▁"]), template="Text? {text}\n\nLabel:")
    assert any("does not know '\\n'" in warning for warning in form.warnings)
    assert not any("does not know" in warning for warning in prompt_format(metaspace()).warnings)


def test_a_part_that_changes_more_than_its_border_is_refused() -> None:
    tokenizer = prepending()
    alone = [tokenizer("Label:").input_ids, tokenizer(" sport").input_ids]
    whole = tokenizer("Label: sport").input_ids
    with pytest.raises(ModelError, match=r"reads the parts of a prompt otherwise.*'Label: sport'"):
        require_agreement(tokenizer, alone, whole, "Label: sport")


def test_a_token_may_reach_across_a_border() -> None:
    tokenizer = byte_level()
    parts = [tokenizer("x is ").input_ids, tokenizer("sport").input_ids]
    require_agreement(tokenizer, parts, tokenizer("x is sport").input_ids, "x is sport")
    pieces = word_piece()
    parts = [pieces(text, add_special_tokens=False).input_ids for text in ("sport", "team")]
    require_agreement(pieces, parts, pieces("sportteam", add_special_tokens=False).input_ids, "sportteam")
