"""A provider that enforces what the FAPI 2.0 Security Profile asks of a client, and an API with it.

The variant is private_key_jwt and DPoP. Each request is judged as the certification suite judges
it; what is wrong is kept in `faults` and the request refused. A test that ends with no faults has
seen none. Every server demands nonces of its own.

Source: FAPI 2.0 Security Profile 5.3.3, RFC 7523, RFC 9126, RFC 9449.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2

from bff.oidc.keys import BadTokenError, import_keys, verify
from tests.hostile.rig import CLIENT_ID, Rig, open_rig
from tests.support import jose
from tests.support.proofs import ProofJudge, said
from tests.support.scripted_provider import (
    Answer,
    Asked,
    Script,
    ScriptedProvider,
    scripted_provider,
)

BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass
class Fapi:
    """The rig, its API, and what the provider found wrong."""

    rig: Rig
    api: ScriptedProvider
    published: dict[str, Any] = field(default_factory=dict[str, Any])
    faults: list[str] = field(default_factory=list[str])
    seen: set[str] = field(default_factory=set[str])
    pushed: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    numbers: count[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        """Have a judge of proofs for each server, with nonces of its own."""
        origin = self.rig.provider.issuer.rstrip("/")
        self.at_token = ProofJudge(origin, demands=True)
        self.at_userinfo = ProofJudge(origin, resource=True, demands=True)
        self.at_api = ProofJudge(self.api.issuer, resource=True, demands=True)
        self.judges = (self.at_token, self.at_userinfo, self.at_api)

    def enforce(self) -> None:
        """Judge what comes to the provider before it is answered."""
        answers = self.rig.provider.answers
        redeem = answers["/token"]

        async def token(asked: Asked) -> Answer:
            if not self._authenticated(asked):
                return Answer(401, {"error": "invalid_client"})
            proven = self.at_token.judge(asked)
            return proven if isinstance(proven, Answer) else await said(redeem, asked)

        answers["/token"] = token
        answers["/par"] = self._push
        answers["/userinfo"] = self.guarded(self.at_userinfo, answers["/userinfo"])

    def guarded(self, judge: ProofJudge, script: Script) -> Script:
        """Return a script for who comes with a token and a proof of its key."""

        async def answer(asked: Asked) -> Answer:
            scheme, _, token = asked.headers.get("authorization", "").partition(" ")
            if scheme != "DPoP":
                self.faults.append(f"{asked.target}: scheme {scheme}")
                return Answer(401, {}, headers=(("WWW-Authenticate", 'DPoP algs="ES256"'),))
            proven = judge.judge(asked, token)
            return proven if isinstance(proven, Answer) else await said(script, asked)

        return answer

    def all_faults(self) -> list[str]:
        """Return what was wrong at any server."""
        return [*self.faults, *(fault for judge in self.judges for fault in judge.faults)]

    def check_redirect(self, location: str) -> None:
        """Note what is wrong with the address that the browser was sent to."""
        query = parse_qs(urlsplit(location).query)
        if query.keys() != {"client_id", "request_uri"} or query["client_id"] != [CLIENT_ID]:
            self.faults.append("more than client_id and request_uri in the address")
        if query.get("request_uri", [""])[0] not in self.pushed:
            self.faults.append("a request_uri that was not pushed")

    def _push(self, asked: Asked) -> Answer:
        if not self._authenticated(asked):
            return Answer(401, {"error": "invalid_client"})
        form = asked.form
        wanted = {"response_type": "code", "code_challenge_method": "S256", "client_id": CLIENT_ID}
        if any(form.get(name) != value for name, value in wanted.items()):
            self.faults.append("a request that is not for a code with S256")
        if "request_uri" in form or "client_secret" in form:
            self.faults.append("a pushed request with what must not be in it")
        if len(form.get("nonce", "")) != 43 or len(form.get("state", "")) > 128:
            self.faults.append("a nonce or state of the wrong length")
        request_uri = f"urn:ietf:params:oauth:request_uri:{next(self.numbers)}"
        self.pushed[request_uri] = form
        return Answer(201, {"request_uri": request_uri, "expires_in": 60})

    def _authenticated(self, asked: Asked) -> bool:
        form, now = asked.form, time.time()
        try:
            token = verify(form["client_assertion"], "PS256", import_keys(self.published)[0])
        except (KeyError, BadTokenError) as error:
            self.faults.append(f"{asked.target}: no assertion of ours: {error}")
            return False
        claims = token.claims
        wrong = [
            name
            for name, good in {
                "type": form.get("client_assertion_type") == BEARER,
                "iss": claims.get("iss") == CLIENT_ID == claims.get("sub"),
                "aud": claims.get("aud") == self.rig.provider.issuer,
                "jti": isinstance(claims.get("jti"), str) and claims["jti"] not in self.seen,
                "exp": now < claims.get("exp", 0) <= now + 86_400,
                "iat": abs(now - claims.get("iat", 0)) < 300,
                "other authentication": "authorization" not in asked.headers,
            }.items()
            if not good
        ]
        self.seen.add(str(claims.get("jti")))
        self.faults.extend(f"{asked.target}: assertion: {name}" for name in wrong)
        return not wrong


def profile(provider: ScriptedProvider) -> None:
    """Publish what the profile wants, and decoys that have the name of the right key (T2, T5)."""
    provider.keys = [
        jose.jwk(jose.ec(), kid="one", use="sig"),
        jose.jwk(jose.rsa("decoy"), kid="one", use="sig", alg="RS256"),
        jose.jwk(jose.rsa("encryption"), kid="one", use="enc"),
        jose.jwk(jose.rsa(), kid="one", use="sig", alg="PS256"),
    ]
    provider.answers["/par"] = Answer(500, {})
    provider.metadata |= {
        "pushed_authorization_request_endpoint": provider.url("/par"),
        "require_pushed_authorization_requests": True,
        "authorization_response_iss_parameter_supported": True,
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "id_token_signing_alg_values_supported": ["none", "RS256", "PS256"],
    }


@contextlib.asynccontextmanager
async def open_fapi(folder: Path) -> AsyncIterator[Fapi]:
    """Run a service with a key of its own at such a provider."""
    file = folder / "client-keys.json"
    key = {**jose.rsa("client").as_dict(private=True), "kid": "ours", "use": "sig", "alg": "PS256"}
    file.write_text(json.dumps({"keys": [key]}))
    async with scripted_provider() as api:
        env = {
            "BFF_CLIENT_AUTH": "private_key_jwt",
            "BFF_CLIENT_KEY_FILE": str(file),
            "BFF_ID_TOKEN_ALG": "PS256",
            "BFF_DPOP": "true",
            "BFF_ROUTES": json.dumps({"/api": api.issuer}),
        }
        async with open_rig(folder, env, prepare=profile) as rig:
            made = Fapi(rig, api)
            async with httpx2.AsyncClient(trust_env=False) as client:
                answered = await client.get(f"{rig.service.base_url}/bff/jwks.json")
            made.published = answered.json()
            made.enforce()
            yield made
