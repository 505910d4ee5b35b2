"""nginx and Caddy as reverse proxies, started with the very files of `deploy/`.

Only addresses, the certificate and the key are put in; each of them must be found in the file, so
that a file that changes is noticed here.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.certificates import loopback_certificate
from tests.support.prerequisites import MissingError
from tests.support.processes import PATIENCE, DidNotStartError, Process

DEPLOY = Path(__file__).parents[2] / "deploy"
NAME = "app.example.com"
PROGRAMS = ("nginx", "caddy")
KINDS = tuple((program, kind) for program in PROGRAMS for kind in ("whole-service", "forward-auth"))
NGINX = """
daemon off;
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/bff.conf;
}}
"""
CADDY = """
{{
	admin off
	auto_https disable_redirects
	local_certs
	skip_install_trust
	default_bind 127.0.0.1
	storage file_system {folder}
}}
"""


@dataclass(frozen=True)
class Places:
    """Where things are: ports of loopback, and the key of forward-auth."""

    port: int
    service: int
    upstream: int
    key: str

    @property
    def origin(self) -> str:
        """What the browser sees."""
        return f"https://localhost:{self.port}"


def find_programs() -> dict[str, str]:
    """Return the paths of nginx and Caddy. Raises MissingError."""
    found = {name: _which(name) for name in PROGRAMS}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        names = " ".join(missing)
        raise MissingError(f"{names} not here: `apt-get install {names}`")
    return {name: path for name, path in found.items() if path is not None}


@contextlib.contextmanager
def front(program: str, kind: str, places: Places, folder: Path) -> Iterator[ssl.SSLContext]:
    """Run a reverse proxy; give what a browser must trust to reach it."""
    configure = _nginx if program == "nginx" else _caddy
    command, authority = configure(find_programs()[program], kind, places, folder)
    with (folder / "output.log").open("wb") as output:
        popen = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "HOME": str(folder), "BFF_FORWARD_AUTH_KEY": places.key},
            start_new_session=True,
        )
    process = Process(popen, folder / "output.log")
    try:
        yield _until_it_answers(process, places, authority)
    finally:
        process.stop()


def _nginx(path: str, kind: str, places: Places, folder: Path) -> tuple[list[str], Path]:
    authority, certificate, key = loopback_certificate(folder)
    text = _with_addresses((DEPLOY / "nginx" / f"{kind}.conf").read_text("utf-8"), places)
    text = _put(text, "listen 443 ssl", f"listen 127.0.0.1:{places.port} ssl")
    text = _put(text, f"server_name {NAME}", "server_name localhost")
    text = _put(text, f"/etc/ssl/{NAME}.pem", str(certificate))
    text = _put(text, f"/etc/ssl/{NAME}.key", str(key))
    if kind == "forward-auth":
        text = _put(text, "/etc/nginx/bff/", f"{folder}/")
        shutil.copy(DEPLOY / "nginx" / "strip-headers.conf", folder)
        told = (DEPLOY / "nginx" / "key.conf").read_text("utf-8")
        told = _put(told, "replace this by the output of bff secret", places.key)
        (folder / "key.conf").write_text(told)
    (folder / "bff.conf").write_text(text)
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, user=user))
    return [path, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"], authority


def _caddy(path: str, kind: str, places: Places, folder: Path) -> tuple[list[str], Path]:
    text = _with_addresses((DEPLOY / "caddy" / f"{kind}.Caddyfile").read_text("utf-8"), places)
    text = _put(text, f"\n{NAME} {{", f"\n{places.origin} {{")
    file = folder / "Caddyfile"
    file.write_text(CADDY.format(folder=folder) + text)
    command = [path, "run", "--config", str(file), "--adapter", "caddyfile"]
    return command, folder / "pki" / "authorities" / "local" / "root.crt"


def _with_addresses(text: str, places: Places) -> str:
    text = _put(text, "127.0.0.1:8080", f"127.0.0.1:{places.service}")
    return text.replace("127.0.0.1:9000", f"127.0.0.1:{places.upstream}")


def _put(text: str, old: str, new: str) -> str:
    assert old in text, f"{old!r} is not in the file any more"
    return text.replace(old, new)


def _which(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _until_it_answers(process: Process, places: Places, authority: Path) -> ssl.SSLContext:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if process.popen.poll() is not None:
            break
        with contextlib.suppress(OSError):
            context = ssl.create_default_context(cafile=str(authority))
            with (
                socket.create_connection(("127.0.0.1", places.port), 5) as connection,
                context.wrap_socket(connection, server_hostname="localhost"),
            ):
                return context
        time.sleep(0.03)
    raise DidNotStartError(process.text())
