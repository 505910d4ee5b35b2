"""A running service that the tests of one module share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.open_proxy import OpenProxy, open_proxy
from tests.support.site import Site, open_site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The service at a dev provider, with an upstream behind `/api` and `/open`."""
    with open_site(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture(scope="session")
def proxy(redis_process: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenProxy]:
    """The service with open routes to scripted upstreams, without a provider."""
    routes: dict[str, dict[str, object]] = {
        "/open": {},
        "/quick": {"timeout": 1.5},
        "/named": {
            "pass_request_headers": ["X-User-Locale"],
            "pass_response_headers": ["Clear-Site-Data"],
        },
        "/several": {"upstream": [1, 2], "timeout": 5},
        "/circuit": {"upstream": 3, "circuit": 2, "timeout": 1},
        # For paths: each route has a base path of its own, so that its upstream tells which it was.
        "/paths": {"upstream": "4/root"},
        "/paths/admin": {"upstream": "4/admin"},
        "/paths/a@b": {"upstream": "4/at"},
        "/paths/strip": {"upstream": "4/stripped", "strip_prefix": True},
    }
    folder = tmp_path_factory.mktemp("proxy")
    with open_proxy(folder, redis_process, routes, upstreams=5) as made:
        yield made
