"""Requests and answers in the form that was agreed: plain, pushed, signed, encrypted."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from bff.errors import ProviderUnavailableError
from bff.oidc.authorization import BadResponseError
from bff.oidc.front_channel import incoming, outgoing
from bff.oidc.keys import BadTokenError, import_keys, verify
from bff.oidc.provider import Provider
from tests.support.jose import ec, encrypt, rsa, sign
from tests.support.our_side import MakeProvider
from tests.support.scripted_provider import Answer, Asked, ScriptedProvider
from tests.unit.oidc.test_client_keys import key_set, own

PARAMETERS = {
    "response_type": "code", "client_id": "my-spa", "redirect_uri": "https://app.example.com/cb",
    "scope": "openid", "state": "s", "nonce": "n",
}  # fmt: skip


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    """A key for signatures and a key for encryption."""
    path = tmp_path / "keys.json"
    members = own(ec(name="client"), kid="s"), own(rsa("enc"), kid="e", use="enc")
    path.write_bytes(key_set(*members))
    return path


async def sent_by(provider: Provider) -> dict[str, str]:
    """Return what goes into the address."""
    metadata = await provider.metadata()
    return await outgoing(provider, metadata, dict(PARAMETERS), time.time(), b"r" * 16)


def request_in(provider: Provider, signed: str) -> dict[str, Any]:
    """Return the claims of a request object, verified with what we publish."""
    keys, _ = import_keys({"keys": provider.published_keys()})
    return dict(verify(signed, "ES256", keys).claims)


async def test_a_request_goes_openly_where_nothing_else_is_agreed(
    make_provider: MakeProvider, keys_file: Path
) -> None:
    """Neither PAR nor JAR: the parameters stand in the address, even where there is a key."""
    assert await sent_by(make_provider(client_key_file=keys_file)) == PARAMETERS


async def test_a_pushed_request_is_pushed_anew_each_time(
    make_provider: MakeProvider, scripted: ScriptedProvider
) -> None:
    """Only `client_id` and `request_uri` are seen by the browser, and no `request_uri` twice."""
    pushed = iter(("urn:one", "urn:two"))
    scripted.answers["/par"] = lambda _: Answer(201, {"request_uri": next(pushed)})
    scripted.metadata["pushed_authorization_request_endpoint"] = scripted.url("/par")
    seen: list[str] = []
    for method in ("client_secret_post", "client_secret_basic"):
        sent = await sent_by(make_provider(client_auth=method))
        assert sent.keys() == {"client_id", "request_uri"}
        assert scripted.last("/par").body.count(b"client_id=") == 1, "each parameter once"
        seen.append(sent["request_uri"])
    assert seen == ["urn:one", "urn:two"]


async def test_a_signed_request_stands_in_the_address(
    make_provider: MakeProvider, keys_file: Path
) -> None:
    """JAR by value, for a provider without PAR."""
    provider = make_provider(client_key_file=keys_file, request_object=True)
    sent = await sent_by(provider)
    assert sent.keys() == {"client_id", "response_type", "scope", "request"}
    claims = request_in(provider, sent["request"])
    assert PARAMETERS.items() <= claims.items()
    assert claims["aud"] == provider.issuer


@pytest.mark.parametrize("demanded", [True, False])
async def test_a_signed_request_is_pushed(
    make_provider: MakeProvider, scripted: ScriptedProvider, keys_file: Path, *, demanded: bool
) -> None:
    """JAR by PAR, because we want it or the provider demands it: nothing unsigned beside it."""
    scripted.answers["/par"] = Answer(201, {"request_uri": "urn:one"})
    scripted.metadata["pushed_authorization_request_endpoint"] = scripted.url("/par")
    scripted.metadata["require_signed_request_object"] = demanded
    provider = make_provider(client_key_file=keys_file, request_object=None if demanded else True)
    assert await sent_by(provider) == {"client_id": "my-spa", "request_uri": "urn:one"}
    form = scripted.last("/par").form
    assert form.keys() == {"client_id", "request", "client_assertion", "client_assertion_type"}
    assert PARAMETERS.items() <= request_in(provider, form["request"]).items()


async def test_a_demand_that_we_cannot_meet_begins_no_login(
    make_provider: MakeProvider, scripted: ScriptedProvider, keys_file: Path
) -> None:
    """Without a key nothing is sent; a demand that is switched off is the operator's word."""
    scripted.metadata["require_signed_request_object"] = True
    with pytest.raises(ProviderUnavailableError, match="no_key_for_request_object"):
        await sent_by(make_provider())
    off = make_provider(client_key_file=keys_file, request_object=False)
    assert await sent_by(off) == PARAMETERS


def answer(provider: Provider, **changes: object) -> dict[str, Any]:
    """Return the claims of a good answer."""
    claims = {
        "iss": provider.issuer, "aud": "my-spa", "exp": time.time() + 600, "code": "c",
        "state": "s", **changes,
    }  # fmt: skip
    return {name: value for name, value in claims.items() if value is not None}


@pytest.mark.parametrize("mode", ["jwt", "form_post.jwt"])
async def test_a_signed_answer_is_opened_and_read(
    make_provider: MakeProvider, keys_file: Path, mode: str
) -> None:
    """Signed, or signed and encrypted; what stands beside it does not count."""
    provider = make_provider(client_key_file=keys_file, response_mode=mode)
    signed = sign(answer(provider), kid="one")
    for response in (signed, encrypt(signed, rsa("enc"), kid="e")):
        parameters = {"response": response, "code": "evil", "error": "evil", "state": "evil"}
        found = await incoming(provider, parameters, time.time())
        assert found == {"iss": provider.issuer, "code": "c", "state": "s"}


async def test_encrypted_id_tokens_do_not_demand_encrypted_answers(
    make_provider: MakeProvider, keys_file: Path
) -> None:
    """Each kind of token has a registration of its own; ID tokens must then be encrypted."""
    provider = make_provider(
        client_key_file=keys_file, response_mode="jwt", encryption_required=True
    )
    signed = sign(answer(provider), kid="one")
    assert (await incoming(provider, {"response": signed}, time.time()))["code"] == "c"
    with pytest.raises(BadTokenError, match="not_encrypted"):
        await provider.verified(signed)
    opened = await provider.verified(encrypt(signed, rsa("enc")))
    assert opened.raw == signed, "id_token_hint is what was inside"


async def test_a_response_is_ignored_where_it_was_not_asked_for(
    make_provider: MakeProvider, scripted: ScriptedProvider
) -> None:
    """With `query` and `form_post` the parameters are the answer."""
    parameters = {"response": "x", "code": "c"}
    assert await incoming(make_provider(), parameters, time.time()) is parameters
    assert scripted.asked == []


FORGED: dict[str, Any] = {
    "unsigned": lambda claims: sign(claims, kid="one").rpartition(".")[0] + ".",
    "by a stranger": lambda claims: sign(claims, rsa("stranger"), kid="one"),
    "another algorithm": lambda claims: sign(claims, alg="PS256", kid="one"),
    "encrypted by a stranger": lambda claims: encrypt(sign(claims, rsa("stranger")), rsa("enc")),
    "encrypted, not signed": lambda claims: encrypt(json.dumps(claims), rsa("enc")),
    "nonsense": lambda _: "nonsense",
}
REASONS = {
    "unsigned": "response_signature", "by a stranger": "response_signature",
    "another algorithm": "response_alg", "encrypted by a stranger": "response_signature",
    "encrypted, not signed": "response_not_nested", "nonsense": "response_malformed",
}  # fmt: skip


@pytest.mark.parametrize("name", FORGED)
async def test_a_forged_answer_is_refused(
    make_provider: MakeProvider, keys_file: Path, name: str
) -> None:
    """Signature before anything else, encrypted or not."""
    provider = make_provider(client_key_file=keys_file, response_mode="jwt")
    response = FORGED[name](answer(provider))
    with pytest.raises(BadResponseError) as caught:
        await incoming(provider, {"response": response}, time.time())
    assert caught.value.reason == REASONS[name]


async def test_another_issuer_beside_a_signed_answer_is_refused(
    make_provider: MakeProvider, scripted: ScriptedProvider
) -> None:
    """All issuers in one answer must be the same (RFC 9207 2.4); no key is asked for before."""
    provider = make_provider(response_mode="jwt")
    await provider.metadata()
    parameters = {"response": sign(answer(provider), kid="one"), "iss": "https://evil.example"}
    with pytest.raises(BadResponseError, match="iss_mismatch"):
        await incoming(provider, parameters, time.time())
    assert scripted.times("/jwks") == 0


async def test_a_rotation_is_seen_by_answers_too(
    make_provider: MakeProvider, scripted: ScriptedProvider
) -> None:
    """An answer that a new key signed fetches the keys anew."""
    provider = make_provider(response_mode="jwt")
    await provider.verified(sign(answer(provider), kid="one"))
    scripted.keys = [{**own(rsa("two")), "kid": "two"}]
    scripted.keys[0].pop("d")
    response = sign(answer(provider), rsa("two"), kid="two")
    assert (await incoming(provider, {"response": response}, time.time()))["code"] == "c"
    assert isinstance(scripted.last("/jwks"), Asked)
