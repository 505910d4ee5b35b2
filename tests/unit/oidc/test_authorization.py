"""The authorization request as it is built, and its answer as it is judged."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.oidc.authorization import (
    KNOWN_ERRORS,
    MAX_HINT,
    MAX_MAX_AGE,
    MAX_PARAMETER,
    SINGLE,
    BadOptionError,
    BadResponseError,
    Options,
    Secrets,
    authorization_parameters,
    authorization_url,
    check_issuer,
    granted_code,
    single_parameters,
    token,
)

ISSUER = "https://login.example.com/"
SECRETS = Secrets("the-state", "the-nonce", "the-verifier")


def parameters(
    options: Options | None = None,
    *,
    response_mode: str = "query",
    extra: Mapping[str, str] | None = None,
    resources: tuple[str, ...] = (),
) -> dict[str, str]:
    """Return the parameters of a request."""
    return authorization_parameters(
        client_id="my-spa",
        redirect_uri="https://app.example.com/bff/callback",
        scopes=("openid", "profile"),
        secrets=SECRETS,
        options=options or Options(),
        response_mode=response_mode,
        extra=extra,
        resources=resources,
    )


def test_a_request_has_what_the_specifications_ask() -> None:
    """Code flow with state, nonce and S256, and nothing that was not asked for."""
    challenge = hashlib.sha256(b"the-verifier").digest()
    assert parameters() == {
        "response_type": "code",
        "client_id": "my-spa",
        "redirect_uri": "https://app.example.com/bff/callback",
        "scope": "openid profile",
        "state": "the-state",
        "nonce": "the-nonce",
        "code_challenge": base64.urlsafe_b64encode(challenge).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }


def test_the_challenge_is_that_of_the_specification() -> None:
    """The example of RFC 7636, appendix B."""
    secrets = Secrets("s", "n", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")
    found = authorization_parameters(
        client_id="c", redirect_uri="r", scopes=(), secrets=secrets, options=Options()
    )
    assert found["code_challenge"] == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_what_the_page_asks_is_passed_on() -> None:
    """Options stand in the request as they were given."""
    options = Options("login", "alice@example.com", "gold", 0, "de fr")
    found = parameters(options, response_mode="form_post")
    assert found["prompt"] == "login"
    assert found["login_hint"] == "alice@example.com"
    assert found["acr_values"] == "gold"
    assert found["max_age"] == "0"
    assert found["ui_locales"] == "de fr"
    assert found["response_mode"] == "form_post"


def test_fixed_extras_are_added_but_never_displace_ours() -> None:
    """An extra parameter is sent; one with a name of ours is not."""
    extra = {"audience": "api", "prompt": "consent", **dict.fromkeys(parameters(), "evil")}
    found = parameters(Options(prompt="login"), extra=extra)
    assert found["audience"] == "api"
    assert "evil" not in found.values()
    assert found["prompt"] == "login"
    assert parameters(extra={"prompt": "consent"})["prompt"] == "consent"


def test_secrets_are_three_values_of_256_bits() -> None:
    """Each is 43 characters of base64url, drawn by itself."""
    drawn = Secrets.draw(os.urandom)
    values = [drawn.state, drawn.nonce, drawn.code_verifier]
    assert len(set(values)) == 3
    for value in values:
        assert len(value) == 43
        assert len(base64.urlsafe_b64decode(value + "=")) == 32
    asked: list[int] = []

    def draw(size: int) -> bytes:
        asked.append(size)
        return bytes(size)

    Secrets.draw(draw)
    assert asked == [32, 32, 32]
    assert token(b"\xff\xfe\xfd") == "__79"


@given(st.dictionaries(st.text(min_size=1, max_size=5), st.text(max_size=10), max_size=4))
def test_a_request_url_says_what_the_parameters_say(values: dict[str, str]) -> None:
    """Every parameter survives the URL, beside the endpoint's own query."""
    values = {name: value for name, value in values.items() if value}
    for endpoint, own in (("https://a.example/auth", []), ("https://a.example/auth?t=1", ["t"])):
        url = authorization_url(endpoint, values)
        assert url.startswith(endpoint)
        found = parse_qsl(urlsplit(url).query, keep_blank_values=True)
        assert found == [(name, "1") for name in own] + list(values.items())


OPTIONS = [
    ({}, Options()),
    (
        {"prompt": "", "login_hint": "", "acr_values": "", "max_age": "", "ui_locales": ""},
        Options(),
    ),
    ({"prompt": "none"}, Options(prompt="none")),
    ({"prompt": "login consent"}, Options(prompt="login consent")),
    ({"prompt": "create"}, Options(prompt="create")),
    ({"login_hint": "caf\u00e9 \u20ac"}, Options(login_hint="caf\u00e9 \u20ac")),
    ({"login_hint": "x" * MAX_HINT}, Options(login_hint="x" * MAX_HINT)),
    ({"max_age": "0"}, Options(max_age=0)),
    ({"max_age": str(MAX_MAX_AGE)}, Options(max_age=MAX_MAX_AGE)),
    ({"max_age": "007"}, Options(max_age=7)),
    ({"prompt": "none", "max_age": "1"}, Options(prompt="none", max_age=1)),
    ({"acr_values": "a b", "ui_locales": "de"}, Options(acr_values="a b", ui_locales="de")),
    ({"unknown": "x", "return_to": "/"}, Options()),
]


@pytest.mark.parametrize(("query", "options"), OPTIONS, ids=str)
def test_options_of_a_page_are_read(query: dict[str, str], options: Options) -> None:
    """Known options are taken; empty ones are as if they were not there."""
    assert Options.parse(query) == options


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prompt", "evil"), ("prompt", "none login"), ("prompt", "login none"),
        ("prompt", "login  consent"), ("prompt", " login"), ("prompt", "LOGIN"),
        ("prompt", "login\tconsent"),
        ("login_hint", "x" * (MAX_HINT + 1)), ("login_hint", "a\nb"), ("login_hint", "a\x00"),
        ("login_hint", "\u202e"), ("acr_values", "\x7f"), ("ui_locales", "d\re"),
        ("max_age", "-1"), ("max_age", "+1"), ("max_age", "1.5"), ("max_age", "1e3"),
        ("max_age", " 1"), ("max_age", "1 "), ("max_age", "1\n"), ("max_age", "\u0661"),
        ("max_age", "\u00b2"), ("max_age", str(MAX_MAX_AGE + 1)), ("max_age", "9" * 5000),
        ("max_age", "0x10"), ("max_age", "1_000"),
    ],
)  # fmt: skip
def test_an_option_that_makes_no_sense_is_refused(name: str, value: str) -> None:
    """The error names the option."""
    with pytest.raises(BadOptionError, match=f"^{name}$"):
        Options.parse({name: value})


def test_signing_in_anew_without_asking_is_refused() -> None:
    """`prompt=none` with `max_age=0` can never work (OIDC Core 3.1.2.1)."""
    with pytest.raises(BadOptionError, match="max_age"):
        Options.parse({"prompt": "none", "max_age": "00"})


OPTION = st.sampled_from(["prompt", "login_hint", "acr_values", "max_age", "ui_locales"])


@given(st.dictionaries(OPTION, st.text(max_size=12)))
def test_no_query_makes_the_options_stumble(query: dict[str, str]) -> None:
    """Any text is read or refused by the name of its option."""
    try:
        options = Options.parse(query)
    except BadOptionError as error:
        assert str(error) in query
        return
    assert options.max_age is None or 0 <= options.max_age <= MAX_MAX_AGE


@pytest.mark.parametrize("name", sorted(SINGLE))
def test_a_parameter_that_counts_is_given_once(name: str) -> None:
    """An answer with `code`, `state`, `iss` or `error` twice is refused, even with one value."""
    for second in ("a", "b", ""):
        with pytest.raises(BadResponseError, match="duplicate_parameter"):
            single_parameters([(name, "a"), ("x", "1"), (name, second)])


def test_other_parameters_do_not_matter() -> None:
    """Unknown parameters may come as they like; what is known is taken."""
    pairs = [("code", "c"), ("x", "1"), ("x", "2"), ("state", "s")]
    assert single_parameters(pairs) == {"code": "c", "x": "2", "state": "s"}
    assert single_parameters([]) == {}


def test_a_huge_parameter_is_refused() -> None:
    """Length has a limit."""
    assert single_parameters([("code", "x" * MAX_PARAMETER)])
    with pytest.raises(BadResponseError, match="parameter_too_long"):
        single_parameters([("x", "x" * (MAX_PARAMETER + 1))])


@pytest.mark.parametrize(
    ("given_iss", "promises", "reason"),
    [
        (ISSUER, True, None), (ISSUER, False, None), (None, False, None),
        (None, True, "iss_missing"), (ISSUER + "1", True, "iss_mismatch"),
        (ISSUER + "1", False, "iss_mismatch"), (ISSUER.rstrip("/"), False, "iss_mismatch"),
        ("", False, "iss_mismatch"), ("", True, "iss_mismatch"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("rest", [{"code": "c"}, {"error": "access_denied"}])
def test_the_answer_of_another_provider_is_refused(
    given_iss: str | None, rest: dict[str, str], reason: str | None, *, promises: bool
) -> None:
    """`iss` is compared to the letter, in errors too, and a promised one must be there."""
    answer = rest if given_iss is None else {**rest, "iss": given_iss}
    if reason is None:
        check_issuer(answer, issuer=ISSUER, promises_iss=promises)
    else:
        with pytest.raises(BadResponseError) as caught:
            check_issuer(answer, issuer=ISSUER, promises_iss=promises)
        assert caught.value.reason == reason


def test_a_code_is_granted() -> None:
    """The code, and the provider's session state if it gives one."""
    assert granted_code({"code": "c"}).code == "c"
    assert granted_code({"code": "c"}).session_state is None
    assert granted_code({"code": "c", "session_state": "x.y"}).session_state == "x.y"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({}, "no_code"), ({"code": ""}, "no_code"), ({"state": "s"}, "no_code"),
        ({"error": ""}, "provider_error_other"),
        ({"error": "<script>"}, "provider_error_other"),
        ({"error": "access_denied", "error_description": "secret"}, "provider_error_access_denied"),
        ({"error": "access_denied", "code": "c"}, "provider_error_access_denied"),
    ],
)  # fmt: skip
def test_an_answer_without_a_code_has_a_reason(answer: dict[str, str], reason: str) -> None:
    """An error wins over a code, and none of the provider's own words come through."""
    with pytest.raises(BadResponseError) as caught:
        granted_code(answer)
    assert caught.value.reason == str(caught.value) == reason


@pytest.mark.parametrize("error", sorted(KNOWN_ERRORS))
def test_known_errors_keep_their_names(error: str) -> None:
    """The log can tell the specifications' errors apart."""
    with pytest.raises(BadResponseError, match=f"^provider_error_{error}$"):
        granted_code({"error": error})


def test_every_resource_is_a_parameter_of_its_own() -> None:
    """Those of the routes, and the operator's fixed one, each once (RFC 8707 section 2)."""
    asked = parameters(
        extra={"resource": "https://fixed"}, resources=("https://a", "https://fixed", "https://b")
    )
    url = authorization_url("https://login.example.com/authorize", asked)
    sent = [value for name, value in parse_qsl(urlsplit(url).query) if name == "resource"]
    assert sent == ["https://fixed", "https://a", "https://b"]
    assert "resource" not in parameters()


def test_a_silent_sign_in_is_one_without_the_user() -> None:
    """It asks for `prompt=none`, whether the page says so or not."""
    for query in ({"silent": "true"}, {"silent": "true", "prompt": "none"}):
        options = Options.parse(query)
        assert (options.silent, options.prompt) == (True, "none")
        assert parameters(options)["prompt"] == "none"
    assert not Options.parse({"silent": "false"}).silent


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"silent": "1"}, "silent"),
        ({"silent": "true", "prompt": "login"}, "prompt"),
        ({"silent": "true", "max_age": "0"}, "max_age"),
        ({"claims": "{}"}, "claims"),
        (
            {
                "claims": '{"id_token": {"acr": {"essential": true, "value": "a"}}}',
                "acr_values": "b",
            },
            "claims",
        ),
    ],
)
def test_options_that_contradict_each_other(query: dict[str, str], named: str) -> None:
    """Nothing is sent that a provider could understand in two ways (Core 5.5.1.1)."""
    with pytest.raises(BadOptionError, match=named):
        Options.parse(query)


def test_claims_are_sent_as_they_were_judged() -> None:
    """Written anew, beside `acr_values` where the claims ask for no essential acr."""
    asked = '{"id_token": {"email": null}}'
    sent = parameters(Options.parse({"claims": asked, "acr_values": "gold"}))
    assert (sent["claims"], sent["acr_values"]) == ('{"id_token":{"email":null}}', "gold")
