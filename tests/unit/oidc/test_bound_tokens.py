"""Tokens that are bound to a key of ours (RFC 9449): what goes out, and which answers are taken.

Every proof is judged by another library, at the endpoint it was made for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from bff.errors import ProviderUnavailableError
from bff.oidc import token_endpoint
from bff.oidc.dpop import ProofKey
from bff.oidc.grants import Grant, InvalidGrantError, RefusedError
from bff.oidc.keys import BadTokenError
from bff.oidc.provider import Provider
from bff.oidc.token_target import TokenTarget
from tests.support.our_side import MakeProvider
from tests.support.proofs import ProofJudge
from tests.support.scripted_provider import Answer, Asked, ScriptedProvider

BOUND: dict[str, Any] = {"access_token": "at", "token_type": "DPoP", "expires_in": 300}
TARGET = TokenTarget(exchange=True, audience="orders")
CALLS: dict[str, Callable[[Provider, ProofKey | None], Awaitable[Grant]]] = {
    "code": lambda ours, key: token_endpoint.exchange(ours, "c", "v" * 43, "https://a/cb", key),
    "refresh": lambda ours, key: token_endpoint.refresh(ours, "rt", None, key),
    "exchange": lambda ours, key: token_endpoint.exchange_token(ours, "at", TARGET, key),
    "client": lambda ours, key: token_endpoint.client_credentials(ours, "", key),
}


@pytest.fixture
def judge(scripted: ScriptedProvider) -> ProofJudge:
    """Stands at the token endpoint."""
    judge = ProofJudge(scripted.issuer)

    def token(asked: Asked) -> Answer:
        found = judge.judge(asked)
        issued = {"issued_token_type": token_endpoint.ISSUED_ACCESS}
        return found if isinstance(found, Answer) else judge.answering(Answer(body=BOUND | issued))

    scripted.answers["/token"] = token
    return judge


@pytest.fixture
def judge_at_userinfo(scripted: ScriptedProvider) -> ProofJudge:
    """Stands at userinfo."""
    judge = ProofJudge(scripted.issuer, resource=True)

    def userinfo(asked: Asked) -> Answer:
        scheme, _, token = asked.headers["authorization"].partition(" ")
        found = judge.judge(asked, token)
        if isinstance(found, Answer):
            return found
        return judge.answering(Answer(body={"sub": "alice", "scheme": scheme}))

    scripted.answers["/userinfo"] = userinfo
    return judge


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_every_request_for_tokens_carries_a_proof(
    make_provider: MakeProvider, judge: ProofJudge, call: Callable[..., Awaitable[Grant]]
) -> None:
    """Without `ath`, for the endpoint as it is called, of the key that was given."""
    key, ours = ProofKey.generate(), make_provider()
    for _ in range(2):
        assert (await call(ours, key)).access_token == "at"
    assert judge.faults == []
    assert len(judge.proofs) == 2


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_a_bearer_token_is_not_taken_for_a_bound_one(
    make_provider: MakeProvider,
    scripted: ScriptedProvider,
    call: Callable[..., Awaitable[Grant]],
) -> None:
    """A provider that ignores DPoP is noticed."""
    scripted.answers["/token"] = Answer(body={**BOUND, "token_type": "Bearer"})
    with pytest.raises(RefusedError) as caught:
        await call(make_provider(), ProofKey.generate())
    assert caught.value.reason == "token_not_bound"


@pytest.mark.parametrize("token_type", ["DPoP", "dpop", "dPOP"])
async def test_the_case_of_the_token_type_does_not_matter(
    make_provider: MakeProvider, scripted: ScriptedProvider, token_type: str
) -> None:
    """RFC 6749 section 5.1."""
    scripted.answers["/token"] = Answer(body={**BOUND, "token_type": token_type})
    grant = await token_endpoint.refresh(make_provider(), "rt", None, ProofKey.generate())
    assert grant.access_token == "at"


@pytest.mark.parametrize("token_type", ["DPoP", "mac", None, 5])
async def test_without_a_key_only_a_bearer_token_will_do(
    make_provider: MakeProvider, scripted: ScriptedProvider, token_type: object
) -> None:
    """A token bound to who knows what could not be used."""
    scripted.answers["/token"] = Answer(body={**BOUND, "token_type": token_type})
    with pytest.raises(RefusedError) as caught:
        await token_endpoint.refresh(make_provider(), "rt")
    assert caught.value.reason == "token_type"
    assert "dpop" not in scripted.last("/token").headers


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_a_nonce_that_is_demanded_is_used(
    make_provider: MakeProvider,
    judge: ProofJudge,
    scripted: ScriptedProvider,
    key_file: Path,
    call: Callable[..., Awaitable[Grant]],
) -> None:
    """One more request, with proof and client assertion made anew; then none more is needed."""
    judge.demands = True
    ours = make_provider(client_key_file=key_file, client_secret=None)
    for _ in range(3):
        assert (await call(ours, ProofKey.generate())).access_token == "at"
    assert (judge.faults, judge.demanded, scripted.times("/token")) == ([], 1, 4)
    assert "client_assertion" in scripted.last("/token").form


async def test_the_nonce_of_every_answer_is_used_next(
    make_provider: MakeProvider, judge: ProofJudge, scripted: ScriptedProvider
) -> None:
    """Also that of a good one: where each is good once, only the first request is sent twice."""
    judge.demands = judge.once = True
    ours = make_provider()
    for _ in range(4):
        await token_endpoint.refresh(ours, "rt", None, ProofKey.generate())
    assert (judge.faults, scripted.times("/token")) == ([], 5)


async def test_a_pushed_request_may_bring_the_first_nonce(
    make_provider: MakeProvider, judge: ProofJudge, scripted: ScriptedProvider
) -> None:
    """It is the same server, so the code is redeemed at the first attempt."""
    judge.demands = True
    fields = (("DPoP-Nonce", judge.fresh()),)
    scripted.answers["/par"] = Answer(201, {"request_uri": "urn:x"}, headers=fields)
    ours = make_provider()
    await token_endpoint.push(ours, scripted.url("/par"), {"client_id": "my-spa"})
    await CALLS["code"](ours, ProofKey.generate())
    assert (judge.faults, scripted.times("/token")) == ([], 1)


@pytest.mark.parametrize("status", [400, 401])
@pytest.mark.parametrize(
    ("error", "fields", "reason", "times"),
    [
        ("use_dpop_nonce", (("DPoP-Nonce", "n"),), "use_dpop_nonce", 2),
        ("use_dpop_nonce", (), "use_dpop_nonce", 1),
        ("use_dpop_nonce", (("DPoP-Nonce", 'a"b'),), "use_dpop_nonce", 1),
        ("use_dpop_nonce", (("DPoP-Nonce", "a"), ("DPoP-Nonce", "b")), "use_dpop_nonce", 1),
        ("invalid_dpop_proof", (("DPoP-Nonce", "n"),), "invalid_dpop_proof", 1),
    ],
)
async def test_there_is_one_more_attempt_and_only_for_a_nonce(
    make_provider: MakeProvider,
    scripted: ScriptedProvider,
    status: int,
    error: str,
    fields: tuple[tuple[str, str], ...],
    reason: str,
    times: int,
) -> None:
    """A provider that always wants another is not asked for ever."""
    scripted.answers["/token"] = Answer(status, {"error": error}, headers=fields)
    with pytest.raises(RefusedError) as caught:
        await CALLS["code"](make_provider(), ProofKey.generate())
    assert (caught.value.reason, scripted.times("/token")) == (reason, times)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(400, {"error": "invalid_grant"}), InvalidGrantError),
        (Answer(500, {"error": "use_dpop_nonce"}), ProviderUnavailableError),
        (Answer(400, b"use_dpop_nonce"), ProviderUnavailableError),
    ],
)
async def test_other_refusals_stay_what_they_are(
    make_provider: MakeProvider,
    scripted: ScriptedProvider,
    answer: Answer,
    error: type[Exception],
) -> None:
    """The nonce beside them is kept, and nothing is sent again."""
    scripted.answers["/token"] = Answer(
        answer.status, answer.body, headers=(("DPoP-Nonce", "beside"),)
    )
    ours = make_provider()
    with pytest.raises(error):
        await token_endpoint.refresh(ours, "rt", None, ProofKey.generate())
    assert scripted.times("/token") == 1
    assert ours.nonces.of(scripted.url("/token")) == "beside"


async def test_userinfo_is_asked_with_the_bound_token(
    make_provider: MakeProvider, judge_at_userinfo: ProofJudge, scripted: ScriptedProvider
) -> None:
    """`Authorization: DPoP`, and a proof with the hash of the token."""
    endpoint, key = scripted.url("/userinfo"), ProofKey.generate()
    claims = await token_endpoint.userinfo(make_provider(), endpoint, "at", "alice", key)
    assert (claims["scheme"], judge_at_userinfo.faults) == ("DPoP", [])


async def test_userinfo_has_nonces_of_its_own(
    make_provider: MakeProvider,
    judge: ProofJudge,
    judge_at_userinfo: ProofJudge,
    scripted: ScriptedProvider,
) -> None:
    """Those of the token endpoint are kept apart, though both may be at one address."""
    endpoint, key, ours = scripted.url("/userinfo"), ProofKey.generate(), make_provider()
    for each in (judge, judge_at_userinfo):
        each.demands = each.once = True
    for _ in range(3):
        await CALLS["refresh"](ours, key)
        await token_endpoint.userinfo(ours, endpoint, "at", "alice", key)
    assert (judge.demanded, judge_at_userinfo.demanded) == (1, 1)
    assert (judge.faults, judge_at_userinfo.faults) == ([], [])


@pytest.mark.parametrize("fields", [(), (("DPoP-Nonce", "n"),)])
async def test_userinfo_that_always_refuses_is_asked_no_more(
    make_provider: MakeProvider, scripted: ScriptedProvider, fields: tuple[tuple[str, str], ...]
) -> None:
    """Twice where it names a nonce, once where it does not."""
    scripted.answers["/userinfo"] = Answer(401, {}, headers=fields)
    with pytest.raises(BadTokenError):
        await token_endpoint.userinfo(
            make_provider(), scripted.url("/userinfo"), "at", "alice", ProofKey.generate()
        )
    assert scripted.times("/userinfo") == 1 + len(fields)
