"""A campaign file from somebody else reads no secret of the environment without being asked."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from star_al.app.annotators import connection, unencrypted
from star_al.config.file import load_campaign
from star_al.config.spec import CampaignFile, LabelStudioSpec
from star_al.config.spec.environment_variables import NamedVariable, named_variables
from star_al.errors import ConfigError

FILE = """\
name: news
data: {path: pool.jsonl}
task: {kind: classification, labels: [sport, business]}
model: {name: model}
"""


@pytest.fixture(autouse=True)
def _empty_list_of_confirmed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr("platformdirs.user_config_path", lambda name: tmp_path / "config" / name)


def load(tmp_path: Path, settings: str) -> CampaignFile:
    if "annotator" not in settings:
        settings += "annotator: {kind: oracle, gold: label}\n"
    (tmp_path / "campaign.yaml").write_text(FILE + settings)
    return load_campaign(tmp_path / "campaign.yaml")


def people(file: CampaignFile) -> LabelStudioSpec:
    assert isinstance(file.spec.annotator, LabelStudioSpec)
    return file.spec.annotator


@pytest.mark.parametrize(
    "name", ["AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "MY_LABEL_STUDIO", "LABELSTUDIO", "P_G"]
)
def test_a_token_variable_of_another_name_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "a-secret")
    file = load(
        tmp_path, f"annotator: {{kind: label_studio, url: 'https://other.example/x', token_env: {name}}}\n"
    )
    with pytest.raises(ConfigError, match=rf"{name}, whose value is sent to other\.example/x") as caught:
        connection(people(file))
    assert "a-secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("postgresql://u:${AWS_SECRET}@other.example/db", "sent to other.example/db"),
        ("postgresql://u@other.example/${AWS_SECRET}", "sent to other.example/…"),
        ("postgresql://u@h/db?host=${AWS_SECRET}.other.example", "sent to h/db?host=….other.example"),
        ("postgresql://u:${AWS_SECRET}@evil/db?application_name=@localhost", "sent to evil/db"),
        ("${AWS_SECRET}", "an address"),
    ],
)
def test_a_database_url_reads_no_variable_of_another_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, place: str
) -> None:
    monkeypatch.setenv("AWS_SECRET", "a-secret")
    file = load(tmp_path, f"database: {{url: '{url}'}}\n")
    with pytest.raises(ConfigError) as caught:
        _ = file.database_url
    assert place in str(caught.value) and "a-secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["LABEL_STUDIO_API_KEY", "STAR_AL_TOKEN", "DATABASE_URL", "PGPASSWORD"])
def test_our_own_names_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "value")
    settings = f"annotator: {{kind: label_studio, url: 'https://x.example', token_env: {name}}}\n"
    file = load(tmp_path, settings + f"database: {{url: 'postgresql://u:${{{name}}}@h/db'}}\n")
    assert connection(people(file)).token == "value"
    assert file.database_url == "postgresql://u:value@h/db"


def test_what_was_confirmed_holds_for_that_address_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_TOKEN", "value")
    settings = "annotator: {kind: label_studio, url: 'https://x.example', token_env: MY_TOKEN}\n"
    file = load(tmp_path, settings)
    (variable,) = named_variables(file.spec)
    variable.confirm()
    NamedVariable("OTHER", "database.url", "postgresql://u:${OTHER}@h/db").confirm()
    assert connection(people(file)).token == "value"
    elsewhere = load(tmp_path, settings.replace("x.example", "y.example"))
    with pytest.raises(ConfigError, match=r"sent to y\.example"):
        connection(people(elsewhere))
    (confirmed,) = (tmp_path / "config").rglob("*.json")
    assert "value" not in confirmed.read_text()
    assert not stat.S_IMODE(confirmed.stat().st_mode) & 0o022


def test_a_damaged_list_of_confirmed_variables_trusts_nothing(tmp_path: Path) -> None:
    variable = NamedVariable("MY_TOKEN", "annotator.token_env", "https://x.example")
    variable.confirm()
    assert variable.is_trusted
    (confirmed,) = (tmp_path / "config").rglob("*.json")
    for damaged in ("", "{", "3", "null", '{"MY_TOKEN": "https://x.example"}'):
        confirmed.write_text(damaged)
        assert not variable.is_trusted


@pytest.mark.parametrize(
    ("url", "warns"),
    [
        ("http://labels.example.org", True),
        ("http://192.168.0.7:8080", True),
        ("https://labels.example.org", False),
        ("http://127.0.0.1:8080", False),
        ("http://localhost:8080", False),
    ],
)
def test_a_token_that_crosses_the_network_as_plain_text_is_told(
    tmp_path: Path, url: str, warns: bool
) -> None:
    file = load(tmp_path, f"annotator: {{kind: label_studio, url: '{url}'}}\n")
    assert (unencrypted(people(file)) is not None) == warns
