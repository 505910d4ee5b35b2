"""The two cookies: what is written, what is read, and that nothing forged is ever believed."""

from __future__ import annotations

import base64
import hashlib
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from itsdangerous import Signer

from bff.sessions.cookies import MAX_VALUE, REMEMBERED, Cookie, login_cookie, session_cookie

OLD, NEW, OTHER = ("o" * 32, "n" * 32, "x" * 32)
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def cookie(*secrets: str) -> Cookie:
    """Return a session cookie as it is on loopback."""
    return session_cookie(secrets or (NEW,), loopback_http=True, same_site="strict")


def header(text: str | bytes) -> list[tuple[bytes, bytes]]:
    """Return the headers of a request with one Cookie header."""
    return [(b"host", b"x"), (b"cookie", text if isinstance(text, bytes) else text.encode())]


def value_of(set_cookie: str) -> str:
    """Return the value in a Set-Cookie header."""
    return set_cookie.partition("=")[2].partition(";")[0]


@pytest.mark.parametrize(
    ("made", "name", "attributes"),
    [
        (
            session_cookie([NEW], loopback_http=False, same_site="strict"),
            "__Host-Http-bff",
            {"Path=/", "HttpOnly", "Secure", "SameSite=Strict"},
        ),
        (
            session_cookie([NEW], loopback_http=False, same_site="lax"),
            "__Host-Http-bff",
            {"Path=/", "HttpOnly", "Secure", "SameSite=Lax"},
        ),
        (cookie(), "bff", {"Path=/", "HttpOnly", "SameSite=Strict"}),
        (
            login_cookie([NEW], loopback_http=False, form_post=False),
            "__Host-Http-bff-login",
            {"Path=/", "HttpOnly", "Secure", "SameSite=Lax", "Max-Age=600"},
        ),
        (
            login_cookie([NEW], loopback_http=False, form_post=True),
            "__Host-Http-bff-login",
            {"Path=/", "HttpOnly", "Secure", "SameSite=None", "Max-Age=600"},
        ),
        (
            login_cookie([NEW], loopback_http=True, form_post=False),
            "bff-login",
            {"Path=/", "HttpOnly", "SameSite=Lax", "Max-Age=600"},
        ),
        (
            login_cookie([NEW], loopback_http=True, form_post=True),
            "bff-login",
            {"Path=/", "HttpOnly", "Secure", "SameSite=None", "Max-Age=600"},
        ),
    ],
)
def test_attributes_are_those_of_the_contract(
    made: Cookie, name: str, attributes: set[str]
) -> None:
    """Names and attributes of contract section 4; no Domain, and removal with the same."""
    identifier, written = made.issue(os.urandom(32))
    first, *rest = written.split("; ")
    assert first.startswith(f"{name}={identifier}.")
    assert set(rest) == attributes
    assert made.name == name
    first, *rest = made.clear().split("; ")
    assert first == f"{name}="
    assert rest[-1] == "Max-Age=0"
    assert set(rest) >= attributes - {"Max-Age=600"}


@given(st.binary(min_size=32, max_size=32))
def test_what_was_issued_is_read(random: bytes) -> None:
    """The id is 32 random bytes and nothing else; the browser's cookie gives it back."""
    identifier, written = cookie().issue(random)
    assert base64.urlsafe_b64decode(identifier + "=") == random
    assert cookie().read(header(f"bff={value_of(written)}")) == identifier
    assert cookie().renew(identifier) == written


@given(st.data())
@settings(max_examples=300)
def test_no_altered_value_is_believed(data: st.DataObject) -> None:
    """Any change of any length in a good value makes it a bad one."""
    good = value_of(cookie().issue(os.urandom(32))[1]).encode()
    start = data.draw(st.integers(0, len(good)))
    stop = data.draw(st.integers(start, min(len(good), start + 3)))
    put_in = data.draw(
        st.binary(max_size=3) | st.text(ALPHABET + ".=+/", max_size=3).map(str.encode)
    )
    changed = good[:start] + put_in + good[stop:]
    read = cookie().read([(b"cookie", b"bff=" + changed)])
    if changed.strip(b" \t").partition(b";")[0].strip(b" \t") != good:
        assert read is None


def test_every_single_character_counts() -> None:
    """Also where base64 would read two spellings alike: the last character of the signature."""
    good = value_of(cookie().issue(os.urandom(32))[1])
    for position in range(len(good)):
        for character in ALPHABET + ".=":
            changed = good[:position] + character + good[position + 1 :]
            if changed != good:
                assert cookie().read(header(f"bff={changed}")) is None
    for changed in (good + "=", good + "!", good + ".", "." + good, good * 2, good.upper()):
        assert cookie().read(header(f"bff={changed}")) is None


@given(st.binary(max_size=150) | st.text(max_size=100).map(str.encode))
def test_nothing_made_up_is_believed(noise: bytes) -> None:
    """Noise in the place of the value is no session."""
    assert cookie().read([(b"cookie", b"bff=" + noise)]) is None


def test_secrets_rotate() -> None:
    """A cookie of the old secret is read while it is listed; new ones carry the new secret."""
    identifier, old = cookie(OLD).issue(os.urandom(32))
    both = cookie(NEW, OLD)
    assert both.read(header(f"bff={value_of(old)}")) == identifier
    renewed = both.renew(identifier)
    assert renewed != old
    assert cookie(NEW).read(header(f"bff={value_of(renewed)}")) == identifier
    assert cookie(OLD).read(header(f"bff={value_of(renewed)}")) is None
    assert cookie(NEW).read(header(f"bff={value_of(old)}")) is None
    assert cookie(OTHER).read(header(f"bff={value_of(old)}")) is None


def test_one_cookie_is_not_taken_for_the_other() -> None:
    """A login cookie's value is no session, nor is a value of another name's."""
    login = login_cookie([NEW], loopback_http=True, form_post=False)
    secure = session_cookie([NEW], loopback_http=False, same_site="strict")
    value = value_of(login.issue(os.urandom(32))[1])
    assert login.read(header(f"bff-login={value}"))
    assert cookie().read(header(f"bff={value}")) is None
    assert secure.read(header(f"__Host-Http-bff={value_of(cookie().issue(bytes(32))[1])}")) is None


@pytest.mark.parametrize(
    "form",
    [
        "bff={0}", "  bff={0}  ", "a=b; bff={0}", "bff={0}; a=b", "a=b;bff={0};c=d", ";bff={0};",
        "bff ={0}", "bff= {0}", "abff=x; bff={0}; bffx=y", "bff={0}; bff={0}",
        "bff-login=x; bff={0}", 'x="; bff={0}; y="',
    ],
)  # fmt: skip
def test_it_is_found_among_others(form: str) -> None:
    """Other cookies, white space, and the very same cookie twice do not hide it."""
    identifier, written = cookie().issue(os.urandom(32))
    headers = header(form.format(value_of(written)))
    assert cookie().read(headers) == identifier
    assert cookie().values(headers)


def test_it_is_found_in_a_second_header() -> None:
    """HTTP/2 may split Cookie into several headers (RFC 9113 8.2.3)."""
    identifier, written = cookie().issue(os.urandom(32))
    headers = [(b"cookie", b"a=b"), (b"cookie", f"bff={value_of(written)}".encode())]
    assert cookie().read(headers) == identifier


def test_two_different_values_are_none() -> None:
    """Where somebody else could write a cookie for this host, neither is believed."""
    one, two = (value_of(cookie().issue(os.urandom(32))[1]) for _ in range(2))
    for headers in (
        header(f"bff={one}; bff={two}"),
        header(f"bff={one}; bff="),
        header(f"bff=forged; bff={one}"),
        [(b"cookie", f"bff={one}".encode()), (b"cookie", f"bff={two}".encode())],
    ):
        assert cookie().read(headers) is None
        assert cookie().values(headers)


@pytest.mark.parametrize(
    "text", ["", "a=b", "bffx=1", "xbff=1", "Bff=1", "a=bff", "a=bff=1", "bff", "x bff"]
)
def test_it_is_not_seen_where_it_is_not(text: str) -> None:
    """Names are compared as a whole and by case; a value that looks like one is none."""
    assert bool(cookie().values(header(text))) == (text == "bff")
    assert cookie().read(header(text)) is None
    assert not cookie().values([])


def test_a_bad_cookie_is_present_all_the_same() -> None:
    """CSRF rules ask whether the browser sent one, good or bad."""
    for text in ("bff=", "bff=forged", "bff==="):
        assert cookie().values(header(text))
        assert cookie().read(header(text)) is None


def test_a_signed_value_of_another_length_is_none() -> None:
    """Even our own signature makes only an id of the right length a session."""
    signer = Signer(
        NEW.encode(), salt=b"bff cookie bff", key_derivation="hmac", digest_method=hashlib.sha256
    )
    for length, good in ((43, True), (42, False), (44, False), (0, False), (MAX_VALUE, False)):
        signed = signer.sign("a" * length).decode()
        assert (cookie().read(header(f"bff={signed}")) is not None) is good


def test_what_was_written_long_ago_is_read() -> None:
    """However many cookies were written since, of which as many are remembered as may be."""
    made = cookie()
    identifier, written = made.issue(os.urandom(32))
    for _ in range(REMEMBERED + 1):
        made.issue(os.urandom(32))
    assert len(made._issued) == REMEMBERED
    for _ in range(2):
        assert made.read(header(f"bff={value_of(written)}")) == identifier
