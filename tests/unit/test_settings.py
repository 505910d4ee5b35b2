"""The configuration: what is read from where, what is refused, and how faults are told."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from bff.client_settings import RESERVED_AUTHORIZE_PARAMS
from bff.environment import SECRETS, EnvironmentSource, unknown_variables
from bff.faults import EXAMPLES, ConfigurationError
from bff.settings import Settings
from bff.values import is_loopback

LONG = "0123456789abcdefghijklmnopqrstuv"
NEEDED = {
    "BFF_BASE_URL": "https://app.example.com",
    "BFF_ISSUER": "https://login.example.com/",
    "BFF_CLIENT_ID": "my-spa",
    "BFF_CLIENT_SECRET": "hush",
    "BFF_REDIS_URL": "redis://redis:6379/0",
    "BFF_SECRET": LONG,
}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable of ours, and no `.env`, from the machine that runs the tests."""
    import os

    for name in list(os.environ):
        if name.startswith("BFF_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that reads the configuration from the needed variables and some changes."""

    def read(**changes: str | None) -> Settings:
        for name, value in {**NEEDED, **changes}.items():
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)
        return Settings.load()

    return read


def load_values(**values: Any) -> Settings:
    """Read the configuration with values that come from a program."""
    return Settings.load(None, **values)


def faults(load: Any, **changes: str | None) -> dict[str, str]:
    """Return variable and problem of every fault."""
    with pytest.raises(ConfigurationError) as caught:
        load(**changes)
    return {fault.variable: fault.problem for fault in caught.value.faults}


def test_defaults_are_those_of_the_contract(load: Any) -> None:
    """Six variables suffice; everything else has the contract's default."""
    settings = load()
    assert settings.base_url == settings.origin == "https://app.example.com"
    assert settings.scopes == ("openid", "profile", "email")
    assert settings.response_mode == "query"
    assert settings.id_token_alg == "RS256"
    assert settings.fetch_userinfo is None
    assert settings.client_auth is None
    assert settings.session_idle_timeout == 1800
    assert settings.session_max_lifetime == 43200
    assert settings.cookie_samesite == "strict"
    assert settings.clock_skew == 30
    assert settings.login_rate_limit == "60/minute"
    assert settings.logout_token_typ == "if_present"
    assert settings.secrets == (LONG,)
    assert settings.routes == {}
    assert settings.authorize_params == {}
    assert settings.allowed_origins == frozenset()
    assert settings.trusted_proxies == ()
    assert settings.spa is settings.forward_auth_key is settings.log_format is None
    assert not settings.frontchannel_logout
    assert not settings.initiate_login
    assert not settings.loopback_http


def test_every_fault_is_told_at_once_with_an_example() -> None:
    """An empty environment names everything that is missing, each with a value that would do."""
    with pytest.raises(ConfigurationError) as caught:
        Settings.load()
    told = {fault.variable: fault for fault in caught.value.faults}
    assert told.keys() == {
        "BFF_BASE_URL", "BFF_ISSUER", "BFF_CLIENT_ID", "BFF_CLIENT_SECRET", "BFF_SECRET",
    }  # fmt: skip
    assert told["BFF_ISSUER"].problem == "is required"
    assert all(fault.example for fault in told.values())
    assert "BFF_ISSUER" in str(caught.value)


def test_faults_of_every_kind_come_in_one_pass(load: Any) -> None:
    """Missing, malformed and contradictory variables are reported together."""
    found = faults(
        load,
        BFF_BASE_URL="http://app.example.com",
        BFF_ISSUER="login.example.com",
        BFF_CLIENT_ID=None,
        BFF_SCOPES="profile",
        BFF_ROUTES="[",
        BFF_SECRET="short",
        BFF_CLOCK_SKEW="soon",
        BFF_COOKIE_SAMESITE="none",
    )
    assert found.keys() == {
        "BFF_BASE_URL", "BFF_ISSUER", "BFF_CLIENT_ID", "BFF_SCOPES", "BFF_ROUTES", "BFF_SECRET",
        "BFF_CLOCK_SKEW", "BFF_COOKIE_SAMESITE",
    }  # fmt: skip


def test_every_setting_has_an_example() -> None:
    """A fault in any variable can show a value that would do."""
    assert EXAMPLES.keys() == Settings.model_fields.keys()


REFUSED = [
    ("BFF_BASE_URL", "http://app.example.com", "https"),
    ("BFF_BASE_URL", "ftp://app.example.com", "http or https"),
    ("BFF_BASE_URL", "https://", "http or https"),
    ("BFF_BASE_URL", "https://app.example.com/sub", "origin only"),
    ("BFF_BASE_URL", "https://app.example.com/?a=b", "origin only"),
    ("BFF_BASE_URL", "https://app.example.com/#a", "origin only"),
    ("BFF_BASE_URL", "https://user@app.example.com", "origin only"),
    ("BFF_BASE_URL", "https://app.example.com:99999", "not a URL"),
    ("BFF_BASE_URL", "https://[::1", "not a URL"),
    ("BFF_BASE_URL", "https://app example.com", "character"),
    ("BFF_BASE_URL", "https://app.example.com\\@evil", "character"),
    ("BFF_BASE_URL", "https://\u0430pp.example.com", "character"),
    ("BFF_ISSUER", "http://login.example.com", "https"),
    ("BFF_ISSUER", "https:///path", "https URL"),
    ("BFF_ISSUER", "https://login.example.com/?tenant=1", "no query"),
    ("BFF_ISSUER", "https://login.example.com/?", "no query"),
    ("BFF_ISSUER", "https://login.example.com/#", "no query"),
    ("BFF_ISSUER", "https://user@login.example.com/", "user"),
    ("BFF_CLIENT_ID", "caf\u00e9", "ASCII"),
    ("BFF_CLIENT_ID", "a\x07b", "ASCII"),
    ("BFF_CLIENT_KEY_FILE", "/nowhere/key.pem", "cannot be read"),
    ("BFF_CLIENT_AUTH", "private_key_jwt", "BFF_CLIENT_KEY_FILE"),
    ("BFF_CLIENT_AUTH", "password", "Input should be"),
    ("BFF_CLIENT_AUTH", "tls_client_auth", "BFF_CLIENT_CERT_FILE"),
    ("BFF_CLIENT_AUTH", "self_signed_tls_client_auth", "BFF_CLIENT_CERT_FILE"),
    ("BFF_CLIENT_CERT_FILE", "/nowhere/cert.pem", "cannot be read"),
    ("BFF_CLIENT_CERT_KEY_FILE", "/etc/hostname", "BFF_CLIENT_CERT_FILE"),
    ("BFF_BASIC_AUTH_ENCODING", "none", "Input should be"),
    ("BFF_REQUEST_OBJECT", "perhaps", "boolean"),
    ("BFF_ID_TOKEN_ENCRYPTION", "always", "Input should be"),
    ("BFF_SCOPES", "profile email", "openid"),
    ("BFF_SCOPES", 'openid a"b', "character"),
    ("BFF_SCOPES", "openid caf\u00e9", "character"),
    ("BFF_AUTHORIZE_PARAMS", "nonsense", "not JSON"),
    ("BFF_AUTHORIZE_PARAMS", "[]", "JSON object"),
    ("BFF_AUTHORIZE_PARAMS", '{"a": 1}', "string"),
    ("BFF_AUTHORIZE_PARAMS", '{"a": "1", "a": "2"}', "twice"),
    ("BFF_AUTHORIZE_PARAMS", "[" * 100_000, "too deep"),
    ("BFF_RESPONSE_MODE", "fragment", "Input should be"),
    ("BFF_ID_TOKEN_ALG", "none", "Input should be"),
    ("BFF_ID_TOKEN_ALG", "HS384", "Input should be"),
    ("BFF_ID_TOKEN_ALG", "HS256", "32 bytes"),
    ("BFF_REDIS_URL", "http://redis", "must start with"),
    ("BFF_REDIS_URL", "redis", "must start with"),
    ("BFF_SECRET", "short", "32 characters"),
    ("BFF_SECRET", f"{LONG} short", "32 characters"),
    ("BFF_SECRET", " ", "required"),
    ("BFF_ROUTES", "[]", "JSON object"),
    ("BFF_ROUTES", '{"/a": "http://x", "/a": "http://y"}', "twice"),
    ("BFF_ROUTES", '{"/a": {"upstream": "http://x", "auth": "none", "auth": "user"}}', "twice"),
    ("BFF_SPA", "/nowhere", "index.html"),
    ("BFF_SPA", "http://localhost:5173/app", "origin only"),
    ("BFF_SPA_CSP", '{"img-src": ["self"]}', "single quotes"),
    ("BFF_SESSION_IDLE_TIMEOUT", "0", "greater than or equal to 1"),
    ("BFF_SESSION_MAX_LIFETIME", "-1", "greater than or equal to 1"),
    ("BFF_COOKIE_SAMESITE", "none", "Input should be"),
    ("BFF_ALLOWED_ORIGINS", "*", "not JSON"),
    ("BFF_ALLOWED_ORIGINS", '["*"]', "exact origins"),
    ("BFF_ALLOWED_ORIGINS", '["https://www.example.com/"]', "exact origins"),
    ("BFF_ALLOWED_ORIGINS", '["https://WWW.example.com"]', "exact origins"),
    ("BFF_ALLOWED_ORIGINS", '["https://www.example.com:443"]', "exact origins"),
    ("BFF_ALLOWED_ORIGINS", '["http://www.example.com"]', "https origins"),
    ("BFF_ALLOWED_ORIGINS", '["null"]', "exact origins"),
    ("BFF_ALLOWED_ORIGINS", "{}", "JSON list"),
    ("BFF_ALLOWED_ORIGINS", "[1]", "exact origins"),
    ("BFF_TRUSTED_PROXIES", '["10.0.0.1/8"]', "host bits"),
    ("BFF_TRUSTED_PROXIES", '["proxy"]', "IPv4 or IPv6"),
    ("BFF_TRUSTED_PROXIES", '"10.0.0.0/8"', "JSON list"),
    ("BFF_CLOCK_SKEW", "301", "less than or equal to 300"),
    ("BFF_WEBSOCKET_MAX_MESSAGE", "16M", "valid integer"),
    ("BFF_WEBSOCKET_IDLE_TIMEOUT", "0", "greater than or equal to 1"),
    ("BFF_LOGIN_RATE_LIMIT", "60", "N/second"),
    ("BFF_LOGIN_RATE_LIMIT", "0/minute", "N/second"),
    ("BFF_LOGIN_RATE_LIMIT", "5/minute;9/hour", "N/second"),
    ("BFF_LOGOUT_TOKEN_TYP", "never", "Input should be"),
    ("BFF_FORWARD_AUTH_KEY", "short", "32 characters"),
    ("BFF_LOG_LEVEL", "loud", "Input should be"),
    ("BFF_FETCH_USERINFO", "perhaps", "boolean"),
]


@pytest.mark.parametrize(("variable", "value", "words"), REFUSED)
def test_a_bad_value_is_one_fault_that_says_what_is_wrong(
    load: Any, variable: str, value: str, words: str
) -> None:
    """One bad variable gives one fault, which names it and what it must be."""
    found = faults(load, **{variable: value})
    assert found.keys() == {variable}
    assert words in found[variable]


def test_no_fault_shows_a_secret(load: Any) -> None:
    """A secret that is refused is not printed."""
    with pytest.raises(ConfigurationError) as caught:
        load(
            BFF_SECRET="tooshortbutsecret",
            BFF_FORWARD_AUTH_KEY="alsosecret",
            BFF_REDIS_URL="http://:pass@redis",
        )
    told = repr(caught.value.faults) + str(caught.value)
    assert len(caught.value.faults) == 3
    for secret in ("tooshortbutsecret", "alsosecret", "pass@"):
        assert secret not in told


def test_secrets_do_not_show_in_the_settings(load: Any) -> None:
    """Printing the settings prints no secret."""
    assert LONG not in repr(load())
    assert "hush" not in str(load())


ACCEPTED = [
    ("BFF_BASE_URL", "https://App.Example.com:443/", "base_url", "https://app.example.com"),
    ("BFF_BASE_URL", "https://app.example.com:8443", "base_url", "https://app.example.com:8443"),
    ("BFF_BASE_URL", "http://localhost:80", "base_url", "http://localhost"),
    ("BFF_BASE_URL", "http://[::1]:8080", "base_url", "http://[::1]:8080"),
    ("BFF_BASE_URL", "http://app.localhost:8080", "base_url", "http://app.localhost:8080"),
    ("BFF_ISSUER", "http://127.0.0.1:8081", "issuer", "http://127.0.0.1:8081"),
    ("BFF_ISSUER", "https://Login.example.com/a/b/", "issuer", "https://Login.example.com/a/b/"),
    ("BFF_SCOPES", " openid  a:b/c ", "scopes", ("openid", "a:b/c")),
    ("BFF_AUTHORIZE_PARAMS", '{"audience": "x"}', "authorize_params", {"audience": "x"}),
    ("BFF_RESPONSE_MODE", "form_post", "response_mode", "form_post"),
    ("BFF_ID_TOKEN_ALG", "EdDSA", "id_token_alg", "EdDSA"),
    ("BFF_FETCH_USERINFO", "false", "fetch_userinfo", False),
    ("BFF_ROUTES", '{"/api": "http://api:9000"}', "routes", {"/api": "http://api:9000"}),
    ("BFF_SPA", "http://localhost:5173/", "spa", "http://localhost:5173"),
    ("BFF_WEBSOCKET_MAX_MESSAGE", "1048576", "websocket_max_message", 1_048_576),
    ("BFF_WEBSOCKET_IDLE_TIMEOUT", "300", "websocket_idle_timeout", 300),
    ("BFF_SPA_CSP", '{"img-src": ["https:"]}', "spa_csp", {"img-src": ("https:",)}),
    (
        "BFF_ALLOWED_ORIGINS",
        '["https://www.example.com", "http://localhost:3000"]',
        "allowed_origins",
        frozenset({"https://www.example.com", "http://localhost:3000"}),
    ),
    (
        "BFF_TRUSTED_PROXIES",
        '["10.0.0.0/8", "fd00::/8", "192.0.2.7"]',
        "trusted_proxies",
        tuple(map(ipaddress.ip_network, ("10.0.0.0/8", "fd00::/8", "192.0.2.7"))),
    ),
    ("BFF_LOGIN_RATE_LIMIT", "5/second", "login_rate_limit", "5/second"),
    ("BFF_LOGIN_RATE_LIMIT", "", "login_rate_limit", ""),
    ("BFF_CLIENT_AUTH", "", "client_auth", None),
    ("BFF_SESSION_IDLE_TIMEOUT", "60", "session_idle_timeout", 60),
    ("BFF_INITIATE_LOGIN", "true", "initiate_login", True),
    ("BFF_LOG_FORMAT", "console", "log_format", "console"),
]


@pytest.mark.parametrize(("variable", "value", "field", "result"), ACCEPTED)
def test_a_good_value_is_read(
    load: Any, variable: str, value: str, field: str, result: object
) -> None:
    """Each variable's forms come out as what they mean; issuers stay as they are to the letter."""
    assert getattr(load(**{variable: value}), field) == result


def test_a_folder_with_an_index_is_a_spa(load: Any, tmp_path: Path) -> None:
    """BFF_SPA may be a folder that holds index.html."""
    (tmp_path / "index.html").write_text("hello")
    assert load(BFF_SPA=str(tmp_path)).spa == str(tmp_path)


@pytest.mark.parametrize("name", sorted(RESERVED_AUTHORIZE_PARAMS))
def test_fixed_parameters_may_not_displace_ours(load: Any, name: str) -> None:
    """`state`, `nonce` and their like cannot be set from outside."""
    assert name in faults(load, BFF_AUTHORIZE_PARAMS=f'{{"{name}": "x"}}')["BFF_AUTHORIZE_PARAMS"]


def test_a_client_needs_some_way_to_prove_itself(load: Any, tmp_path: Path) -> None:
    """A secret is required, unless there is a key or certificate, or the client is public."""
    assert "BFF_CLIENT_KEY_FILE" in faults(load, BFF_CLIENT_SECRET=None)["BFF_CLIENT_SECRET"]
    for method in ("client_secret_basic", "client_secret_post", "client_secret_jwt"):
        found = faults(load, BFF_CLIENT_SECRET=None, BFF_CLIENT_AUTH=method)
        assert method in found["BFF_CLIENT_SECRET"]
    key = tmp_path / "key.pem"
    key.write_text("any")
    for changes in (
        {"BFF_CLIENT_AUTH": "none"},
        {"BFF_CLIENT_KEY_FILE": str(key)},
        {"BFF_CLIENT_CERT_FILE": str(key), "BFF_CLIENT_CERT_KEY_FILE": str(key)},
    ):
        assert load(BFF_CLIENT_SECRET=None, **changes).client_secret is None


def test_an_assertion_needs_a_long_secret(load: Any) -> None:
    """A short secret could be guessed from an assertion that somebody saw (RFC 7518 3.2)."""
    method = {"BFF_CLIENT_AUTH": "client_secret_jwt"}
    assert load(BFF_CLIENT_SECRET=LONG, **method).client_auth == "client_secret_jwt"
    assert "32 bytes" in faults(load, BFF_CLIENT_SECRET="hush", **method)["BFF_CLIENT_SECRET"]


def test_hs256_needs_a_long_secret(load: Any) -> None:
    """HS256 is only for a client secret of 32 bytes or more (RFC 7518 3.2)."""
    assert load(BFF_ID_TOKEN_ALG="HS256", BFF_CLIENT_SECRET=LONG).id_token_alg == "HS256"
    found = faults(load, BFF_ID_TOKEN_ALG="HS256", BFF_CLIENT_SECRET=None, BFF_CLIENT_AUTH="none")
    assert "BFF_CLIENT_SECRET" in found["BFF_ID_TOKEN_ALG"]


@pytest.mark.parametrize(
    ("base_url", "needed"),
    [("http://localhost:8080", False), ("https://localhost:8443", False),
     ("http://127.0.0.1:8080", False), ("https://app.example.com", True)],
)  # fmt: skip
def test_redis_and_a_secret_may_be_missing_on_loopback_only(
    load: Any, base_url: str, *, needed: bool
) -> None:
    """Without BFF_REDIS_URL and BFF_SECRET both are made here, on this machine alone."""
    changes = {"BFF_BASE_URL": base_url, "BFF_REDIS_URL": None, "BFF_SECRET": None}
    if needed:
        assert faults(load, **changes).keys() == {"BFF_REDIS_URL", "BFF_SECRET"}
    else:
        settings = load(**changes)
        assert settings.redis_url is None
        assert settings.secrets == ()
        assert "BFF_SECRET" in faults(load, BFF_BASE_URL=base_url, BFF_SECRET=None)


def test_several_secrets_are_newest_first(load: Any) -> None:
    """BFF_SECRET may hold several values, separated by any white space."""
    newer = LONG[::-1]
    assert load(BFF_SECRET=f"{newer} \n {LONG}").secrets == (newer, LONG)


def test_loopback_http_has_plain_cookies(load: Any) -> None:
    """Plain http is a property of the base URL."""
    assert load(BFF_BASE_URL="http://localhost:8080").loopback_http


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_every_secret_can_come_from_a_file(load: Any, tmp_path: Path, name: str) -> None:
    """NAME_FILE names a file that holds the value; white space around it is not part of it."""
    variable = f"BFF_{name.upper()}"
    file = tmp_path / "value"
    value = "redis://elsewhere:6379" if name == "redis_url" else LONG[::-1]
    file.write_text(f"  {value}\n")
    settings = load(**{variable: None, f"{variable}_FILE": str(file)})
    found = getattr(settings, name)
    assert (found[0] if name == "secret" else found).get_secret_value() == value


@pytest.mark.parametrize("name", sorted(SECRETS))
@pytest.mark.parametrize("kind", ["missing", "binary"])
def test_a_secrets_file_that_cannot_be_read_is_a_fault(
    load: Any, tmp_path: Path, name: str, kind: str
) -> None:
    """The fault names the variable, and says that its file is the trouble."""
    file = tmp_path / "value"
    if kind == "binary":
        file.write_bytes(b"\xff\xfe\x00")
    variable = f"BFF_{name.upper()}"
    found = faults(load, **{variable: None, f"{variable}_FILE": str(file)})
    assert f"{variable}_FILE cannot be read" in found[variable]
    assert found.keys() == {variable}


def test_sources_have_an_order(load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arguments come before the environment, that before a file, that before `.env`."""
    monkeypatch.delenv("BFF_CLOCK_SKEW", raising=False)
    (tmp_path / ".env").write_text('BFF_CLOCK_SKEW=1\nBFF_CLIENT_SECRET="from dotenv"\n')
    (tmp_path / "secret").write_text("from file")
    settings = load(BFF_CLIENT_SECRET=None)
    assert settings.clock_skew == 1
    assert settings.client_secret.get_secret_value() == "from dotenv"
    settings = load(BFF_CLIENT_SECRET=None, BFF_CLIENT_SECRET_FILE=str(tmp_path / "secret"))
    assert settings.client_secret.get_secret_value() == "from file"
    settings = load(BFF_CLOCK_SKEW="2", BFF_CLIENT_SECRET="from environment")
    assert settings.clock_skew == 2
    assert settings.client_secret.get_secret_value() == "from environment"
    assert Settings.load(clock_skew=3).clock_skew == 3


def test_another_env_file_can_be_named(tmp_path: Path) -> None:
    """The file that is read besides the environment can be chosen."""
    file = tmp_path / "other.env"
    file.write_text("".join(f"{name}={value}\n" for name, value in NEEDED.items()))
    assert Settings.load(file).client_id == "my-spa"


def test_settings_can_be_given_as_values() -> None:
    """The same rules judge values that come from a program, in their own types."""
    settings = Settings.load(
        base_url="https://app.example.com",
        issuer="https://login.example.com",
        client_id="x",
        client_auth="none",
        redis_url=SecretStr("redis://redis"),
        secret=(SecretStr(LONG),),
        scopes=("openid",),
        allowed_origins=frozenset({"https://www.example.com"}),
        trusted_proxies=(ipaddress.ip_network("10.0.0.0/8"),),
        routes={"/api": "http://api"},
    )
    assert settings.secrets == (LONG,)
    assert settings.scopes == ("openid",)
    assert settings.allowed_origins == {"https://www.example.com"}
    assert settings.trusted_proxies == (ipaddress.ip_network("10.0.0.0/8"),)


@pytest.mark.parametrize(
    ("name", "value"),
    [("secret", (SecretStr("short"),)), ("secret", SecretStr(LONG)), ("scopes", 7),
     ("allowed_origins", frozenset({"*"})), ("trusted_proxies", 7)],
)  # fmt: skip
def test_values_of_a_program_are_judged_too(load: Any, name: str, value: object) -> None:
    """No type slips past the rules."""
    load()
    with pytest.raises(ConfigurationError) as caught:
        load_values(**{name: value})
    assert [fault.variable for fault in caught.value.faults] == [f"BFF_{name.upper()}"]


def test_the_source_answers_for_one_field_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the library's base class asks."""
    source = EnvironmentSource(Settings, {"BFF_ISSUER": "x"}, None)
    field = Settings.model_fields["issuer"]
    assert source.get_field_value(field, "issuer") == ("x", "issuer", False)


def test_settings_cannot_be_changed(load: Any) -> None:
    """Configuration is read once."""
    from pydantic import ValidationError

    settings = load()
    with pytest.raises(ValidationError):
        settings.issuer = "https://evil.example"


def test_slips_of_the_pen_are_found() -> None:
    """A BFF_ variable that means nothing is named; everything else is none of our business."""
    given = ["BFF_ISSUR", "BFF_ISSUER", "BFF_SECRET_FILE", "BFF_ISSUER_FILE", "PATH", "bff_x"]
    assert unknown_variables(given, Settings.model_fields) == ["BFF_ISSUER_FILE", "BFF_ISSUR"]


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("localhost", True), ("a.localhost", True), ("127.0.0.1", True), ("127.9.9.9", True),
     ("::1", True), (None, False), ("", False), ("localhost.evil.example", False),
     ("notlocalhost", False), ("10.0.0.1", False), ("127.0.0.1.evil.example", False),
     ("0.0.0.0", False), ("2130706433", False)],
)  # fmt: skip
def test_only_this_machine_is_loopback(host: str | None, *, loopback: bool) -> None:
    """Names and addresses that could mean another machine are not loopback."""
    assert is_loopback(host) is loopback


def test_bound_tokens_are_for_nobody_else(load: Any) -> None:
    """BFF_DPOP goes neither with forward-auth nor without ID tokens; of any provider."""
    assert load().dpop is False
    assert load(BFF_DPOP="true").dpop is True
    key = {"BFF_FORWARD_AUTH_KEY": LONG}
    assert "BFF_DPOP" in faults(load, BFF_DPOP="true", **key)["BFF_FORWARD_AUTH_KEY"]
    other = '{"other": {"issuer": "https://i.example", "client_id": "x", "client_auth": "none"%s}}'
    bound = other % ', "dpop": true'
    found = faults(load, BFF_DPOP=None, BFF_PROVIDERS=bound, **key)
    assert "BFF_DPOP" in found["BFF_FORWARD_AUTH_KEY"]
    assert load(BFF_PROVIDERS=other % "", **key).providers["other"].dpop is False
    plain = EXAMPLES["oauth2_without_id_token"]
    found = faults(
        load, BFF_DPOP="true", BFF_OAUTH2_WITHOUT_ID_TOKEN=plain, BFF_PROVIDERS=None,
        BFF_FORWARD_AUTH_KEY=None,
    )  # fmt: skip
    assert "BFF_OAUTH2_WITHOUT_ID_TOKEN" in found["BFF_DPOP"]


@given(st.text(max_size=30))
def test_no_string_makes_a_base_url_that_is_no_origin(text: str) -> None:
    """Whatever is accepted as BFF_BASE_URL is an origin as browsers write it, of a safe scheme."""
    try:
        settings = Settings.load(
            base_url="https://" + text, issuer="https://i.example", client_id="x",
            client_auth="none", redis_url="redis://r", secret=LONG,
        )  # fmt: skip
    except ConfigurationError:
        return
    scheme, _, authority = settings.base_url.partition("://")
    assert scheme == "https"
    assert authority
    assert authority == authority.lower()
    assert not set(authority) & set("/\\?#@ \t\n")


@given(st.one_of(st.text(max_size=40), st.binary(max_size=40).map(lambda b: b.decode("latin-1"))))
def test_no_json_of_any_kind_breaks_the_reading(text: str) -> None:
    """Strange text in a JSON variable is a fault of that variable, never a crash."""
    for name in ("routes", "authorize_params", "allowed_origins", "trusted_proxies"):
        try:
            load_values(
                base_url="https://a.example", issuer="https://i.example", client_id="x",
                client_auth="none", redis_url="redis://r", secret=LONG, **{name: text},
            )  # fmt: skip
        except ConfigurationError as error:
            assert [fault.variable for fault in error.faults] == [f"BFF_{name.upper()}"]
