"""The proposed campaign file loads and guesses well; impossible proposals are refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from star_al.app.init.proposal import propose_campaign
from star_al.app.init.request import CampaignRequest
from star_al.app.init.starter_file import ALWAYS_SHOWN, SCHEMA_FILE, starter_file
from star_al.config.defaults import DEFAULT_MODEL
from star_al.config.file import load_campaign
from star_al.config.setting_tree import all_settings
from star_al.config.spec import (
    FROM_FILE,
    CampaignSpec,
    ClassificationSpec,
    CLoraSpec,
    HeadSpec,
    LoraLearnerSpec,
    OracleSpec,
    normalise_label,
)
from star_al.data.languages import MULTILINGUAL_ENCODER
from star_al.data.source import data_source
from star_al.errors import ConfigError, DataError


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def data(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path.name


def proposal(folder: Path, request: CampaignRequest) -> CampaignSpec:
    folder.mkdir(exist_ok=True)
    text = starter_file(propose_campaign(request, folder))
    (folder / "campaign.yaml").write_text(text, encoding="utf-8")
    return load_campaign(folder / "campaign.yaml").spec


def gold(spec: CampaignSpec) -> str:
    """The column that the simulated annotator answers from."""
    assert isinstance(spec.annotator, OracleSpec)
    return spec.annotator.gold


NEWS: list[dict[str, Any]] = [
    {"title": "t" * n, "body": "b" * (9 - n), "topic": topic} for n, topic in enumerate("xyYyxzyy", 1)
]


def test_a_labelled_file_becomes_a_rehearsal(here: Path) -> None:
    name = data(here / "my news.v2.jsonl", NEWS)
    spec = proposal(here, CampaignRequest(name, "org/model", label_column="topic"))
    assert spec.name == "my-news"
    assert spec.task.label_names == ("y", "x", "z")  # the most frequent first, spellings folded
    assert spec.data.text == "body"  # by its name, although titles are longer
    assert spec.data.label is None  # else nothing would be left to ask
    assert gold(spec) == "topic"
    assert (spec.model.name, spec.evaluation.size, spec.stopping.max_labels) == ("org/model", 1, 8)


def test_given_labels_find_their_column(here: Path) -> None:
    name = data(here / "d.jsonl", NEWS)
    spec = proposal(here, CampaignRequest(name, "m", labels=["z", "y", "x", "unused"], text_column="title"))
    assert gold(spec) == "topic"
    assert spec.task.label_names == ("z", "y", "x", "unused")
    assert spec.data.text == "title"


def test_a_column_with_gaps_is_passed_over_for_a_full_one(here: Path) -> None:
    rows = [{"some": None if n else "x", "all": "xy"[n % 2], "text": f"t{n}"} for n in range(4)]
    spec = proposal(here, CampaignRequest(data(here / "d.jsonl", rows), "m", labels=["x", "y"]))
    assert gold(spec) == "all"


def test_unlabelled_data_goes_to_people(here: Path) -> None:
    name = data(here / "d.jsonl", [{"text": f"t{n}"} for n in range(20)])
    notes: list[str] = []
    propose_campaign(CampaignRequest(name, "m", labels=["x", "y"]), here, notes.append)
    spec = proposal(here, CampaignRequest(name, "m", labels=["x", "y"]))
    assert (spec.annotator.kind, spec.data.label, notes) == ("label_studio", None, [])


@pytest.mark.parametrize("named", [{"labels": ["x", "y"]}, {"label_column": "some"}])
def test_labels_given_already_start_the_campaign(here: Path, named: dict[str, Any]) -> None:
    rows = [{"text": f"t{n}", "some": "xy"[n % 2] if n < 600 else None} for n in range(2000)]
    name = data(here / "d.jsonl", rows)
    notes: list[str] = []
    propose_campaign(CampaignRequest(name, "m", **named), here, notes.append)
    assert notes == ["d.jsonl: column 'some' has 600 labels, which the first round trains on (data.label)."]
    spec = proposal(here, CampaignRequest(name, "m", **named))
    assert (spec.annotator.kind, spec.data.label) == ("label_studio", "some")
    assert spec.stopping.max_labels == 1100  # 500 are left to ask


def test_people_may_label_anew_what_has_labels(here: Path) -> None:
    request = CampaignRequest(
        data(here / "d.jsonl", NEWS), "m", label_column="topic", annotator="label_studio"
    )
    notes: list[str] = []
    propose_campaign(request, here, notes.append)
    assert notes == [
        "d.jsonl: column 'topic' labels every row. It is not used: people label all texts again."
    ]
    spec = proposal(here, request)
    assert (spec.annotator.kind, spec.data.label) == ("label_studio", None)
    assert spec.task.label_names == ("y", "x", "z")


def test_the_file_is_short_and_says_what_each_line_means(here: Path) -> None:
    spec = proposal(here, CampaignRequest(data(here / "d.jsonl", NEWS), "m", label_column="topic"))
    lines = starter_file(spec).splitlines()
    assert lines[0] == f"# yaml-language-server: $schema={SCHEMA_FILE}"
    assert len(lines) < 40
    values = [line for line in lines if ":" in line and not line.startswith("#") and not line.endswith(":")]
    assert all("  # " in line for line in values) and max(map(len, lines)) <= 120
    written = {setting.path for top in all_settings() for setting in top.walk()} & ALWAYS_SHOWN
    assert written == ALWAYS_SHOWN


# -- what is trained -----------------------------------------------------------------------------------


def decided(here: Path, seconds: float | None, **said: Any) -> tuple[CampaignSpec, str, list[str]]:
    """The proposal for texts of which a round of LoRA takes so long, as read from its file; the file; what was said."""
    rows = [{"text": f"text number {n}", "topic": ("sport", "trade")[n % 2]} for n in range(1000)]
    request = CampaignRequest(data(here / "d.jsonl", rows), label_column="topic", **said)
    notes: list[str] = []
    text = starter_file(propose_campaign(request, here, estimate=lambda *_: seconds, tell=notes.append))
    (here / "campaign.yaml").write_text(text, encoding="utf-8")
    return load_campaign(here / "campaign.yaml").spec, text, notes


def test_lora_is_trained_every_round_where_a_round_is_short(here: Path) -> None:
    spec, _, notes = decided(here, 40.0, model="org/model-1b")
    assert (spec.learner, spec.acquisition.scorer) == (LoraLearnerSpec(kind="lora"), "learner")
    assert notes == [
        "LoRA is trained every round: with model-1b, a round takes about 40 seconds on this machine (estimated)."
    ]


def test_a_head_chooses_where_a_round_of_lora_is_long(here: Path) -> None:
    spec, text, notes = decided(here, 400.0)
    assert spec.learner == LoraLearnerSpec(kind="lora", train=(100, 175))
    assert (spec.acquisition.scorer, spec.model.name) == ("head", DEFAULT_MODEL)
    assert "\n  train: [100, 175]  # " in text
    assert notes == [
        "A head chooses the texts, and LoRA is trained at 100 and 175 labels and at the end: with "
        "SmolLM2-135M-Instruct, a round of LoRA takes about 7 minutes on this machine (estimated)."
    ]


def test_lora_is_trained_every_round_where_its_time_is_not_known(here: Path) -> None:
    spec, _, (note,) = decided(here, None)
    assert spec.learner == LoraLearnerSpec(kind="lora")
    assert "the size of SmolLM2-135M-Instruct could not be read" in note


@pytest.mark.parametrize("seconds", [1.0, 4000.0])
def test_what_the_user_says_is_trained(here: Path, seconds: float) -> None:
    spec, text, notes = decided(here, seconds, learner="head")
    assert (spec.has_head_learner, spec.model.name, notes) == (True, None, [])
    assert "model:" not in text and "name: null" not in text
    spec, text, _ = decided(here, seconds, learner="head", model="org/model")
    assert (spec.has_head_learner, spec.model.name) == (True, "org/model")
    spec, _, notes = decided(here, seconds, learner="lora")
    assert (spec.learner, notes) == (LoraLearnerSpec(kind="lora"), [])


def test_a_head_reads_other_languages_with_another_encoder(here: Path) -> None:
    rows = [
        {"text": f"Die Lieferung {n} ist nicht angekommen und ich warte", "topic": ("sport", "trade")[n % 2]}
        for n in range(20)
    ]
    request = CampaignRequest(data(here / "d.jsonl", rows), label_column="topic", learner="head")
    notes: list[str] = []
    spec = propose_campaign(request, here, tell=notes.append)
    assert spec.head.encoder == MULTILINGUAL_ENCODER
    assert notes == [
        "The texts are not English: the head reads them with paraphrase-multilingual-MiniLM-L12-v2 (471 MB to "
        "download, once), which knows about 50 languages (head.encoder)."
    ]
    assert propose_campaign(replace(request, learner="lora"), here).head == HeadSpec()


def test_a_head_ranks_all_of_a_large_pool(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("star_al.app.init.learner.LARGE_POOL", 500)
    assert decided(here, 10.0)[0].acquisition.candidates == 10_000
    assert decided(here, 400.0)[0].acquisition.candidates is None
    assert decided(here, 10.0, learner="head")[0].acquisition.candidates is None


def test_what_is_not_the_default_is_written(here: Path) -> None:
    spec = proposal(here, CampaignRequest(data(here / "d.jsonl", NEWS), "m", label_column="topic"))
    task = spec.task.model_copy(update={"instruction": "first\nsecond: é #"})
    posterior = CLoraSpec(kind="clora", samples=4)
    text = starter_file(spec.model_copy(update={"task": task, "posterior": posterior}))
    assert '\n  instruction: "first\\nsecond: é #"  # ' in text
    assert "\nposterior:\n  kind: clora  # " in text and "\n  samples: 4  # " in text
    assert "seed:" not in text and "adapter:" not in text


def test_many_labels_fill_lines(here: Path) -> None:
    labels = [f"label {n}, which has a long name" for n in range(60)]
    name = data(here / "d.jsonl", [{"text": "t", "y": label} for label in labels * 2])
    spec = proposal(here, CampaignRequest(name, "m", label_column="y"))
    assert sorted(spec.task.label_names) == sorted(labels)
    assert max(map(len, starter_file(spec).splitlines())) <= 120


def test_the_longest_text_is_the_text_if_no_name_decides(here: Path) -> None:
    rows = [{"a": "short", "b": "rather longer", "y": label} for label in ["no", "yes"]]
    assert (
        proposal(here, CampaignRequest(data(here / "d.jsonl", rows), "m", label_column="y")).data.text == "b"
    )


def test_labels_like_yes_and_numbers_stay_what_they_are(here: Path) -> None:
    rows = [{"text": "a", "y": y} for y in (True, False, 3, "no", "on", "1:30", "null", "~", "é: #")]
    spec = proposal(here, CampaignRequest(data(here / "d.jsonl", rows), "m", label_column="y"))
    assert set(spec.task.label_names) == {"true", "false", "3", "no", "on", "1:30", "null", "~", "é: #"}


def test_paths_are_relative_to_the_campaign_file(here: Path) -> None:
    name = data(here / "d.jsonl", NEWS)
    (here / "model").mkdir()
    spec = proposal(here / "sub", CampaignRequest(name, "model", label_column="topic"))
    assert (spec.data.path, spec.model.name) == ("../d.jsonl", "../model")
    assert data_source(load_campaign(here / "sub" / "campaign.yaml")).table.path == here / name
    spec = proposal(here, CampaignRequest(str(here / name), "m", label_column="topic"))
    assert spec.data.path == "d.jsonl"
    spec = proposal(here / "sub", CampaignRequest(str(here / name), "m", label_column="topic"))
    assert spec.data.path == str(here / name)  # given as absolute, and elsewhere


def test_options_columns_make_it_multiple_choice(here: Path) -> None:
    rows = [{"question": "q", "o": ["x", "y"], "p": "x", "q": "y", "answer": "A"}] * 3
    name = data(here / "d.jsonl", rows)
    spec = proposal(here, CampaignRequest(name, "m", options=["o"], label_column="answer"))
    assert (spec.task.kind, spec.task.labels, spec.data.options) == ("multiple_choice", (), "o")
    spec = proposal(here, CampaignRequest(name, "m", options=["p", "q"], label_column="answer"))
    assert spec.data.options == ("p", "q")


@pytest.mark.parametrize(
    ("wish", "error", "message"),
    [
        (
            {"label_column": "none"},
            DataError,
            "no column 'none'. Did you mean 'one'? Columns: title, body, topic, part",
        ),
        ({"text_column": "none", "label_column": "topic"}, DataError, "there is no column 'none'"),
        ({}, ConfigError, "no labels given. List them with --labels"),
        (
            {"label_column": "part", "annotator": "oracle"},
            ConfigError,
            "a rehearsal needs a column with a label in every row, and column 'part' has gaps",
        ),
        ({"labels": ["p", "q"], "annotator": "oracle"}, ConfigError, "every row, and no column has one"),
        (
            {"labels": ["x", "y"], "label_column": "topic"},
            DataError,
            "holds 'z', which is not one of the labels x, y",
        ),
        ({"labels": ["x", "X", "y", "z"]}, ConfigError, "'x' and 'X' are equal"),
        ({"labels": ["x"]}, ConfigError, "--labels gives only one label, but a campaign needs at least two"),
        ({"labels": []}, ConfigError, "--labels gives no label, but a campaign needs at least two"),
        (
            {"label_column": "topic", "text_column": "topic"},
            ConfigError,
            "cannot hold both the texts and the labels",
        ),
        ({"label_column": "one"}, DataError, "column 'one' holds only one label"),
        (
            {"label_column": "many", "kind": "classification"},
            DataError,
            "column 'many' holds several labels in a row, but a text gets one",
        ),
        (
            {"label_column": "nested"},
            DataError,
            "more than 100 different values, or values that cannot be labels",
        ),
        ({"options": ["many"], "annotator": "oracle"}, ConfigError, "every row, and no column has one"),
    ],
)
def test_what_cannot_work_is_refused(
    here: Path, wish: dict[str, Any], error: type[Exception], message: str
) -> None:
    rows = [
        row
        | {
            "part": "" if row["topic"] == "z" else row["topic"],
            "one": 1,
            "many": ["x", "y"],
            "nested": {"x": 1},
        }
        for row in NEWS
    ]
    name = data(here / "d.jsonl", rows)
    with pytest.raises(error) as caught:
        propose_campaign(CampaignRequest(name, "m", **wish), here)
    assert message in str(caught.value)


def test_more_than_a_hundred_labels_are_none(here: Path) -> None:
    name = data(here / "d.jsonl", [{"text": "t", "y": f"label {n}"} for n in range(101)])
    with pytest.raises(DataError, match="more than 100 different values"):
        propose_campaign(CampaignRequest(name, "m", label_column="y"), here)


def test_a_column_of_names_is_no_column_of_labels(here: Path) -> None:
    rows = [{"text": "t", "who": f"name {n}", "y": f"label {n // 2}"} for n in range(24)]
    name = data(here / "d.jsonl", rows)
    with pytest.raises(
        DataError, match="'who' holds 24 different values in 24 rows, which are probably not labels"
    ):
        propose_campaign(CampaignRequest(name, "m", label_column="who"), here)
    assert "label 11" in propose_campaign(CampaignRequest(name, "m", label_column="y"), here).task.label_names


@pytest.mark.parametrize(
    ("labels", "topics", "told"),
    [
        (["x", "Y", "sprot"], "xyxy", ["d.jsonl: no row has the label 'sprot' in column 'topic'."]),
        (
            None,
            "xy",
            [
                "d.jsonl: every row has a different label in column 'topic'. Is it really the column of labels?"
            ],
        ),
        (None, "xyx", []),
        (
            None,
            "12332",
            [
                "d.jsonl: the labels in column 'topic' are the numbers 1 to 3. If they are levels of a scale, write "
                "`task: {kind: rating, levels: 3}` into the campaign file, and say with `names: […]` what each level "
                "means."
            ],
        ),
    ],
)
def test_likely_mistakes_are_reported(
    here: Path, labels: list[str] | None, topics: str, told: list[str]
) -> None:
    name = data(here / "d.jsonl", [{"text": "t", "topic": topic} for topic in topics])
    notes: list[str] = []
    propose_campaign(CampaignRequest(name, "m", labels=labels, label_column="topic"), here, notes.append)
    assert notes == told


def test_the_form_of_a_table_is_kept_for_the_run(here: Path) -> None:
    (here / "d.csv").write_text("text;y\nGröße;a\nnoch, eine;b\n", encoding="cp1252")
    spec = proposal(here, CampaignRequest("d.csv", "m", label_column="y"))
    assert (spec.data.delimiter, spec.data.encoding, spec.data.quotes, spec.data.header) == (
        ";",
        "cp1252",
        None,
        True,
    )
    (here / "d.tsv").write_text('ham\t"Late" is no word\nspam\twin\n')
    spec = proposal(here, CampaignRequest("d.tsv", "m", header=False, label_column="1", text_column="2"))
    assert (spec.data.delimiter, spec.data.quotes, spec.data.header) == (None, False, False)
    assert (spec.data.text, gold(spec)) == ("column_2", "column_1")


@pytest.mark.parametrize("wish", [{"delimiter": "ab"}, {"encoding": "no-such"}])
def test_what_is_no_dialect_is_refused(here: Path, wish: dict[str, Any]) -> None:
    (here / "d.csv").write_text("text,y\na,b\n")
    with pytest.raises(
        ConfigError, match=r"delimiter is one character, or tab|is no encoding that Python knows"
    ):
        propose_campaign(CampaignRequest("d.csv", "m", labels=["a", "b"], **wish), here)


@pytest.mark.parametrize(
    ("content", "doubted"),
    [
        ("ham,see you at two\nspam,win\nspam,go\n", True),
        ("ham,see\nspam,win\nham,go\n", True),
        ("1,win\n2,lose\n3,draw\n", True),
        ("text,label\nsee you,ham\ngo,ham\n", False),
    ],
)
def test_a_header_that_looks_like_data_is_questioned(here: Path, content: str, doubted: bool) -> None:
    (here / "d.csv").write_text(content)
    notes: list[str] = []
    propose_campaign(CampaignRequest("d.csv", "m", labels=["a", "b"]), here, notes.append)
    assert ["looks like data" in note for note in notes] == [True] * doubted
    assert not doubted or "If the file has no header, use --no-header." in notes[0]
    notes.clear()
    propose_campaign(CampaignRequest("d.csv", "m", labels=["a", "b"], header=True), here, notes.append)
    assert notes == []


def test_columns_without_names_are_mentioned(here: Path) -> None:
    (here / "d.csv").write_text("y,text,,\nham,see you,,\nspam,win,,\n")
    notes: list[str] = []
    propose_campaign(CampaignRequest("d.csv", "m", labels=["ham", "spam"]), here, notes.append)
    assert "d.csv: columns 3 and 4 have no name." in notes[0]


def test_several_columns_make_up_the_text(here: Path) -> None:
    spec = proposal(here, CampaignRequest(data(here / "d.jsonl", NEWS), "m", label_column="topic",
                                          text_column="title, body"))  # fmt: skip
    assert spec.task.template == "title: {title}\nbody: {body}\n\nLabel:"
    assert spec.data.text == "title"
    with pytest.raises(DataError, match=r"there is no column 'bdy'. Did you mean 'body'"):
        propose_campaign(CampaignRequest("d.jsonl", "m", label_column="topic", text_column="title,bdy"), here)


def test_a_large_pool_is_scored_in_part(here: Path) -> None:
    name = data(here / "d.jsonl", [{"text": f"t{n}"} for n in range(20_001)])
    spec = proposal(here, CampaignRequest(name, "m", labels=["x", "y"]))
    assert (spec.acquisition.candidates, spec.acquisition.batch_size) == (10_000, 50)


class Answers:
    """Answers that somebody at a terminal would type, by the beginning of the question."""

    def __init__(self, **answers: Any) -> None:
        self.answers, self.asked = answers, []  # type: ignore[var-annotated]

    def _answer(self, question: str) -> Any:
        self.asked.append(question)
        return next(answer for word, answer in self.answers.items() if word in question)

    def choose(self, question: str, choices: Any, default: str) -> str:
        answer = str(self._answer(question))
        assert answer in choices and default in choices
        return answer

    def confirm(self, question: str, *, default: bool) -> bool:
        return bool(self._answer(question))

    def text(self, question: str, default: str | None = None) -> str:
        return str(self._answer(question))


def test_what_the_data_leave_open_is_asked(here: Path) -> None:
    rows = [
        {"title": f"a rather long title {n}", "body": f"a body of {n}", "y": "ab"[n % 2]} for n in range(9)
    ]
    name = data(here / "d.jsonl", rows)
    ask = Answers(texts="title", labels="y")
    spec = propose_campaign(CampaignRequest(name, "m"), here, ask=ask)
    assert (spec.data.text, gold(spec), len(ask.asked)) == ("title", "y", 2)
    ask = Answers(texts="body", labels="none of them", separated='good, "so, so"')
    ask.answers = {"separated": 'good, "so, so"', "texts": "body", "labels": "none of them"}
    spec = propose_campaign(CampaignRequest(name, "m"), here, ask=ask)
    assert (spec.data.text, spec.task.label_names) == ("body", ("good", "so, so"))
    propose_campaign(CampaignRequest(name, "m", text_column="title", label_column="y"), here, ask=Answers())


def test_a_doubtful_header_is_asked(here: Path) -> None:
    (here / "d.csv").write_text("ham,see you at two\nspam,win a prize\nham,go\nspam,now\n")
    request = CampaignRequest("d.csv", "m", labels=["ham", "spam"])
    assert propose_campaign(request, here, ask=Answers(header=False)).data.text == "column_2"
    assert propose_campaign(request, here, ask=Answers(header=True)).data.text == "see you at two"


@settings(max_examples=60, deadline=None)
@given(labels=st.lists(st.text(min_size=1), min_size=2, max_size=4), note=st.none() | st.text())
def test_any_text_survives_the_yaml(
    tmp_path_factory: pytest.TempPathFactory, labels: list[str], note: str | None
) -> None:
    keys = {normalise_label(label) for label in labels}
    if "" in keys or len(keys) < len(labels):
        return
    spec = CampaignSpec.model_validate(
        {
            "name": "n",
            "data": {"path": "d.csv", "options": None},
            "task": ClassificationSpec(kind="classification", labels=tuple(labels), instruction=note),
            "model": {"name": "m"},
            "annotator": {"kind": "oracle", "gold": labels[0]},
        },
        context=FROM_FILE,
    )
    path = tmp_path_factory.mktemp("yaml") / "c.yaml"
    path.write_text(starter_file(spec), encoding="utf-8", newline="\n")
    assert load_campaign(path).spec == spec
