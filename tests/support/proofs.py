"""Servers that take only tokens bound to a key, and judge every proof of it (RFC 9449 4.3).

Proofs are verified with joserfc. Whatever is wrong with one stands in `faults`, so that a test sees
it even where the client made something of the refusal. Nonces have odd characters; those that are
good `once` change with every answer, the good ones too.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from tests.support import jose
from tests.support.minting import Minting
from tests.support.scripted_provider import Answer, Asked, Script, ScriptedProvider

NUMBERS = count(1)
RECENT = 60.0


@dataclass
class ProofJudge:
    """Judges the proofs that come to one server. `demands`: they need one of its nonces.

    `resource`: it is an API, which demands them by a challenge. `proofs` are the claims of all.
    """

    url: str
    resource: bool = False
    demands: bool = False
    once: bool = False
    proofs: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    faults: list[str] = field(default_factory=list[str])
    nonces: set[str] = field(default_factory=set[str])
    seen: set[str] = field(default_factory=set[str])
    demanded: int = 0

    def judge(self, asked: Asked, access_token: str | None = None) -> str | Answer:
        """Return the thumbprint of the key, or what is answered instead."""
        try:
            jkt, claims = self._verified(asked, access_token)
        except (AssertionError, JoseError, KeyError, ValueError) as error:
            self.faults.append(f"{asked.method} {asked.target}: {error!r}")
            return self._refusal("invalid_dpop_proof")
        self.proofs.append(claims)
        nonce = claims.get("nonce")
        if self.demands and nonce not in self.nonces:
            self.demanded += 1
            return self._refusal("use_dpop_nonce", self.fresh())
        if self.once:
            self.nonces.discard(str(nonce))
        return jkt

    def fresh(self) -> str:
        """Return a new nonce."""
        nonce = f"{'api' if self.resource else 'id'}-{next(NUMBERS)}~!#$%&'()*+,/:;<=>?@[]^`{{|}}"
        self.nonces.add(nonce)
        return nonce

    def answering(self, answer: Answer) -> Answer:
        """Return an answer with the next nonce, where each is good once."""
        if not self.once:
            return answer
        return replace(answer, headers=(*answer.headers, ("DPoP-Nonce", self.fresh())))

    def _verified(self, asked: Asked, access_token: str | None) -> tuple[str, dict[str, Any]]:
        proof = asked.headers["dpop"]
        header = json.loads(jose.unb64(proof.partition(".")[0]))
        assert header.keys() == {"typ", "alg", "jwk"}, "header"
        assert (header["typ"], header["alg"]) == ("dpop+jwt", "ES256"), "typ or alg"
        assert header["jwk"].keys() == {"kty", "crv", "x", "y"}, "not a public key"
        key = ECKey.import_key(header["jwk"])
        claims = jwt.decode(proof, key, algorithms=["ES256"]).claims
        assert claims["jti"] not in self.seen, "jti twice"
        self.seen.add(claims["jti"])
        assert claims["htm"] == asked.method, "htm"
        assert claims["htu"] == self.url + asked.target.partition("?")[0], "htu"
        assert abs(claims["iat"] - time.time()) < RECENT, "iat"
        ath = None
        if access_token is not None:
            ath = jose.b64(hashlib.sha256(access_token.encode()).digest())
        assert claims.get("ath") == ath, "ath"
        self._check_assertion(asked)
        return key.thumbprint(), claims

    def _check_assertion(self, asked: Asked) -> None:
        """A client assertion, too, is good once."""
        assertion = None if self.resource else asked.form.get("client_assertion")
        if assertion is not None:
            jti = json.loads(jose.unb64(assertion.split(".")[1]))["jti"]
            assert jti not in self.seen, "client assertion twice"
            self.seen.add(jti)

    def _refusal(self, error: str, nonce: str | None = None) -> Answer:
        fields = [] if nonce is None else [("DPoP-Nonce", nonce)]
        if self.resource:
            challenge = f'dPoP error="{error}", algs="ES256"'
            return Answer(401, {}, headers=(("WWW-Authenticate", challenge), *fields))
        return Answer(400, {"error": error}, headers=tuple(fields))


@dataclass
class BoundProvider:
    """A minting provider whose tokens are bound: code and refresh token to the key of the login."""

    minting: Minting
    judge: ProofJudge
    token_type: str = "dPOP"
    keys: dict[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        """Stand before the token endpoint."""
        provider = self.minting.provider
        self._mints = provider.answers["/token"]
        provider.answers["/token"] = self._token

    async def _token(self, asked: Asked) -> Answer:
        jkt = self.judge.judge(asked)
        if isinstance(jkt, Answer):
            return jkt
        form = asked.form
        family = self.minting.codes.get(form.get("code", ""))
        family = family or self.minting.families.get(form.get("refresh_token", ""))
        if family is not None and family.jkt != jkt:
            self.judge.faults.append("a key of another session")
            return Answer(400, {"error": "invalid_grant"})
        if form["grant_type"] == "client_credentials":
            answer = Answer(body={"access_token": f"own-{next(NUMBERS)}", "expires_in": 300})
        else:
            answer = await said(self._mints, asked)
        if answer.status == 200:
            self.keys[answer.body["access_token"]] = jkt
            answer = replace(answer, body={**answer.body, "token_type": self.token_type})
        return self.judge.answering(answer)


@dataclass
class BoundApi:
    """An upstream that takes the tokens of a provider, each with a proof of its key."""

    server: ScriptedProvider
    keys: dict[str, str]
    judge: ProofJudge
    stale: set[str] = field(default_factory=set[str])
    came: list[str] = field(default_factory=list[str])

    def guard(self, script: Script) -> Callable[[Asked], Awaitable[Answer]]:
        """Return a script that runs for whoever proves the key of his token."""

        async def answer(asked: Asked) -> Answer:
            scheme, _, token = asked.headers.get("authorization", "").partition(" ")
            if scheme != "DPoP":
                self.judge.faults.append(f"scheme {scheme!r}")
                return Answer(401, {}, headers=(("WWW-Authenticate", 'DPoP algs="ES256"'),))
            jkt = self.judge.judge(asked, token)
            if isinstance(jkt, Answer):
                return jkt
            if token in self.stale or self.keys.get(token) != jkt:
                challenge = 'Bearer error="invalid_token", DPoP error="invalid_token"'
                return self.judge.answering(
                    Answer(401, {}, headers=(("WWW-Authenticate", challenge),))
                )
            self.came.append(token)
            return self.judge.answering(await said(script, asked))

        return answer


async def said(script: Script, asked: Asked) -> Answer:
    """Return what a script answers."""
    if isinstance(script, Answer):
        return script
    answer = script(asked)
    return answer if isinstance(answer, Answer) else await answer
