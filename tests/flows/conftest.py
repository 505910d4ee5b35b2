"""A running service that the tests of one module share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.site import Site, open_site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The service at a dev provider, with an upstream behind `/api` and `/open`."""
    with open_site(tmp_path_factory.mktemp("site")) as site:
        yield site
