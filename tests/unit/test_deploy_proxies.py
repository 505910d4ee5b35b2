"""The reverse proxies' configurations fit the program, as far as can be told without them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from bff.proxy.headers import HOP_BY_HOP, REQUEST_FAMILIES, REQUEST_NAMES
from bff.settings import Settings
from bff.web.asked import HERE, METHODS, TARGETS
from bff.web.forward_auth import KEY
from tests.support.fronts import find_programs
from tests.support.prerequisites import MissingError

DEPLOY = Path(__file__).parents[2] / "deploy"
FOLDERS = ("nginx", "caddy", "traefik", "envoy")
TOLD = {"authorization", "x-forwarded-user"}
ASKED = {name.decode() for name in TARGETS | METHODS}
WITNESSES = {"cookie", "origin", "sec-fetch-site", "x-csrf"}
SET_BY_US = {"host", "content-length", "expect", "authorization", "x-request-id"}
FILES = sorted(
    file for folder in FOLDERS for file in (DEPLOY / folder).iterdir() if file.name != "README.md"
)


def text(file: str) -> str:
    """Return a file of `deploy/`."""
    return (DEPLOY / file).read_text("utf-8")


def parsed(file: str) -> dict[str, Any]:
    """Return a YAML file of `deploy/`."""
    return cast("dict[str, Any]", yaml.safe_load(text(file)))


def directives(file: str) -> str:
    """Return a file without its comments."""
    return "\n".join(line.partition("#")[0].rstrip() for line in text(file).splitlines())


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_every_setting_that_is_named_exists(file: Path) -> None:
    """Each BFF_ variable is one of the program's."""
    known = {f"BFF_{name.upper()}" for name in Settings.model_fields}
    named = {
        name.removesuffix("_FILE") for name in re.findall(r"BFF_[A-Z_]+[A-Z]", file.read_text())
    }
    assert named <= known | {"BFF_FORWARD_AUTH_KEY"}
    if "forward-auth" in file.name:
        assert {"BFF_TRUSTED_PROXIES", "BFF_FORWARD_AUTH_KEY", "BFF_ROUTES"} <= named


@pytest.mark.parametrize(
    "file",
    ["nginx/forward-auth.conf", "caddy/forward-auth.Caddyfile", "traefik/forward-auth.yaml",
     "envoy/forward-auth.yaml"],
)  # fmt: skip
def test_each_asks_where_we_answer(file: str) -> None:
    """The address, the key's field, and what comes back are those of the code."""
    lower = directives(file).lower() + text("nginx/key.conf").lower()
    assert HERE.decode() in lower
    assert KEY.decode() in lower
    assert all(name in lower or name.replace("-", "_") in lower for name in TOLD)


@pytest.mark.parametrize(
    ("file", "removed"),
    [
        ("nginx/forward-auth.conf", r"proxy_set_header (\S+)"),
        ("traefik/forward-auth.yaml", r"(\S+): ''|(\S+): \"\""),
        ("envoy/forward-auth.yaml", r"remove: (\S+)"),
        ("caddy/forward-auth.Caddyfile", r"(?:request_header -|header_up )(\S+)"),
    ],
)
def test_no_browser_can_say_what_it_asks_for(file: str, removed: str) -> None:
    """Each field by which another proxy tells it is removed, or written by this one."""
    found = {name.lower() for names in re.findall(removed, directives(file)) for name in
             ([names] if isinstance(names, str) else names)}  # fmt: skip
    stars = tuple(name.rstrip("*") for name in found if name.endswith("*"))
    written_by_traefik = {"x-forwarded-uri", "x-forwarded-method"} if "traefik" in file else set()
    for name in ASKED | TOLD - {"x-forwarded-user"}:
        assert name in found | written_by_traefik or name.startswith(stars), name


def test_nginx_asks_about_the_bytes_that_it_sends() -> None:
    """`$request_uri`, and upstreams without a path of their own: nothing is decoded or joined."""
    for file in ("nginx/forward-auth.conf", "nginx/whole-service.conf"):
        plain = directives(file)
        assert "$uri" not in plain
        assert "rewrite" not in plain
        assert set(re.findall(r"proxy_pass (\S+);", plain)) <= {
            "http://bff", "http://api", "http://bff/bff/auth",
        }  # fmt: skip
    assert re.search(r"X-Original-URI +\$request_uri;", directives("nginx/forward-auth.conf"))
    assert re.search(r"X-Original-Method +\$request_method;", directives("nginx/forward-auth.conf"))


def test_nginx_removes_every_field_that_the_service_removes_by_name() -> None:
    """nginx knows no families, so its list has each name, and one of each family at least."""
    lines = directives("nginx/strip-headers.conf") + directives("nginx/forward-auth.conf")
    removed = {name.lower() for name in re.findall(r"proxy_set_header +(\S+)", lines)}
    for name in REQUEST_NAMES - HOP_BY_HOP - {name.encode() for name in SET_BY_US}:
        if not name.startswith((b"x-azure", b"cf-connecting-ipv6")):
            assert name.decode() in removed
    for family in (
        b"x-forwarded-",
        b"x-original-",
        b"x-auth-",
        b"x-remote-",
        b"remote-",
        b"x-user",
    ):
        assert family in REQUEST_FAMILIES
        assert any(name.encode().startswith(family) for name in removed)


def test_traefik_asks_before_it_forwards() -> None:
    """Clean, ask, clean: the key goes to the question alone, and no path is changed before it."""
    http = parsed("traefik/forward-auth.yaml")["http"]
    routers, middlewares = http["routers"], http["middlewares"]
    assert routers["api"]["middlewares"] == ["bff-before", "bff-ask", "bff-after"]
    assert routers["bff-auth"]["priority"] > routers["bff"]["priority"] > routers["api"]["priority"]
    assert routers["bff-auth"]["service"] == routers["no-tunnel"]["service"] == "noop@internal"
    assert routers["no-tunnel"]["priority"] == max(one["priority"] for one in routers.values())
    ask = middlewares["bff-ask"]["forwardAuth"]
    assert ask["trustForwardHeader"] is False
    assert {name.lower() for name in ask["authResponseHeaders"]} == TOLD
    assert ask["address"].endswith(HERE.decode())
    assert not {"authRequestHeaders", "preserveRequestMethod", "forwardBody"} & ask.keys()
    before = middlewares["bff-before"]["headers"]["customRequestHeaders"]
    after = middlewares["bff-after"]["headers"]["customRequestHeaders"]
    assert "BFF_FORWARD_AUTH_KEY" in before["X-Bff-Key"]
    assert after["X-Bff-Key"] == after["Cookie"] == before["Authorization"] == ""
    for router in routers.values():
        assert set(router.get("middlewares", [])) <= middlewares.keys()
        assert router["service"] in {*http["services"], "noop@internal"}


def test_envoy_asks_before_it_forwards() -> None:
    """Clean, ask, forward; without an answer nobody passes; the pages of /bff/ alone are exempt."""
    listener = parsed("envoy/forward-auth.yaml")["static_resources"]["listeners"][0]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    clean, ask, router = manager["http_filters"]
    assert clean["name"] == "envoy.filters.http.header_mutation"
    removed = {
        mutation["remove"]
        for mutation in clean["typed_config"]["mutations"]["request_mutations"]
        if "remove" in mutation
    }
    assert removed >= ASKED | TOLD | {KEY.decode()}
    assert manager["upgrade_configs"] == [{"upgrade_type": "websocket"}]
    config = ask["typed_config"]
    assert config["failure_mode_allow"] is False
    assert "with_request_body" not in config
    http = config["http_service"]
    assert http["path_prefix"] == HERE.decode()
    (key,) = http["authorization_request"]["headers_to_add"]
    assert key["key"] == KEY.decode()
    allowed = {pattern["exact"] for pattern in config["allowed_headers"]["patterns"]}
    assert allowed >= WITNESSES | {"sec-fetch-mode", "accept", "x-request-id", "x-forwarded-for"}
    assert not allowed & (ASKED | TOLD)
    patterns = http["authorization_response"]["allowed_upstream_headers"]["patterns"]
    assert {pattern["exact"] for pattern in patterns} == TOLD
    assert router["name"] == "envoy.filters.http.router"
    assert (
        manager["common_http_protocol_options"]["headers_with_underscores_action"] == "DROP_HEADER"
    )
    routes = manager["route_config"]["virtual_hosts"][0]["routes"]
    exempt = [route["match"] for route in routes if "typed_per_filter_config" in route]
    assert exempt == [{"path": "/bff/auth"}, {"prefix": "/bff/auth/"}, {"prefix": "/bff/"}]
    assert "cookie" in routes[-1]["request_headers_to_remove"]
    clusters = {
        one["name"] for one in parsed("envoy/forward-auth.yaml")["static_resources"]["clusters"]
    }
    assert clusters >= {route["route"]["cluster"] for route in routes if "route" in route}


def test_a_proxy_that_is_missing_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which package, and how to get it."""

    def only_nginx(name: str, path: str | None = None) -> str | None:
        return "/usr/sbin/nginx" if name == "nginx" else None

    monkeypatch.setattr(shutil, "which", only_nginx)
    with pytest.raises(MissingError, match=r"^caddy not here: `apt-get install caddy`$"):
        find_programs()
