"""The signer with its keys at hand signs as itsdangerous' own does."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import BadSignature, Signer

from bff.sessions.signer import KeyedSigner

SECRETS = st.lists(st.binary(min_size=1), min_size=1, max_size=3)


@given(SECRETS, st.binary(min_size=1), st.binary())
def test_its_signatures_are_those_of_the_library(
    secrets: list[bytes], salt: bytes, value: bytes
) -> None:
    """To the bit, so that cookies stay good; also those that an older secret signed."""
    ours = KeyedSigner(secrets, salt)
    theirs = Signer(secrets, salt=salt, key_derivation="hmac", digest_method=hashlib.sha256)
    signed = theirs.sign(value)
    assert ours.sign(value) == signed
    assert ours.unsign(signed) == value
    oldest = KeyedSigner(secrets[:1], salt).sign(value)
    assert ours.unsign(oldest) == value
    assert ours.derive_key() == theirs.derive_key()
    assert ours.derive_key(secrets[0]) == theirs.derive_key(secrets[0])


@given(st.binary(min_size=1), st.binary())
def test_what_another_secret_signed_is_refused(secret: bytes, value: bytes) -> None:
    """Nor is what was signed for another cookie good."""
    signed = KeyedSigner([secret], b"salt").sign(value)
    for other in (KeyedSigner([secret + b"x"], b"salt"), KeyedSigner([secret], b"other")):
        with pytest.raises(BadSignature):
            other.unsign(signed)
