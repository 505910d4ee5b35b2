"""Further providers, read from JSON and from single variables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.environment import unknown_variables
from bff.faults import ConfigurationError
from bff.provider_settings import merged, parse_providers
from bff.settings import Settings

GOOD = {"issuer": "https://id.example", "client_id": "spa", "client_secret": "s"}


def text(**providers: Any) -> str:
    """Return BFF_PROVIDERS."""
    return json.dumps(providers)


def test_a_provider_has_the_settings_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own values and the defaults; the variables of the first provider are not read."""
    monkeypatch.setenv("BFF_CLIENT_ID", "of-the-first")
    monkeypatch.setenv("BFF_SCOPES", "openid of-the-first")
    found = parse_providers(text(google={**GOOD, "label": "Google"}, other=GOOD))
    assert list(found) == ["google", "other"]
    google = found["google"]
    assert (google.client_id, google.label) == ("spa", "Google")
    assert google.scopes == ("openid", "profile", "email")
    assert google.client_secret is not None
    assert google.client_secret.get_secret_value() == "s"
    assert "'s'" not in repr(found)


def test_a_secret_may_be_in_a_file(tmp_path: Path) -> None:
    """As for the first provider; a file that cannot be read is named."""
    file = tmp_path / "secret"
    file.write_text("from a file\n")
    entry = {"issuer": "https://id.example", "client_id": "spa", "client_secret_file": str(file)}
    secret = parse_providers(text(a=entry))["a"].client_secret
    assert secret is not None
    assert secret.get_secret_value() == "from a file"
    file.unlink()
    with pytest.raises(ValueError, match=r"^a\.client_secret_file: the file cannot be read$"):
        parse_providers(text(a=entry))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("[]", "must be a JSON object of providers by name"),
        ("{", "is not JSON"),
        (text(Google=GOOD), "'Google' is no name"),
        (text(default=GOOD), "'default' is no name"),
        (text(a="https://id.example"), "a must be an object"),
        (text(a={**GOOD, "isuer": "x"}), "a.isuer: there is no such setting"),
        (text(a={"issuer": "https://id.example"}), "a.client_id: is required"),
        (text(a={**GOOD, "issuer": "http://id.example"}), "a.issuer: must be https"),
        (text(**{f"p{number}": GOOD for number in range(17)}), "more than 16"),
    ],
)
def test_faults_name_provider_and_setting(value: str, words: str) -> None:
    """Everything that is wrong is told in one line."""
    with pytest.raises(ValueError, match=r".") as caught:
        parse_providers(value)
    assert words in str(caught.value)


def test_all_faults_are_told_together() -> None:
    """Of several providers, and several settings."""
    with pytest.raises(ValueError, match=r".") as caught:
        parse_providers(text(a={"issuer": "x", "client_id": ""}, b={}))
    for words in ("a.issuer", "a.client_id", "b.issuer", "b.client_id"):
        assert words in str(caught.value)


def test_single_variables_join_and_win() -> None:
    """`GOOGLE__CLIENT_ID` is that setting of google; `MY_CO__...` that of my-co."""
    single = {"GOOGLE__CLIENT_ID": "another", "MY_CO__ISSUER": "https://my.example"}
    found = merged(text(google=GOOD), single)
    assert found == {
        "google": {**GOOD, "client_id": "another"},
        "my-co": {"issuer": "https://my.example"},
    }
    assert merged(None, {"A__ISSUER": "x"}) == {"a": {"issuer": "x"}}
    assert merged("{}", {}) == "{}"


def test_variables_of_the_environment_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """`BFF_PROVIDERS__NAME__SETTING` beside, or instead of, BFF_PROVIDERS; the first is apart."""
    for name, value in {
        "BASE_URL": "http://localhost:8080", "ISSUER": "https://first.example", "CLIENT_ID": "one",
        "CLIENT_SECRET": "s", "PROVIDERS": text(google=GOOD), "PROVIDERS__GOOGLE__CLIENT_ID": "two",
    }.items():  # fmt: skip
        monkeypatch.setenv(f"BFF_{name}", value)
    settings = Settings.load(Path("/nonexistent"))
    assert (settings.client_id, settings.providers["google"].client_id) == ("one", "two")
    assert unknown_variables(["BFF_PROVIDERS__GOOGLE__CLIENT_ID"], Settings.model_fields) == []
    monkeypatch.setenv("BFF_PROVIDERS__GOOGLE__ISSUER", "no")
    with pytest.raises(ConfigurationError) as caught:
        Settings.load(Path("/nonexistent"))
    assert [fault.variable for fault in caught.value.faults] == ["BFF_PROVIDERS"]
    assert "google.issuer" in caught.value.faults[0].problem


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
def test_anything_is_read_or_refused(value: object) -> None:
    """No other error than the one that is reported."""
    try:
        parse_providers(json.dumps(value))
    except ValueError as error:
        assert str(error)
