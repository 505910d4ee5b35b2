"""What BFF_REDIS_URL may say, and that a bad one quotes nothing of itself."""

from __future__ import annotations

import ssl
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio.connection import SSLConnection, UnixDomainSocketConnection

from bff.sessions.redis import connect
from bff.sessions.redis_clients import nodes_of
from bff.sessions.redis_url import RedisUrl, parse
from tests.support.certificates import loopback_certificate
from tests.support.processes import free_port


def test_a_server() -> None:
    """Host, port, database, user and password; a path for a unix socket."""
    assert parse("redis://h:7000/3") == RedisUrl("server", {"host": "h", "port": 7000, "db": 3})
    assert parse("unix:///run/redis.sock?db=2").options == {
        "path": "/run/redis.sock", "db": 2, "connection_class": UnixDomainSocketConnection,
    }  # fmt: skip
    options = parse("rediss://u:p@h/0?ssl_ca_certs=/ca.pem").options
    assert options["connection_class"] is SSLConnection
    assert (options["username"], options["password"], options["ssl_ca_certs"]) == (
        "u", "p", "/ca.pem",
    )  # fmt: skip


def test_a_sentinel_service() -> None:
    """Hosts with and without ports, a service, a database; passwords of both kinds."""
    found = parse("redis+sentinel://u:p@a:1,b,[::1]:2/main/4?sentinel_password=s")
    assert found.form == "sentinel"
    assert found.nodes == (("a", 1), ("b", 26379), ("::1", 2))
    assert found.service == "main"
    assert found.options == {"username": "u", "password": "p", "db": 4}
    assert found.sentinel_options == {"username": None, "password": "s"}
    found = parse("rediss+sentinel://a/main?ssl_ca_certs=/ca.pem")
    tls = {"ssl": True, "ssl_ca_certs": "/ca.pem"}
    assert found.options == {"db": 0, **tls}
    assert found.sentinel_options == {"username": None, "password": None, **tls}


def test_a_cluster() -> None:
    """Hosts with and without ports; what is said of connections holds for every node."""
    found = parse("rediss+cluster://:p@a:1,b?ssl_ca_certs=/ca.pem")
    assert (found.form, found.nodes) == ("cluster", (("a", 1), ("b", 6379)))
    assert found.options == {
        "password": "p", "ssl_ca_certs": "/ca.pem", "connection_class": SSLConnection,
    }  # fmt: skip
    assert parse("redis+cluster://a/0").nodes == (("a", 6379),)


@pytest.mark.parametrize("form", ["redis://{}h", "redis+sentinel://{}h/m", "redis+cluster://{}h"])
@given(user=st.text(min_size=1), password=st.text(min_size=1))
def test_user_and_password_may_hold_anything(form: str, user: str, password: str) -> None:
    """Percent-encoded, they come out as they were."""
    url = form.format(f"{quote(user, safe='')}:{quote(password, safe='')}@")
    options = parse(url).options
    assert (options["username"], options["password"]) == (user, password)


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://a:1", "redis+sentinel:///main", "redis+sentinel://a/main/one",
        "redis+cluster://", "redis+cluster://,", "redis+cluster://a/3", "redis+cluster://a:port",
        "redis+sentinel://a:pass/word@b/main", "redis://:pass/word@h/0", "redis://h:99999/0",
        "redis://h/0?socket_timeout=soon", "redis://h/0?retry_on=x", "redis+cluster://h?pass=word",
        "rediss://h/0?ssl_cert_reqs=word", "redis+sentinel://h/main?pass=word",
    ],
)  # fmt: skip
def test_what_names_no_redis_is_refused(url: str) -> None:
    """Before anything is sent, with a text that may be printed."""
    with pytest.raises(ValueError, match=r"\w") as refusal:
        connect(url)
    assert "word" not in str(refusal.value).replace("password", "")
    assert "pass/" not in str(refusal.value)


def test_a_url_taken_apart_does_not_show_its_secrets() -> None:
    """Not where somebody prints it."""
    for url in ("redis://:hush@h", "redis+sentinel://:hush@h/m?sentinel_password=hush"):
        assert "hush" not in repr(parse(url))


async def test_connections_share_a_tls_context(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many connections read the certification authorities once, and again after a minute."""
    authority, _, _ = loopback_certificate(tmp_path_factory.mktemp("tls"))
    for url in (
        f"rediss://127.0.0.1:{free_port()}/0", f"rediss+sentinel://127.0.0.1:{free_port()}/m",
        f"rediss+cluster://127.0.0.1:{free_port()}",
    ):  # fmt: skip
        pool: Any = nodes_of(f"{url}?ssl_ca_certs={authority}").client.connection_pool
        made = [pool.make_connection() for _ in range(10)]
        contexts = {id(one._connection_arguments()["ssl"]) for one in made}
        assert len(contexts) == 1
        context = made[0]._connection_arguments()["ssl"]
        assert context.verify_mode == ssl.CERT_REQUIRED
        assert context.check_hostname
        monkeypatch.setattr("bff.sessions.redis_tls.LASTS", 0)
        assert made[0]._connection_arguments()["ssl"] is not context
        monkeypatch.undo()
