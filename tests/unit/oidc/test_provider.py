"""Metadata and keys of the provider: fetched when needed, kept fresh, and never hammered."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from bff.errors import ProviderUnavailableError
from bff.oidc import documents
from bff.oidc import metadata as metadata_module
from bff.oidc import provider as provider_module
from bff.oidc.cool_down import REFETCH_BURST, REFETCH_EVERY
from bff.oidc.keys import BadTokenError, UnknownKeyError
from bff.oidc.provider import Provider
from tests.support.clock import Clock
from tests.support.jose import ec, ed25519, forge, jwk, rsa, sign
from tests.support.our_side import CLIENT_SECRET, MakeProvider
from tests.support.scripted_provider import DISCOVERY, Answer, Asked, ScriptedProvider

CLAIMS = {"sub": "alice"}


async def eventually(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(3):
        while not holds():
            await asyncio.sleep(0.005)


async def test_discovery_is_done_once(
    make_provider: MakeProvider, scripted: ScriptedProvider
) -> None:
    """All who ask at once share one fetch, and who asks later gets what is known."""
    provider = make_provider()
    assert not provider.known
    assert provider.loaded is None
    found = await asyncio.gather(*(provider.metadata() for _ in range(20)))
    assert {metadata.issuer for metadata in found} == {scripted.issuer}
    assert await provider.metadata() is provider.loaded is found[0]
    assert provider.known
    assert scripted.times(DISCOVERY) == 1


@pytest.mark.parametrize("slash", ["", "/"])
async def test_the_issuers_slash_matters(
    make_provider: MakeProvider, scripted: ScriptedProvider, slash: str
) -> None:
    """The document is found either way, and its issuer compared to the letter (note T9)."""
    provider = make_provider(issuer=scripted.issuer + slash)
    if not slash:
        assert (await provider.metadata()).issuer == scripted.issuer
        return
    with pytest.raises(ProviderUnavailableError, match="issuer_mismatch"):
        await provider.metadata()
    assert scripted.last(DISCOVERY).target == DISCOVERY


BAD_DOCUMENTS = [
    (Answer(404, {}), "status_404"),
    (Answer(500, {}), "status_500"),
    (Answer(301, {}, headers=(("Location", "/elsewhere"),)), "status_301"),
    (Answer(body=b"<html>"), "not_json"),
    (Answer(body=[]), "not_json"),
    (Answer(body=b'{"issuer":"a","issuer":"b"}'), "not_json"),
    (Answer(body=b'{"a":' + b"[" * 100_000), "not_json"),
    (Answer(body={"issuer": "https://other.example"}), "issuer_mismatch"),
    (Answer(body=b"x" * 2_000_000), "TooLargeError"),
]


@pytest.mark.parametrize(("answer", "reason"), BAD_DOCUMENTS, ids=[r for _, r in BAD_DOCUMENTS])
async def test_a_bad_document_is_no_document(
    make_provider: MakeProvider, scripted: ScriptedProvider, answer: Answer, reason: str
) -> None:
    """The provider is then unavailable, and the reason is in the log."""
    scripted.answers[DISCOVERY] = answer
    provider = make_provider()
    with capture_logs() as logs, pytest.raises(ProviderUnavailableError, match=reason):
        await provider.metadata()
    assert [line["reason"] for line in logs] == [reason]
    assert not provider.known


async def test_a_failed_attempt_is_not_repeated_at_once(
    make_provider: MakeProvider, scripted: ScriptedProvider, clock: Clock
) -> None:
    """A crowd of requests makes one attempt, and another one a second later."""
    scripted.answers[DISCOVERY] = Answer(500, {})
    provider = make_provider()
    errors = await asyncio.gather(*(provider.metadata() for _ in range(20)), return_exceptions=True)
    assert all(isinstance(error, ProviderUnavailableError) for error in errors)
    assert scripted.times(DISCOVERY) == 1
    clock.advance(1.0)
    del scripted.answers[DISCOVERY]
    assert (await provider.metadata()).issuer == scripted.issuer
    assert scripted.times(DISCOVERY) == 2


async def test_endpoints_left_out_are_told_once(
    make_provider: MakeProvider, scripted: ScriptedProvider
) -> None:
    """An endpoint that cannot be used is named in the log."""
    scripted.metadata["userinfo_endpoint"] = "gopher://x"
    provider = make_provider()
    with capture_logs() as logs:
        assert (await provider.metadata()).userinfo_endpoint is None
    assert [line["endpoints"] for line in logs if "endpoints" in line] == [["userinfo_endpoint"]]


async def test_keys_are_fetched_once_when_needed(
    make_provider: MakeProvider, scripted: ScriptedProvider
) -> None:
    """Discovery first, then keys, then the token; later tokens ask nobody."""
    provider = make_provider()
    tokens = [sign({"sub": str(number)}, kid="one") for number in range(10)]
    found = await asyncio.gather(*(provider.verified(token) for token in tokens))
    assert [verified.claims["sub"] for verified in found] == [str(n) for n in range(10)]
    assert [asked.target for asked in scripted.asked] == [DISCOVERY, "/jwks"]


async def test_a_rotated_key_is_seen_at_once(
    make_provider: MakeProvider, scripted: ScriptedProvider
) -> None:
    """An unknown kid fetches the keys anew, twice in a row (note T10)."""
    provider = make_provider()
    await provider.verified(sign(CLAIMS, kid="one"))
    for name in ("two", "three"):
        scripted.keys = [jwk(rsa(name), kid=name)]
        assert (await provider.verified(sign(CLAIMS, rsa(name), kid=name))).claims == CLAIMS
    assert scripted.times("/jwks") == 3


async def test_a_new_key_under_the_old_name_is_seen(
    make_provider: MakeProvider, scripted: ScriptedProvider
) -> None:
    """A signature that the known key does not explain fetches the keys anew."""
    provider = make_provider()
    await provider.verified(sign(CLAIMS, kid="one"))
    scripted.keys = [jwk(rsa("two"), kid="one")]
    assert (await provider.verified(sign(CLAIMS, rsa("two"), kid="one"))).claims == CLAIMS


async def test_strangers_cannot_make_us_hammer_the_provider(
    make_provider: MakeProvider, scripted: ScriptedProvider, clock: Clock
) -> None:
    """Tokens of unknown keys fetch the keys twice, and then every ten seconds."""
    provider = make_provider()
    evil = [sign(CLAIMS, rsa("evil"), kid=f"evil-{number}") for number in range(10)]

    async def attack() -> None:
        for token in evil:
            with pytest.raises(UnknownKeyError):
                await provider.verified(token)

    await provider.verified(sign(CLAIMS, kid="one"))
    await attack()
    assert scripted.times("/jwks") == 1 + REFETCH_BURST
    clock.advance(REFETCH_EVERY)
    await attack()
    assert scripted.times("/jwks") == 2 + REFETCH_BURST
    clock.advance(100 * REFETCH_EVERY)
    await attack()
    assert scripted.times("/jwks") == 2 + 2 * REFETCH_BURST
    assert (await provider.verified(sign(CLAIMS, kid="one"))).claims == CLAIMS


async def test_strangers_keep_no_rotation_from_being_seen(
    make_provider: MakeProvider, scripted: ScriptedProvider
) -> None:
    """What tokens that anybody brings cost is not taken from those that we fetched."""
    provider = make_provider()
    for number in range(10):
        with pytest.raises(UnknownKeyError):
            await provider.verified(sign(CLAIMS, rsa("evil"), kid=f"{number}"), brought=True)
    assert scripted.times("/jwks") == 1 + REFETCH_BURST
    scripted.keys = [jwk(rsa("two"), kid="two")]
    token = sign(CLAIMS, rsa("two"), kid="two")
    assert (await provider.verified(token)).claims == CLAIMS
    assert (await provider.verified(token, brought=True)).claims == CLAIMS


async def test_a_crowd_with_a_new_key_fetches_it_once(
    make_provider: MakeProvider, scripted: ScriptedProvider
) -> None:
    """All who meet the same rotation share one fetch."""
    provider = make_provider()
    await provider.verified(sign(CLAIMS, kid="one"))
    scripted.keys = [jwk(rsa("two"), kid="two")]
    token = sign(CLAIMS, rsa("two"), kid="two")
    await asyncio.gather(*(provider.verified(token) for _ in range(20)))
    assert scripted.times("/jwks") == 2


@pytest.mark.parametrize(
    "token",
    [forge({"alg": "none"}, CLAIMS), forge({"alg": "HS256"}, CLAIMS, b"x" * 32), "nonsense",
     sign(CLAIMS, alg="PS256", kid="one")],
    ids=["none", "HS256", "malformed", "PS256"],
)  # fmt: skip
async def test_a_hopeless_token_asks_for_no_keys(
    make_provider: MakeProvider, scripted: ScriptedProvider, token: str
) -> None:
    """Newer keys are fetched only where they could help."""
    provider = make_provider()
    await provider.verified(sign(CLAIMS, kid="one"))
    with pytest.raises(BadTokenError) as caught:
        await provider.verified(token)
    assert not isinstance(caught.value, UnknownKeyError)
    assert scripted.times("/jwks") == 1


async def test_old_keys_serve_while_new_ones_cannot_be_had(
    make_provider: MakeProvider, scripted: ScriptedProvider
) -> None:
    """A failing key address refuses unknown keys only."""
    provider = make_provider()
    await provider.verified(sign(CLAIMS, kid="one"))
    for answer in (Answer(500, {}), Answer(body=b"nonsense"), Answer(body={"no": "keys"})):
        scripted.answers["/jwks"] = answer
        with pytest.raises(UnknownKeyError):
            await provider.verified(sign(CLAIMS, rsa("two"), kid="two"))
        assert (await provider.verified(sign(CLAIMS, kid="one"))).claims == CLAIMS


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(Answer(503, {}), "status_503"), (Answer(body={}), "keys_not_a_jwk_set"),
     (Answer(body=b"["), "not_json")],
)  # fmt: skip
async def test_without_any_keys_the_provider_is_unavailable(
    make_provider: MakeProvider,
    scripted: ScriptedProvider,
    clock: Clock,
    answer: Answer,
    reason: str,
) -> None:
    """Nothing is said about a token that cannot be judged; a second later it is tried again."""
    scripted.answers["/jwks"] = answer
    provider = make_provider()
    with pytest.raises(ProviderUnavailableError, match=reason):
        await provider.verified(sign(CLAIMS, kid="one"))
    with pytest.raises(ProviderUnavailableError, match="keys_failed"):
        await provider.verified(sign(CLAIMS, kid="one"))
    assert scripted.times("/jwks") == 1
    clock.advance(1.0)
    del scripted.answers["/jwks"]
    assert (await provider.verified(sign(CLAIMS, kid="one"))).claims == CLAIMS


async def test_unusable_keys_are_counted_in_the_log(
    make_provider: MakeProvider, scripted: ScriptedProvider
) -> None:
    """Keys of other kinds are nothing to worry about, but can be seen."""
    scripted.keys += [{"kty": "new"}, jwk(rsa("enc"), use="enc")]
    with capture_logs() as logs:
        await make_provider().verified(sign(CLAIMS, kid="one"))
    assert [line["count"] for line in logs if line["event"] == "provider.keys_skipped"] == [2]


@pytest.mark.parametrize(("alg", "key"), [("ES256", ec()), ("EdDSA", ed25519()), ("PS256", rsa())])
async def test_the_configured_algorithm_alone_is_believed(
    make_provider: MakeProvider, scripted: ScriptedProvider, alg: str, key: Any
) -> None:
    """Whatever discovery lists, `none` included, has no say (note T3)."""
    scripted.metadata["id_token_signing_alg_values_supported"] = ["none", "HS256", "RS256"]
    scripted.keys += [jwk(ec(), kid="one"), jwk(ed25519(), kid="one")]
    provider = make_provider(alg=alg)
    assert (await provider.verified(sign(CLAIMS, key, alg, kid="one"))).claims == CLAIMS
    for token in (sign(CLAIMS, kid="one"), forge({"alg": "none", "kid": "one"}, CLAIMS)):
        with pytest.raises(BadTokenError, match="alg"):
            await provider.verified(token)


async def test_hs256_asks_nobody(make_provider: MakeProvider, scripted: ScriptedProvider) -> None:
    """With HS256 the client secret is the only key, and published keys are none."""
    provider = make_provider(alg="HS256")
    token = forge({"alg": "HS256"}, CLAIMS, CLIENT_SECRET.encode())
    assert (await provider.verified(token)).claims == CLAIMS
    for secret in (rsa().as_pem(private=False), b"other", CLIENT_SECRET.encode() + b"x"):
        with pytest.raises(UnknownKeyError):
            await provider.verified(forge({"alg": "HS256"}, CLAIMS, secret))
    assert scripted.asked == []


async def test_a_short_secret_is_no_trouble_where_it_signs_nothing(
    make_provider: MakeProvider, scripted: ScriptedProvider
) -> None:
    """A secret of any length, even one that looks like a key, authenticates by Basic."""
    for secret in ("x", rsa().as_pem(private=False).decode()):
        provider = make_provider(client_secret=secret)
        assert provider.client_auth_method(await provider.metadata()) == "client_secret_basic"


async def test_methods_follow_configuration_and_discovery(
    make_provider: MakeProvider, scripted: ScriptedProvider, key_file: Path
) -> None:
    """Each provider authenticates as the contract's table says, and signs with what it has."""
    scripted.metadata["token_endpoint_auth_methods_supported"] = ["client_secret_post"]
    scripted.answers["/x"] = Answer(body={})
    for changes, method, field in (
        ({}, "client_secret_post", "client_secret"),
        ({"client_auth": "client_secret_jwt"}, "client_secret_jwt", "client_assertion"),
        ({"client_key_file": key_file}, "private_key_jwt", "client_assertion"),
        ({"client_secret": None}, "none", "client_id"),
    ):
        provider = make_provider(**changes)
        found = provider.client_auth_method(await provider.metadata())
        assert found == method
        await provider.client.post(scripted.url("/x"), {"a": "b"}, found)
        assert field in scripted.last("/x").form
        assert (provider.keys.signer is not None) == (method == "private_key_jwt")


@pytest.mark.parametrize("raw", [True, False])
async def test_basic_can_be_sent_raw(
    make_provider: MakeProvider, scripted: ScriptedProvider, *, raw: bool
) -> None:
    """BFF_BASIC_AUTH_ENCODING=raw, for a provider that does not decode (note T6)."""
    scripted.answers["/x"] = Answer(body={})
    provider = make_provider(raw_basic_auth=raw)
    await provider.client.post(scripted.url("/x"), {"a": "b"}, "client_secret_basic")
    sent = scripted.last("/x").headers["authorization"].removeprefix("Basic ")
    assert (base64.b64decode(sent).decode() == f"my-spa:{CLIENT_SECRET}") == raw


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the background work go fast."""
    monkeypatch.setattr(documents, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(documents, "LONGEST_PAUSE", 0.04)
    monkeypatch.setattr(documents, "FRESH_FOR", 0.05)


@pytest.mark.usefixtures("impatient")
async def test_the_background_keeps_trying_until_it_succeeds(
    make_provider: MakeProvider, scripted: ScriptedProvider
) -> None:
    """A provider that is down at start is found as soon as it is up; then it is kept fresh."""
    scripted.answers[DISCOVERY] = Answer(503, {})
    provider = make_provider()
    provider.start()
    await eventually(lambda: scripted.times(DISCOVERY) >= 4)
    assert not provider.known
    assert scripted.times("/jwks") == 0
    del scripted.answers[DISCOVERY]
    await eventually(lambda: scripted.times("/jwks") >= 2)
    assert provider.known


@pytest.mark.usefixtures("impatient")
async def test_news_of_the_provider_arrive_in_the_background(
    make_provider: MakeProvider, scripted: ScriptedProvider
) -> None:
    """Metadata and keys that change are taken over; what is bad meanwhile is not."""
    provider = make_provider()
    provider.start()
    await eventually(lambda: scripted.times("/jwks") >= 1)
    scripted.metadata["userinfo_endpoint"] = None
    scripted.keys = [jwk(rsa("two"), kid="two")]
    await eventually(lambda: provider.loaded is not None and not provider.loaded.userinfo_endpoint)
    asked = scripted.times("/jwks")
    await eventually(lambda: scripted.times("/jwks") >= asked + 2)
    asked = scripted.times("/jwks")
    assert (await provider.verified(sign(CLAIMS, rsa("two"), kid="two"))).claims == CLAIMS
    scripted.answers[DISCOVERY] = Answer(body={"issuer": "https://evil.example"})
    await asyncio.sleep(0.1)
    assert provider.known
    assert (await provider.verified(sign(CLAIMS, rsa("two"), kid="two"))).claims == CLAIMS


@pytest.mark.usefixtures("impatient")
async def test_no_crash_ends_the_background_work(
    make_provider: MakeProvider, scripted: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error that nobody thought of is logged, and tried again after."""
    provider = make_provider()
    real = metadata_module.judge_metadata
    monkeypatch.setattr(provider_module, "judge_metadata", lambda *_: 1 / 0)
    with capture_logs() as logs:
        provider.start()
        await eventually(lambda: scripted.times(DISCOVERY) >= 2)
        monkeypatch.setattr(provider_module, "judge_metadata", real)
        await eventually(lambda: provider.known)
    assert "provider.keeper_crashed" in {line["event"] for line in logs}


async def test_pauses_grow(
    make_provider: MakeProvider, scripted: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Failures are tried again after 2, 4, 8 ... 30 s; a success is good for ten minutes."""
    pauses: list[float] = []
    done = asyncio.Event()

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 6:
            del scripted.answers[DISCOVERY]
        if len(pauses) == 7:
            scripted.answers[DISCOVERY] = Answer(503, {})
        if len(pauses) == 9:
            done.set()
            await done_for_good.wait()

    done_for_good = asyncio.Event()
    scripted.answers[DISCOVERY] = Answer(503, {})
    provider = make_provider()
    monkeypatch.setattr(asyncio, "sleep", sleep)
    provider.start()
    await done.wait()
    monkeypatch.undo()
    assert pauses == [2, 4, 8, 16, 30, 30, 600, 1, 2]


async def test_closing_ends_what_is_under_way(
    make_provider: MakeProvider, scripted: ScriptedProvider
) -> None:
    """A fetch that hangs does not keep the service from stopping."""

    async def never(_asked: Asked) -> Answer:
        await asyncio.sleep(60)
        raise AssertionError

    scripted.answers[DISCOVERY] = never
    provider: Provider = make_provider()
    provider.start()
    await eventually(lambda: scripted.times(DISCOVERY) == 1)
    async with asyncio.timeout(10):
        await provider.aclose()
