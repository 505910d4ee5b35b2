"""Which headers a route may let through that are refused elsewhere. Pure.

Rules: deny by default. Of a request, only names of the families that are refused for what a few of
their members mean to backends: `X-User-Locale` may pass, `X-User-Id` says who is calling and never
may. Whatever frames a message, belongs to one connection, or tells of caller, credentials, address,
path or method is never let through, whoever asks for it. Of an answer, the few in `ANSWER_NAMES`.

Source: contract, section 5.
"""

from __future__ import annotations

from bff.proxy.wire import TOKEN

REQUEST_FAMILIES = (b"x-user-", b"x-email-", b"x-auth-", b"x-remote-")
WHO_IS_CALLING = frozenset(
    b"account acl addr address admin alias attributes aud audience auth authority authorization "
    b"bearer cert claim claims client cookie credential credentials customer data dn domain email "
    b"emails entitlements for forwarded fullname gid group groupid groups guid host id ident "
    b"identifier identities identity ids info ip iss issuer jwt key level login logins mail member "
    b"membership memberof method name nickname object oid org organisation organization owner pass "
    b"password path payload permission permissions phone port preferred principal privileges proto "
    b"realm request role roleid roles scope scopes secret session sid signature sub subject tenant "
    b"ticket tid token tokens type uid upn uri url user userid username users uuid verified".split()
)
ANSWER_NAMES = frozenset(
    {b"service-worker-allowed", b"clear-site-data", b"x-accel-buffering", b"x-accel-limit-rate"}
)
MIN_WORD = 2


def request_may_pass(name: bytes) -> bool:
    """Return whether a route may let a request header through; `name` in lower case.

    Every word of it after the family must be a word, and none may speak of who is calling.
    """
    if name.translate(None, TOKEN) or b"_" in name:
        return False
    family = next((family for family in REQUEST_FAMILIES if name.startswith(family)), None)
    if family is None:
        return False
    words = name[len(family) :].split(b"-")
    return all(
        len(word) >= MIN_WORD and word.isalpha() and word not in WHO_IS_CALLING for word in words
    )


def answer_may_pass(name: bytes) -> bool:
    """Return whether a route may let a header of the answer through; `name` in lower case."""
    return name in ANSWER_NAMES
