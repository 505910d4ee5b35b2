from __future__ import annotations

from bff.demo.provider.keys import PUBLISHED
from tests.unit.demo.driver import Driver


async def test_discovery_is_honest(driver: Driver) -> None:
    """The metadata names the issuer exactly, and every endpoint it names is there."""
    metadata = (await driver.http.get("/.well-known/openid-configuration")).json()
    assert metadata["issuer"] == driver.issuer
    assert metadata["authorization_response_iss_parameter_supported"] is True
    assert metadata["backchannel_logout_supported"] is True
    assert metadata["backchannel_logout_session_supported"] is True
    assert metadata["code_challenge_methods_supported"] == ["S256"]
    assert metadata["id_token_signing_alg_values_supported"] == ["RS256"]
    endpoints = [metadata[name] for name in metadata if name.endswith("_endpoint")]
    for url in [*endpoints, metadata["jwks_uri"]]:
        assert (await driver.http.get(url)).status_code != 404


async def test_the_claims_listed_are_those_given(driver: Driver) -> None:
    """Every claim that arrives is listed in the metadata."""
    metadata = (await driver.http.get("/.well-known/openid-configuration")).json()
    tokens = await driver.sign_in()
    given = set((await driver.verified(tokens["id_token"])).claims)
    given |= set((await driver.userinfo(tokens["access_token"])).json())
    assert given == set(metadata["claims_supported"])


async def test_published_keys_are_public(driver: Driver) -> None:
    """The JWK Set holds no private part, and each key says what it is for."""
    for key in (await driver.http.get("/jwks")).json()["keys"]:
        assert set(key) == {"kty", "n", "e", "kid", "use", "alg"}
        assert (key["use"], key["alg"]) == ("sig", "RS256")


async def test_rotation_signs_with_a_new_key_and_keeps_the_old(driver: Driver) -> None:
    """After a rotation new tokens have a new kid, and old ones still verify."""
    before = (await driver.sign_in())["id_token"]
    assert (await driver.http.post("/dev/rotate-keys")).status_code == 200
    after = (await driver.sign_in())["id_token"]
    old, new = await driver.verified(before), await driver.verified(after)
    assert old.header["kid"] != new.header["kid"]


async def test_old_keys_go_in_the_end(driver: Driver) -> None:
    """The JWK Set does not grow without end."""
    for _ in range(PUBLISHED + 1):
        await driver.http.post("/dev/rotate-keys")
    assert len((await driver.http.get("/jwks")).json()["keys"]) == PUBLISHED
