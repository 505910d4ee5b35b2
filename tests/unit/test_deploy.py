"""The compose file, the realm and the image fit the program and each other."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from bff.proxy.route_config import parse_routes
from tests.support.env_example import ASSIGNMENTS, ROOT, load

LONG = "x" * 40
DEPLOY = ROOT / "deploy"


def compose() -> dict[str, Any]:
    document = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    return cast("dict[str, Any]", document)


def realm() -> dict[str, Any]:
    document = json.loads((DEPLOY / "keycloak" / "realm-bff.json").read_text(encoding="utf-8"))
    return cast("dict[str, Any]", document)


def the_client() -> dict[str, Any]:
    (client,) = realm()["clients"]
    return cast("dict[str, Any]", client)


def dockerfile() -> list[str]:
    """The instructions, one a line, without comments."""
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", "")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_the_realm_knows_the_addresses_of_the_service() -> None:
    """Redirect, post-logout and back-channel URIs are the base URL plus the contract's paths."""
    base_url = compose()["services"]["bff"]["environment"]["BFF_BASE_URL"]
    client = the_client()
    assert client["redirectUris"] == [f"{base_url}/bff/callback"]
    attributes = client["attributes"]
    assert attributes["post.logout.redirect.uris"] == f"{base_url}/bff/logged-out"
    assert attributes["backchannel.logout.url"] == f"{base_url}/bff/backchannel-logout"
    assert attributes["backchannel.logout.session.required"] == "true"
    assert attributes["backchannel.logout.revoke.offline.tokens"] == "false"


def test_the_client_may_do_what_the_service_does_and_no_more() -> None:
    """Code flow with PKCE S256 and client credentials; rotating refresh tokens; nothing else."""
    client = the_client()
    assert client["clientId"] == compose()["services"]["bff"]["environment"]["BFF_CLIENT_ID"]
    assert client["attributes"]["pkce.code.challenge.method"] == "S256"
    assert client["standardFlowEnabled"]
    assert client["serviceAccountsEnabled"]
    assert not client["publicClient"]
    assert not client["implicitFlowEnabled"]
    assert not client["directAccessGrantsEnabled"]
    assert (realm()["revokeRefreshToken"], realm()["refreshTokenMaxReuse"]) == (True, 0)


def test_every_scope_that_is_asked_for_exists_in_the_realm() -> None:
    """The scopes of the compose file are client scopes that the client has."""
    asked = set(compose()["services"]["bff"]["environment"]["BFF_SCOPES"].split()) - {"openid"}
    defined = {scope["name"] for scope in realm()["clientScopes"]}
    assert asked <= set(the_client()["defaultClientScopes"]) <= defined


def test_tokens_say_who_and_what_for() -> None:
    """Access tokens are what the demo API asks for: type, `sub`, `aud`, `client_id`, `roles`."""
    services = compose()["services"]
    (audience,) = (a.partition("=")[2] for a in services["api"]["command"] if "audience" in a)
    mappers = {
        mapper["protocolMapper"]: mapper["config"] for mapper in the_client()["protocolMappers"]
    }
    assert mappers["oidc-audience-mapper"]["included.custom.audience"] == audience
    assert the_client()["attributes"]["access.token.header.type.rfc9068"] == "true"
    client_id = mappers["oidc-hardcoded-claim-mapper"]
    assert client_id["claim.name"] == "client_id"
    assert client_id["claim.value"] == the_client()["clientId"]
    roles = mappers["oidc-usermodel-realm-role-mapper"]
    assert roles["claim.name"] == "roles"
    assert roles["access.token.claim"] == roles["id.token.claim"] == "true"
    assert roles["userinfo.token.claim"] == "true"
    basic = next(scope for scope in realm()["clientScopes"] if scope["name"] == "basic")
    assert "oidc-sub-mapper" in {mapper["protocolMapper"] for mapper in basic["protocolMappers"]}


def test_all_parts_mean_the_same_issuer() -> None:
    """Keycloak's own address, the service and the API agree on the issuer, on a loopback host."""
    services = compose()["services"]
    issuer = services["bff"]["environment"]["BFF_ISSUER"]
    assert (
        issuer == f"{services['keycloak']['environment']['KC_HOSTNAME']}/realms/{realm()['realm']}"
    )
    assert f"--issuer={issuer}" in services["api"]["command"]
    assert {services[name]["network_mode"] for name in ("bff", "api", "keycloak")} == {
        "service:pod"
    }


def test_the_compose_file_sets_only_variables_that_are_explained() -> None:
    """Every variable that the compose file gives the service stands in `.env.example`."""
    given = compose()["services"]["bff"]["environment"]
    assert {name for name in given if name.startswith("BFF_")} <= {name for name, _ in ASSIGNMENTS}


def test_the_compose_configuration_loads(tmp_path: Path) -> None:
    """With its secrets in place, what the compose file says is a configuration without a fault."""
    given = dict(compose()["services"]["bff"]["environment"])
    contents = {"redis_url": "redis://:password@redis:6379/0"}
    for name in [name for name in given if name.endswith("_FILE")]:
        file = tmp_path / Path(given[name]).name
        file.write_text(contents.get(file.name, LONG) + "\n", encoding="utf-8")
        given[name] = str(file)
    source = compose()["services"]["bff"]["volumes"][0].partition(":")[0]
    given["BFF_SPA"] = str((DEPLOY / source).resolve())
    settings = load(tmp_path, *(f"{name}={value}" for name, value in given.items()))
    assert len(parse_routes(settings.routes)) == 2


def test_everything_is_published_on_loopback_only() -> None:
    """No port is opened to other machines, and Redis has none at all."""
    services = compose()["services"]
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert services["redis"]["networks"] == ["store"]
    assert compose()["networks"]["store"]["internal"]


@pytest.mark.parametrize("name", sorted(compose()["services"]))
def test_every_container_has_as_few_rights_as_it_can(name: str) -> None:
    """No capability, no new privilege; a read-only file system wherever the image can bear it."""
    service = compose()["services"][name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service.get("read_only", False) == (name != "keycloak")


def test_redis_keeps_sessions_and_asks_for_a_password() -> None:
    """Persistence, no eviction, and a password that stands in no command line."""
    redis = compose()["services"]["redis"]
    (script,) = redis["command"]
    command_line = script.partition("<<EOF")[0]
    for words in ("--appendonly yes", "--maxmemory 256mb", "--maxmemory-policy noeviction"):
        assert words in command_line
    assert "requirepass" in script
    assert "requirepass" not in command_line
    assert "redis-cli ping" in redis["healthcheck"]["test"][1]
    assert " -a " not in redis["healthcheck"]["test"][1]


def test_secrets_are_files_that_git_ignores() -> None:
    """Every secret is a file in `deploy/secrets/`, which git ignores; none is written down here."""
    for secret in compose()["secrets"].values():
        assert Path(secret["file"]).parent == Path("secrets")
    assert "deploy/secrets/" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert re.fullmatch(r"\$\{\w+\}", the_client()["secret"])


def test_the_image_is_built_in_stages_and_keeps_the_result_only() -> None:
    """Two stages on one base; the last one takes nothing but the environment from the first."""
    lines = dockerfile()
    stages = [line.split() for line in lines if line.startswith("FROM ")]
    assert [stage[1] for stage in stages] == ["python:3.13-slim"] * 2
    last = lines[[line.startswith("FROM ") for line in lines].index(True, 1) :]
    assert [line for line in last if line.startswith(("COPY ", "ADD "))] == [
        "COPY --from=build /opt/venv /opt/venv"
    ]
    assert any("uv sync --frozen --no-dev --no-editable" in line for line in lines)


def test_the_image_runs_as_a_number_without_a_shell() -> None:
    """A numeric user that is not root; entry point, command and health check in exec form."""
    lines = dockerfile()
    (user,) = (line.split()[1] for line in lines if line.startswith("USER "))
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    assert 'ENTRYPOINT ["bff"]' in lines
    assert 'CMD ["serve", "--host", "0.0.0.0"]' in lines
    (check,) = (line for line in lines if line.startswith("HEALTHCHECK "))
    command = json.loads(check.partition(" CMD ")[2])
    assert command[0] == "python"
    compile(command[-1], "HEALTHCHECK", "exec")
    assert "/bff/healthz" in command[-1]


def test_only_what_the_image_is_made_of_reaches_the_build() -> None:
    """Everything is shut out, then just the files that the Dockerfile copies are let in."""
    text = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8")
    rules = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert rules[0] == "*"
    copied: set[str] = set()
    for line in dockerfile():
        if line.startswith("COPY ") and "--from" not in line:
            copied |= set(line.split()[1:-1])
    assert {rule.removeprefix("!") for rule in rules if rule.startswith("!")} == copied
