"""What stands around the service: the upstream, and the two proxies that it is compared with.

The upstream is nginx; it answers 750 bytes of JSON, and only to a request with a bearer token. The
bare proxy is nginx too, with keep-alive both ways, and puts one constant token into every request:
nothing that forwards a request with a token can be much cheaper. Apache carries mod_auth_openidc
with its sessions in Redis, one virtual host for each provider.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.bench.machine import BINARIES, family, pinned
from tests.support.processes import Process, free_port

BODY_SIZE = 750
PATIENCE = 20.0
TOKEN = "Bearer " + "x" * 700  # as long as the dev provider's
APACHE_COOKIE = "mod_auth_openidc_session"
MODULES = (
    "mpm_event", "authn_core", "authz_core", "authz_user", "headers", "proxy", "proxy_http",
    "auth_openidc",
)  # fmt: skip

NGINX = """\
daemon off;
worker_processes {workers};
worker_rlimit_nofile 8192;
pid {folder}/nginx-{port}.pid;
error_log {folder}/nginx-{port}.log warn;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 600s;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
{http}
}}
"""
UPSTREAM = """\
  map $http_authorization $signed_in {{ default 0; "~^Bearer ......" 1; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    default_type application/json;
    location = /count {{ stub_status; }}
    location = /api/token {{ return 200 "$http_authorization"; }}
    location / {{
      if ($signed_in = 0) {{ return 401; }}
      return 200 '{body}';
    }}
  }}"""
BARE = """\
  upstream api {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://api;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Authorization "{token}";
    }}
  }}"""
APACHE = """\
ServerRoot "{folder}"
ServerName 127.0.0.1
PidFile "{folder}/apache.pid"
DefaultRuntimeDir "{folder}"
ErrorLog "{folder}/apache.log"
LogLevel warn
{modules}
User www-data
Group www-data
ServerLimit 1
StartServers 1
ThreadsPerChild 64
MaxRequestWorkers 64
KeepAlive On
MaxKeepAliveRequests 0
KeepAliveTimeout 600
OIDCCryptoPassphrase "a passphrase of the benchmark's"
OIDCSessionType server-cache
OIDCCacheType redis
OIDCRedisCacheServer 127.0.0.1:{redis}
OIDCRedisCacheDatabase 1
OIDCSessionInactivityTimeout 1800
OIDCPassClaimsAs environment
OIDCStripCookies {cookie}
{hosts}
"""
APACHE_HOST = """\
Listen 127.0.0.1:{port}
<VirtualHost 127.0.0.1:{port}>
  OIDCProviderMetadataURL {issuer}/.well-known/openid-configuration
  OIDCClientID "{client_id}"
  OIDCClientSecret "{client_secret}"
  OIDCProviderTokenEndpointAuth client_secret_post
  OIDCPKCEMethod S256
  OIDCScope "{scope}"
  OIDCRedirectURI http://127.0.0.1:{port}/callback
  <Location />
    AuthType openid-connect
    Require valid-user
    RequestHeader set Authorization "expr=Bearer %{{reqenv:OIDC_access_token}}"
  </Location>
  ProxyPass /callback !
  ProxyPass / http://127.0.0.1:{upstream}/
</VirtualHost>"""


@dataclass(frozen=True)
class Server:
    """A server of somebody else's that runs."""

    url: str
    process: Process

    @property
    def pids(self) -> list[int]:
        """Its processes."""
        return family(self.process.popen.pid)


@dataclass(frozen=True)
class Registration:
    """How mod_auth_openidc is registered at a provider, and on which port it is reached."""

    port: int
    issuer: str
    client_id: str
    client_secret: str
    scope: str


def json_body() -> str:
    """Return what the upstream answers: a list of orders, 750 bytes long."""
    orders = [
        {"id": 1000 + n, "item": f"Article number {n}", "quantity": n % 3 + 1, "price": "12.50"}
        for n in range(9)
    ]
    text = json.dumps({"orders": orders, "note": ""})
    return json.dumps({"orders": orders, "note": "x" * (BODY_SIZE - len(text))})


def upstream(stack: ExitStack, folder: Path, on: frozenset[int]) -> Server:
    """Start the upstream; it is ended with the stack."""
    port = free_port()
    return _nginx(stack, folder, on, port, UPSTREAM.format(port=port, body=json_body()))


def bare_proxy(
    stack: ExitStack, folder: Path, on: frozenset[int], before: Server, *, workers: int
) -> Server:
    """Start nginx as a proxy that does nothing but forward; it is ended with the stack."""
    port = free_port()
    http = BARE.format(port=port, upstream=_port(before.url), token=TOKEN)
    return _nginx(stack, folder, on, port, http, workers)


def apache(
    stack: ExitStack,
    folder: Path,
    on: frozenset[int],
    before: Server,
    redis_url: str,
    registrations: list[Registration],
) -> Process:
    """Start Apache with mod_auth_openidc, a virtual host a registration; ended with the stack."""
    load = "LoadModule {0}_module /usr/lib/apache2/modules/mod_{0}.so"
    hosts = [
        APACHE_HOST.format(upstream=_port(before.url), **vars(registration))
        for registration in registrations
    ]
    config = folder / "apache.conf"
    config.write_text(
        APACHE.format(
            folder=folder,
            modules="\n".join(load.format(name) for name in MODULES),
            redis=_port(redis_url),
            cookie=APACHE_COOKIE,
            hosts="\n".join(hosts),
        )
    )
    command = [
        shutil.which("apache2") or BINARIES["apache2"], "-D", "FOREGROUND", "-f", str(config),
    ]  # fmt: skip
    process = _start(stack, command, folder / "apache.out", on)
    for registration in registrations:
        _wait(f"http://127.0.0.1:{registration.port}/callback", process, folder / "apache.log")
    return process


def answered(server: Server) -> int:
    """Return how many requests the upstream has answered, this question included."""
    with urllib.request.urlopen(f"{server.url}/count", timeout=10) as answer:
        text: str = answer.read().decode()
    return int(text.splitlines()[2].split()[2])


def _nginx(
    stack: ExitStack, folder: Path, on: frozenset[int], port: int, http: str, workers: int = 1
) -> Server:
    config = folder / f"nginx-{port}.conf"
    config.write_text(NGINX.format(folder=folder, port=port, http=http, workers=workers))
    command = [shutil.which("nginx") or BINARIES["nginx"], "-p", str(folder), "-c", str(config)]
    process = _start(stack, command, folder / f"nginx-{port}.out", on)
    url = f"http://127.0.0.1:{port}"
    _wait(f"{url}/api/token", process, folder / f"nginx-{port}.log")
    return Server(url, process)


def _start(stack: ExitStack, command: list[str], output: Path, on: frozenset[int]) -> Process:
    with output.open("wb") as sink, pinned(on):
        popen = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    process = Process(popen, output)
    stack.callback(process.stop)
    return process


def _wait(url: str, process: Process, log: Path) -> None:
    """Wait until anything at all is answered. Raises RuntimeError with what the server said."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.popen.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=2).close()
        except urllib.error.HTTPError as error:
            error.close()
        except OSError:
            time.sleep(0.03)
            continue
        return
    said = log.read_text(errors="replace") if log.exists() else ""
    raise RuntimeError(f"{url} does not answer\n{process.text()}\n{said}")


def _port(url: str) -> int:
    return int(url.partition("//")[2].partition("/")[0].rpartition(":")[2])
