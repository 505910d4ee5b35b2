"""The client's address: from the peer, and from `X-Forwarded-For` as far as it can be believed."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.proxy.forwarded import TrustedProxies

TRUSTED = ["10.0.0.0/8", "fd00::/8"]


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.9", [], "192.0.2.9"),
        ("192.0.2.9", [b"1.1.1.1"], "192.0.2.9"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [b"192.0.2.1"], "192.0.2.1"),
        ("10.0.0.1", [b"6.6.6.6, 192.0.2.1"], "192.0.2.1"),
        ("10.0.0.1", [b"6.6.6.6, 192.0.2.1, 10.2.2.2"], "192.0.2.1"),
        ("10.0.0.1", [b"6.6.6.6", b"192.0.2.1", b"10.2.2.2"], "192.0.2.1"),
        ("10.0.0.1", [b"10.3.3.3, 10.2.2.2"], "10.3.3.3"),
        ("10.0.0.1", [b"6.6.6.6, unknown, 10.2.2.2"], "10.2.2.2"),
        ("10.0.0.1", [b"6.6.6.6, , 10.2.2.2"], "10.2.2.2"),
        ("10.0.0.1", [b""], "10.0.0.1"),
        ("10.0.0.1", [b"\xff\xfe"], "10.0.0.1"),
        ("10.0.0.1", [b"192.0.2.1:4711"], "192.0.2.1"),
        ("10.0.0.1", [b"192.0.2.1:x"], "10.0.0.1"),
        ("10.0.0.1", [b"[2001:db8::1]:4711"], "2001:db8::1"),
        ("10.0.0.1", [b"[2001:db8::1]"], "2001:db8::1"),
        ("10.0.0.1", [b"[2001:db8::1"], "10.0.0.1"),
        ("10.0.0.1", [b"[2001:db8::1]x"], "10.0.0.1"),
        ("10.0.0.1", [b"2001:DB8:0::1"], "2001:db8::1"),
        ("10.0.0.1", [b"::ffff:192.0.2.1"], "192.0.2.1"),
        ("10.0.0.1", [b"6.6.6.6, ::ffff:10.2.2.2"], "6.6.6.6"),
        ("::ffff:10.0.0.1", [b"192.0.2.1"], "192.0.2.1"),
        ("::ffff:192.0.2.9", [b"6.6.6.6"], "192.0.2.9"),
        ("fd00::1", [b"192.0.2.1"], "192.0.2.1"),
        ("fe80::1%eth0", [b"6.6.6.6"], "fe80::1"),
        ("", [b"6.6.6.6"], "unknown"),
        ("testclient", [b"6.6.6.6"], "unknown"),
        ("10.0.0.1", [b"6.6.6.6" + b", 10.0.0.2" * 100], "10.0.0.2"),
        ("10.0.0.1", [b"0x7f.1"], "10.0.0.1"),
        ("10.0.0.1", [b"010.0.0.1"], "10.0.0.1"),
    ],
)
def test_the_walk_ends_at_the_first_address_that_is_not_trusted(
    peer: str, forwarded: list[bytes], client: str
) -> None:
    """From the right, entry by entry, as long as a trusted proxy wrote it."""
    proxies = TrustedProxies(ipaddress.ip_network(network) for network in TRUSTED)
    assert proxies.client(peer, forwarded) == client


@given(st.lists(st.binary(max_size=30), max_size=5))
def test_without_trusted_proxies_nothing_but_the_peer_counts(forwarded: list[bytes]) -> None:
    """By default nobody can say who they are."""
    assert TrustedProxies([]).client("192.0.2.9", forwarded) == "192.0.2.9"


@given(st.lists(st.binary(max_size=30), max_size=5))
def test_what_a_client_writes_on_the_left_changes_nothing(forwarded: list[bytes]) -> None:
    """The trusted proxy appends the address it saw; what was there before is the client's word."""
    proxies = TrustedProxies([ipaddress.ip_network("10.0.0.0/8")])
    assert proxies.client("10.0.0.1", [*forwarded, b"192.0.2.1"]) == "192.0.2.1"
