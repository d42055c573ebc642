"""Campaign files: what loads, and one message for each mistake."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
from pydantic import ValidationError
from sqlalchemy import make_url

from star_al.config.changes import changed_fields, list_differences
from star_al.config.file import load_campaign
from star_al.config.spec import (
    CampaignSpec,
    ClassificationSpec,
    DatabaseSpec,
    LabelSpec,
    McDropoutSpec,
    OptionsPattern,
    normalise_label,
)
from star_al.config.spec.annotator import checked_address
from star_al.errors import ConfigError

MINIMAL = """\
name: news
data: {path: rows.jsonl}
task: {kind: classification, labels: [sport, business]}
model: {name: org/model}
annotator: {kind: oracle, gold: topic}
"""
TEXT = MINIMAL.replace("classification, labels: [sport, business]", "text")


def load(folder: Path, text: str) -> CampaignSpec:
    (folder / "c.yaml").write_text(text, encoding="utf-8")
    return load_campaign(folder / "c.yaml").spec


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(folder, text)
    message = str(caught.value)
    assert message.startswith(f"{folder / 'c.yaml'}: ")
    return message


def test_a_minimal_file_has_the_defaults(tmp_path: Path) -> None:
    spec = load(tmp_path, MINIMAL)
    assert spec.task.label_names == ("sport", "business")
    assert (spec.learner.kind, spec.posterior.kind, spec.posterior.samples) == ("lora", "map", 1)
    chosen = spec.acquisition
    assert (chosen.cold_start, chosen.measure, chosen.batch.kind, chosen.blend.kind) == (
        "herding",
        "margin",
        "facility_location",
        "off",
    )
    assert spec.test_label_column == "topic"
    with pytest.raises(ValidationError):
        spec.seed = 1  # type: ignore[misc]


def test_a_posterior_without_kind_is_dropout(tmp_path: Path) -> None:
    assert load(tmp_path, MINIMAL + "posterior: {samples: 5}\n").posterior == McDropoutSpec(samples=5)


def test_a_campaign_with_a_head_needs_no_language_model(tmp_path: Path) -> None:
    spec = load(tmp_path, MINIMAL.replace("model: {name: org/model}", "learner: {kind: head}"))
    assert (spec.model.name, spec.has_head_learner, spec.samples) == (None, True, 64)


def test_settings_beside_a_preset_replace_its_own(tmp_path: Path) -> None:
    star = load(tmp_path, MINIMAL + "acquisition: {preset: star, measure: bald, blend: {normalise: rank}}\n")
    assert (star.acquisition.measure, star.acquisition.cold_start) == ("bald", "random")
    assert (star.acquisition.blend.kind, star.acquisition.blend.normalise) == ("schedule", "rank")


def test_settings_stored_before_there_were_presets_keep_their_strategy(tmp_path: Path) -> None:
    stored = load(tmp_path, MINIMAL).model_dump(mode="json")
    stored["acquisition"] = {"batch_size": 9}
    chosen = CampaignSpec.model_validate(stored).acquisition
    assert (chosen.preset, chosen.measure, chosen.batch.kind, chosen.cold_start) == (
        "none",
        "entropy",
        "top_k",
        "random",
    )
    assert (chosen.batch_size, chosen.blend.kind) == (9, "schedule")


def test_a_stored_specification_is_the_same_one_again(tmp_path: Path) -> None:
    spec = load(tmp_path, MINIMAL + "seed: 7\nstopping: {max_labels: 400}\n")
    assert CampaignSpec.model_validate(spec.model_dump(mode="json")) == spec
    assert changed_fields(spec.model_dump(mode="json"), spec, trained=True) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MINIMAL + "sed: 1\n", "sed: unknown key. Did you mean 'seed'?"),
        (
            MINIMAL + "adapter: {learning_rat: 1}\n",
            "adapter.learning_rat: unknown key. Did you mean 'learning_rate'",
        ),
        (
            MINIMAL + "acquisition: {blend: {knd: off}}\n",
            "acquisition.blend.knd: unknown key. Did you mean 'kind'?",
        ),
        (MINIMAL + "stopping: {zzz: 1}\n", "stopping.zzz: unknown key. Known keys: automatic, max_labels"),
        (MINIMAL.replace("gold", "glod"), "annotator.glod: unknown key. Did you mean 'gold'?"),
        (MINIMAL.replace("name: news\n", ""), "\n  name: is required."),
        (MINIMAL.replace("{path: rows.jsonl}", "{}"), "\n  line 2: data.path: is required."),
        (MINIMAL.replace("name: news", "name: a/b"), "name: "),
        (MINIMAL + "seed: -1\n", "seed: "),
        (MINIMAL + "adapter: {dropout: 1.0}\n", "adapter.dropout: "),
        (MINIMAL + "adapter: {learning_rate: .nan}\n", "adapter.learning_rate: "),
        (MINIMAL + "evaluation: {kind: test}\n", "evaluation: kind: test needs a path"),
        (
            MINIMAL + "evaluation: {path: x.csv}\n",
            "evaluation: path belongs to kind: test, not to kind: audit",
        ),
        (
            MINIMAL.replace("[sport, business]", "[sport]"),
            "task: classification needs at least two labels, found 1",
        ),
        (
            MINIMAL.replace("[sport, business]", "[Sport, ' sport']"),
            "'Sport' and ' sport' are equal: letter case",
        ),
        (MINIMAL.replace("[sport, business]", "[sport, sport]"), "the labels hold 'sport' twice"),
        (MINIMAL.replace("[sport, business]", "[sport, '  ']"), "one of the labels is empty"),
        (
            MINIMAL.replace("business", "{name: b, verbaliser: Sport}"),
            "task: the verbalisers 'sport' and 'Sport' are equal",
        ),
        (MINIMAL.replace("classification", "multiple_choice"), "takes its options from data.options"),
        (
            MINIMAL.replace("classification, labels: [sport, business]", "multiple_choice"),
            "multiple_choice needs data.options",
        ),
        (MINIMAL.replace("rows.jsonl", "rows.jsonl, options: o"), "data.options belongs to task.kind"),
        (MINIMAL + "posterior: laplace\n", "posterior: must be a section; write posterior: {kind: …}"),
        (MINIMAL + "posterior: {kind: clora, kl_weight: -1}\n", "1 setting is wrong"),
        (
            MINIMAL + "posterior: {kind: clora, kl_weight: -1}\n",
            "posterior.kl_weight: Input should be 'auto'",
        ),
        (
            MINIMAL + "posterior: {kind: laplase}\n",
            "posterior.kind: there is no 'laplase'; choose from map, mc_dropout, ensemble, laplace, clora, tfb. "
            "Did you mean 'laplace'?",
        ),
        (
            MINIMAL + "posterior: {kind: xyzzyq}\n",
            "choose from map, mc_dropout, ensemble, laplace, clora, tfb.\n",
        ),
        (MINIMAL + "acquisition: {batch: {kind: topk}}\n", "(given: 'topk'). Did you mean 'top_k'?"),
        (
            MINIMAL + "posterior: {kind: laplace, prior_precision: evidance}\n",
            "posterior.prior_precision: Input should be a valid number or 'evidence' (given: 'evidance'). "
            "Did you mean 'evidence'?\n",
        ),
        (
            MINIMAL + "posterior: {kind: laplace, prior_precision: -1}\n",
            "posterior.prior_precision: Input should be greater than 0 or 'evidence' (given: -1)\n",
        ),
        (MINIMAL + "acquisition: {measure: epig}\n", "this one has 1 (posterior.kind: map)"),
        (
            MINIMAL + "acquisition: {measure: epig}\nposterior: {kind: ensemble}\n",
            "this one has 5 (posterior.members)",
        ),
        (
            MINIMAL + "acquisition: {measure: epig}\nposterior: {kind: map}\n",
            "this one has 1 (posterior.kind: map)",
        ),
        (
            MINIMAL
            + "acquisition: {adaptive_samples: 2, batch: {kind: top_k}}\nposterior: {kind: ensemble}\n",
            "this one has 5 (posterior.members)",
        ),
        (
            MINIMAL
            + "acquisition: {adaptive_samples: 4, batch: {kind: facility_location}}\nposterior: {samples: 16}\n",
            "does not go with acquisition.batch.kind: facility_location, which needs all samples",
        ),
        (
            MINIMAL.replace("model: {name: org/model}\n", ""),
            "model.name is missing. Name a language model, or ",
        ),
        (MINIMAL + "learner: {train: at_end}\n", "need acquisition.scorer: head"),
        (MINIMAL + "learner: {train: [300, 100]}\n", "learner.train: a list of label counts rises"),
        (MINIMAL + "learner: {train: at_the_end}\n", "learner.train: "),
        (MINIMAL + "learner: {kind: head, train: at_end}\n", "learner.train: unknown key"),
        (
            MINIMAL + "learner: {kind: heads}\n",
            "there is no 'heads'; choose from lora, head. Did you mean 'head'?",
        ),
        (MINIMAL + "acquisition: {preset: recomended}\n", "Did you mean 'recommended'?"),
        (
            MINIMAL + "acquisition: {cold_start: search}\n",
            "acquisition: cold_start: search needs acquisition.search",
        ),
        (
            MINIMAL + "acquisition: {measure: label_probability, target_label: sports}\n",
            "needs acquisition.target_label, one of sport, business",
        ),
        (MINIMAL + "posterior: {kind: tfb, members: 3}\n", "posterior.members: unknown key"),
        (MINIMAL + "posterior: {kind: ensemble, members: 1}\n", "posterior.members"),
        (MINIMAL + "acquisition: {measure: bald}\nposterior: {kind: map}\n", "of at least 2 samples"),
        (
            MINIMAL + "acquisition: {measure: bald}\nposterior: {kind: mc_dropout, samples: 1}\n",
            "needs a posterior of at least 2 samples",
        ),
        (
            TEXT + "acquisition: {measure: token_bald}\nposterior: {kind: map}\n",
            "acquisition.measure: token_bald needs a posterior of at least 2 samples",
        ),
        (
            MINIMAL
            + "acquisition: {measure: epig, blend: {kind: measured}}\nposterior: {kind: mc_dropout, samples: 16}\n",
            "blend.kind: measured does not go with acquisition.measure: epig",
        ),
        (
            MINIMAL + "adapter: {dropout: 0.0}\nposterior: {kind: mc_dropout}\n",
            "needs adapter.dropout above 0, or posterior.dropout",
        ),
        (MINIMAL + "seed: 1\nseed: 2\n", "not valid YAML: line 7: the key 'seed' is given twice."),
        ("- a\n", "expected a campaign (keys like name, data, task), found a list."),
        ("", "expected a campaign (keys like name, data, task), found an empty file."),
        ("a: [", "not valid YAML"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, text: str, message: str) -> None:
    assert message in refusal(tmp_path, text) + "\n"  # a message that ends so says no more


def test_all_wrong_settings_are_named_at_once(tmp_path: Path) -> None:
    message = refusal(tmp_path, MINIMAL + "sed: 1\nadapter: {rnk: 4}\n")
    assert "2 settings are wrong" in message
    assert "adapter.rnk" in message
    assert "sed" in message


def test_files_that_are_no_text_or_not_there(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"no such file. Name your campaign file, or let `star-al init` write one"
    ):
        load_campaign(tmp_path / "absent.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_campaign(tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"\x89PNG\xff")
    with pytest.raises(ConfigError, match="not a text file"):
        load_campaign(tmp_path / "binary.yaml")


ODD = [
    "yes",
    "No",
    "on",
    "off",
    "true",
    "007",
    "3",
    "1e3",
    "1_000",
    "0x1F",
    "1:30",
    "2026-01-31",
    "null",
    "~",
]


def test_labels_stay_as_they_are_written(tmp_path: Path) -> None:
    flow = MINIMAL.replace("[sport, business]", f"[{', '.join(ODD)}]")
    listed = "task:\n  kind: classification\n  labels:\n" + "".join(f"  - {label}\n" for label in ODD)
    block = "".join(listed if line.startswith("task") else f"{line}\n" for line in MINIMAL.splitlines())
    for text in (flow, block):
        assert load(tmp_path, text).task.label_names == tuple(ODD)
    assert load(tmp_path, MINIMAL.replace("[sport, business]", "['yes', \"no\"]")).task.label_names == (
        "yes",
        "no",
    )
    merged = MINIMAL.replace("labels: [sport, business]", "<<: {labels: [on, {name: 1.50, verbaliser: 007}]}")
    assert load(tmp_path, merged).task.labels == (
        LabelSpec(name="on"),
        LabelSpec(name="1.50", verbaliser="007"),
    )


def test_text_needs_no_quotes_and_numbers_are_numbers(tmp_path: Path) -> None:
    text = MINIMAL.replace("name: news", "name: 2026\nadapter: {learning_rate: 1e-3, layers: 3}")
    text = text.replace("org/model", "org/model, revision: 1e4567")
    spec = load(tmp_path, text.replace("rows.jsonl", "rows.jsonl, id: 1, label: null"))
    assert (spec.name, spec.model.revision, spec.data.id, spec.data.label) == ("2026", "1e4567", "1", None)
    assert (spec.adapter.learning_rate, spec.adapter.layers) == (1e-3, 3)
    options = "task: {kind: multiple_choice}\ndata: {path: r.csv, options: [1, 2, no]}\n"
    lines = [line for line in MINIMAL.splitlines(keepends=True) if not line.startswith(("task", "data"))]
    assert load(tmp_path, options + "".join(lines)).data.options == ("1", "2", "no")
    assert "seed: Input should be a valid integer" in refusal(tmp_path, MINIMAL + "seed: 2026-01-31\n")


def test_an_empty_label_is_refused(tmp_path: Path) -> None:
    assert "one of the labels is empty" in refusal(tmp_path, MINIMAL.replace("sport", "''"))
    listed = "task:\n  kind: classification\n  labels:\n  - sport\n  -\n"
    text = "".join(listed if line.startswith("task") else f"{line}\n" for line in MINIMAL.splitlines())
    message = refusal(tmp_path, text)
    assert "line 7: task.labels.1.name: Input should be a valid string (given: None)" in message


def test_each_wrong_setting_has_its_line(tmp_path: Path) -> None:
    text = (
        MINIMAL + "stopping:\n  max_labels: many\nadapter:\n  rank: 8\n  alpah: 3\nlabelling: {overlap: 0}\n"
    )
    lines = refusal(tmp_path, text).splitlines()[1:]
    assert [line.split(": ")[:2] for line in lines] == [
        ["  line 10", "adapter.alpah"],
        ["  line 11", "labelling.overlap"],
        ["  line 7", "stopping.max_labels"],
    ]


def test_a_yaml_tag_cannot_run_code(tmp_path: Path) -> None:
    message = refusal(tmp_path, MINIMAL + "seed: !!python/object/apply:os.getpid []\n")
    assert "not valid YAML: line 6: could not determine a constructor for the tag" in message


def test_a_key_given_twice_is_an_error_that_shows_no_value(tmp_path: Path) -> None:
    message = refusal(tmp_path, MINIMAL + "database:\n  url: secret1\n  url: secret2\n")
    assert message.endswith("c.yaml: not valid YAML: line 8: the key 'url' is given twice.")


def test_a_key_is_text(tmp_path: Path) -> None:
    assert "line 6: a key must be text." in refusal(tmp_path, MINIMAL + "? [a]\n: 1\n")
    assert "line 6: on: unknown key" in refusal(tmp_path, MINIMAL + "on: 1\n")


@pytest.mark.parametrize("last", ["h: [*g, *g]", "h: {<<: [*g, *g]}"])
def test_aliases_that_stand_for_billions_of_values_are_refused_at_once(tmp_path: Path, last: str) -> None:
    names = "abcdefg"
    many = [
        "a: &a {x: 1, y: 2}",
        *(f"{b}: &{b} {{<<: [{', '.join([f'*{a}'] * 9)}]}}" for a, b in pairwise(names)),
    ]
    assert "it holds more than 100,000 values." in refusal(tmp_path, "\n".join([*many, last]))


def test_an_alias_that_contains_itself_is_refused(tmp_path: Path) -> None:
    assert "line 1: an alias contains itself." in refusal(tmp_path, "name: &a [*a]\n")


@pytest.mark.parametrize(
    ("pattern", "message"), [("(", "not a regular expression"), ("(.*)", "needs a named group")]
)
def test_an_options_pattern_must_find_options(pattern: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        OptionsPattern(pattern=pattern)


# -- the file's folder and the environment -------------------------------------------------------------


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(MINIMAL)
    file = load_campaign(tmp_path / "c.yaml")
    assert file.resolve("../x") == tmp_path.parent / "x"
    assert file.database_url == f"sqlite:///{tmp_path / 'news.db'}"
    assert file.artefact_folder == tmp_path / "news-artefacts"
    (tmp_path / "c.yaml").write_text(MINIMAL + "database: {url: 'sqlite:///sub/x.db'}\nartefacts: kept\n")
    file = load_campaign(tmp_path / "c.yaml")
    assert file.database_url == f"sqlite:///{tmp_path / 'sub' / 'x.db'}"
    assert file.artefact_folder == tmp_path / "kept"


def test_a_password_comes_from_the_environment_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "c.yaml").write_text(MINIMAL + "database: {url: 'postgresql://u:${STAR_AL_PW}@host/db'}\n")
    file = load_campaign(tmp_path / "c.yaml")
    monkeypatch.delenv("STAR_AL_PW", raising=False)
    with pytest.raises(ConfigError, match="STAR_AL_PW"):
        _ = file.database_url
    monkeypatch.setenv("STAR_AL_PW", "secret")
    assert file.database_url == "postgresql://u:secret@host/db"
    assert "secret" not in str(file.spec.model_dump())


def test_a_password_may_hold_any_character_and_never_reaches_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    password = "p@s/s#w%41&x?y=z"
    monkeypatch.setenv("STAR_AL_PW", password)
    for written in ("postgresql://u:${STAR_AL_PW}@host/db", "postgresql://u@host/db?password=${STAR_AL_PW}"):
        (tmp_path / "c.yaml").write_text(MINIMAL + f"database: {{url: '{written}'}}\n")
        url = make_url(load_campaign(tmp_path / "c.yaml").database_url)
        assert (url.host, url.database) == ("host", "db")
        assert password in (url.password, url.query.get("password"))
    monkeypatch.setenv("STAR_AL_URL", "postgresql://u:secret@host/db")
    (tmp_path / "c.yaml").write_text(MINIMAL + "database: {url: '${STAR_AL_URL}'}\n")
    assert load_campaign(tmp_path / "c.yaml").database_url == "postgresql://u:secret@host/db"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:secret@host/db",
        "postgresql+psycopg://:secret@h/d",
        "postgresql://host/db?PASSWORD=secret",
        "postgresql://host/db?sslpassword=secret",
    ],
)
def test_a_plaintext_password_is_refused_and_not_repeated(tmp_path: Path, url: str) -> None:
    message = refusal(tmp_path, MINIMAL + f"database: {{url: '{url}'}}\n")
    assert "plaintext password" in message
    assert "secret" not in message
    assert DatabaseSpec(url="postgresql://user@host/db").url


def test_a_label_budget_that_the_held_out_items_use_up_is_refused(tmp_path: Path) -> None:
    assert "no label to train on" in refusal(tmp_path, MINIMAL + "stopping: {max_labels: 130}\n")


def test_yaml_merges_work_and_endless_nesting_is_reported(tmp_path: Path) -> None:
    merged = MINIMAL + "stopping: &rules {max_labels: 400}\nadapter: {<<: {rank: 4}, alpha: 8}\n"
    assert load(tmp_path, merged).adapter.rank == 4
    for nested in ("{" * 5000, "[" * 999, "- " * 5000):
        assert "not valid YAML: it is nested too deeply." in refusal(tmp_path, nested)
    assert "longer than 1,000,000 characters." in refusal(tmp_path, "#" * 1_000_001)


# -- changes of a running campaign ---------------------------------------------------------------------


def test_only_what_a_running_campaign_may_change_is_free(tmp_path: Path) -> None:
    stored = load(tmp_path, MINIMAL).model_dump(mode="json")
    free = "stopping: {max_labels: 900}\nacquisition: {batch_size: 3}\ndatabase: {lease_seconds: 5}\n"
    assert changed_fields(stored, load(tmp_path, MINIMAL + free), trained=True) == []
    fixed = "seed: 5\nacquisition: {measure: entropy, batch: {kind: power}}\n"
    assert changed_fields(stored, load(tmp_path, MINIMAL + fixed), trained=True) == [
        "acquisition.batch.kind",
        "acquisition.measure",
        "seed",
    ]
    relabelled = MINIMAL.replace("business", "politics")
    assert changed_fields(stored, load(tmp_path, relabelled), trained=True) == ["task.labels"]


def test_what_an_adapter_is_is_free_until_one_is_trained_and_how_it_is_trained_always(tmp_path: Path) -> None:
    stored = load(tmp_path, MINIMAL).model_dump(mode="json")
    other = load(tmp_path, MINIMAL + "adapter: {learning_rate: 1.0e-5, batch_size: 2, rank: 4}\n")
    assert changed_fields(stored, other, trained=False) == []
    assert changed_fields(stored, other, trained=True) == ["adapter.rank"]


def test_a_setting_that_an_older_version_did_not_know_has_its_default(tmp_path: Path) -> None:
    spec = load(tmp_path, MINIMAL)
    stored = spec.model_dump(mode="json")
    del stored["adapter"]["min_steps"]
    assert changed_fields(stored, spec, trained=True) == []


def test_float16_is_no_choice_and_a_campaign_that_made_it_is_readable(tmp_path: Path) -> None:
    message = refusal(tmp_path, MINIMAL.replace("org/model", "org/model, dtype: float16"))
    assert "model.dtype: Input should be 'auto', 'bfloat16' or 'float32' (given: 'float16')" in message
    spec = load(tmp_path, MINIMAL)
    stored = spec.model_dump(mode="json")
    stored["model"]["dtype"] = "float16"
    assert CampaignSpec.model_validate(stored) == spec and changed_fields(stored, spec, trained=True) == []


def test_labels_are_compared_without_case_and_spacing() -> None:
    assert normalise_label("  New \n York ") == normalise_label("new york")
    assert normalise_label("STRASSE") == normalise_label("straße")
    assert ClassificationSpec(kind="classification", labels=("a b", "ab")).label_names == ("a b", "ab")


def test_of_another_kind_only_the_kind_is_named(tmp_path: Path) -> None:
    stored = load(tmp_path, MINIMAL + "posterior: {kind: laplace}\n").model_dump(mode="json")
    other = load(tmp_path, MINIMAL + "seed: 3\nposterior: {kind: tfb}\n")
    assert changed_fields(stored, other, trained=True) == ["posterior.kind", "seed"]
    assert changed_fields(stored, other, trained=False) == ["seed"]


def test_labels_that_version_0_1_read_as_yaml_1_1_are_shown_as_stored_and_as_written(tmp_path: Path) -> None:
    written = "[True, False, 007, 0x10, 1_000]"
    stored = {"labels": ["true", "false", "7", "16", "1000"]}  # what version 0.1 made of them
    config = load(tmp_path, MINIMAL).model_dump(mode="json")
    config["task"] |= stored
    spec = load(tmp_path, MINIMAL.replace("[sport, business]", written))
    changed = changed_fields(config, spec, trained=False)
    assert list_differences(config, spec, changed) == (
        '  task.labels: started with "true", "false", "7", "16", "1000"; '
        'the file says "True", "False", "007", "0x10", "1_000"'
    )
    quoted = load(tmp_path, MINIMAL.replace("[sport, business]", '["true", "false", "7", "16", "1000"]'))
    assert changed_fields(config, quoted, trained=False) == []


def test_differences_of_settings_show_both_values(tmp_path: Path) -> None:
    stored = load(tmp_path, MINIMAL + "posterior: {kind: laplace}\n").model_dump(mode="json")
    text = MINIMAL.replace("[sport", "[{name: sport, verbaliser: sports}").replace(
        "jsonl", "jsonl, subset: a"
    )
    other = load(tmp_path, text + "seed: 3\nposterior: {kind: tfb}\n")
    assert list_differences(stored, other, changed_fields(stored, other, trained=True)).splitlines() == [
        "  data.subset: started with no value; the file says a",
        "  posterior.kind: started with laplace; the file says tfb",
        "  seed: started with 0; the file says 3",
        "  task.labels: started with sport, business; the file says {name: sport, verbaliser: sports}, business",
    ]


def test_differences_of_long_settings_are_cut_around_what_differs(tmp_path: Path) -> None:
    names = [f"label-{number}" for number in range(300)]
    stored, now = (
        load(tmp_path, MINIMAL.replace("sport, business", ", ".join(labels)))
        for labels in (names, [*names[:200], "new", *names[200:]])
    )
    shown = list_differences(stored.model_dump(mode="json"), now, ["task.labels"])
    assert len(shown) < 420
    assert "label-199, label-200, label-201" in shown and "label-199, new, label-200" in shown
    assert shown.count("…") == 4


def test_differences_never_show_what_may_be_a_secret(tmp_path: Path) -> None:
    people = "annotator: {kind: label_studio, url: 'http://SECRET', token_env: SECRET}\n"
    stored, now = (
        load(tmp_path, re.sub("annotator: .*\n", "", MINIMAL) + settings)
        for settings in (
            people + "database: {url: 'sqlite:///SECRET.db'}\n",
            people.replace("SECRET", "SECRET2") + "database: {url: 'sqlite:///SECRET2.db'}\n",
        )
    )
    secret = ["annotator.token_env", "annotator.url", "database.url"]
    shown = list_differences(stored.model_dump(mode="json"), now, secret)
    assert "SECRET" not in shown
    assert [line.split(":")[0].strip() for line in shown.splitlines()] == secret


def test_laplace_of_version_0_1_is_readable_and_its_linearised_predictions_are_refused(
    tmp_path: Path,
) -> None:
    spec = load(tmp_path, MINIMAL + "posterior: {kind: laplace}\n")
    assert load(tmp_path, MINIMAL + "posterior: {kind: laplace, predictive: sampling}\n") == spec
    message = refusal(tmp_path, MINIMAL + "posterior: {kind: laplace, predictive: linearised}\n")
    assert "posterior: predictive: linearised was removed; samples" in message
    assert message.endswith("Delete predictive")
    assert "unknown key" in refusal(tmp_path, MINIMAL + "posterior: {kind: laplace, predictive: other}\n")
    for predictive in ("sampling", "linearised"):
        stored = spec.model_dump(mode="json")
        stored["posterior"]["predictive"] = predictive
        assert CampaignSpec.model_validate(stored) == spec
        assert changed_fields(stored, spec, trained=True) == []


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("name: my campaign\n", "name: may have letters, digits, '_', '.' and '-' only"),
        ("name: -x\n", "begins with a letter or digit"),
        (
            "annotator: {kind: label_studio, token_env: my token}\n",
            "token_env: is not the name of an environment variable",
        ),
    ],
)
def test_what_a_name_may_hold_is_said_in_words(tmp_path: Path, settings: str, words: str) -> None:
    (key, _, _) = settings.partition(":")
    message = refusal(tmp_path, re.sub(rf"(?m)^{key}: .*\n", "", MINIMAL) + settings)
    assert words in message and "pattern" not in message


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("http://127.0.0.1:8080/projects/3/", r"write http://127\.0\.0\.1:8080, and 3 as annotator\.project"),
        ("https://x.org/ls/projects/12/data", r"write https://x\.org/ls, and 12 as annotator\.project"),
        ("http://x.org/projects", r"write http://x\.org$"),
        ("http://x.org/user/login/", r"write http://x\.org$"),
    ],
)
def test_the_address_of_a_page_is_no_server(url: str, advice: str) -> None:
    with pytest.raises(ValueError, match=f"is the address of a page of Label Studio; {advice}"):
        checked_address(url)


@pytest.mark.parametrize(
    "url", ["https://x.org/label-studio", "https://x.org/projects/labelling", "http://x:80"]
)
def test_a_server_below_a_path_is_one(url: str) -> None:
    assert checked_address(url + "/") == url
