"""What `bff demo` prints. No line is longer than 80 columns, short of a long path of the user's."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.text import Text

from bff.demo.addresses import Addresses
from bff.demo.provider.users import USERS, User

GAP = "   "
KEPT = "kept for the next start"


def console() -> Console:
    """Return a console that colours a terminal and writes plain text elsewhere."""
    return Console(highlight=False, soft_wrap=True)


def welcome(out: Console, addresses: Addresses, folder: Path) -> None:
    """Say where everything is, and who can sign in."""
    places = (
        ("Application", addresses.service, "bold cyan", "open this one"),
        ("Provider", addresses.provider, "cyan", "signs users in, and out everywhere"),
        ("API", addresses.api, "cyan", "believes only the provider's tokens"),
    )
    out.print("\n  The demo runs.\n", style="bold green")
    for label, url, style, note in places:
        out.print(Text.assemble(f"  {label:<11}", GAP, (f"{url:<22}", style), GAP, (note, "dim")))
    out.print(Text.assemble(f"  {'Data':<11}", GAP, _from_home(folder), GAP, (KEPT, "dim")))
    out.print("\n  Sign in as one of these. No password is asked for.\n", style="bold")
    for user in USERS:
        out.print(
            Text.assemble((f"  {user.sub:<11}", "bold"), GAP, f"{user.name:<22}", GAP, _may(user))
        )
    out.print("\n  Ctrl-C ends everything.\n", style="dim")
    out.file.flush()


def taken(out: Console, ports: list[int], other: int | None) -> None:
    """Say which ports another program has, and how to start all the same."""
    numbers = " and ".join(map(str, ports)) if len(ports) < 3 else f"{ports[0]} to {ports[-1]}"
    subject = f"Port {numbers} is" if len(ports) == 1 else f"Ports {numbers} are"
    out.print(f"{subject} in use. The demo needs three ports in a row.", style="red")
    if other is not None:
        out.print(Text.assemble("Start it on others: ", (f"bff demo --port {other}", "bold")))


def no_redis(out: Console) -> None:
    """Say that there is no redis-server, and how to get one."""
    out.print("The demo needs Redis, and there is no redis-server on this machine.", style="red")
    out.print("Debian, Ubuntu: apt install redis-server\nmacOS: brew install redis")


def _from_home(folder: Path) -> str:
    home = Path.home()
    return f"~/{folder.relative_to(home)}" if folder.is_relative_to(home) else str(folder)


def _may(user: User) -> str:
    scopes = f"may {' '.join(user.api_scopes)}" if user.api_scopes else "only signs in"
    return f"role {user.roles[0]}, {scopes}"
