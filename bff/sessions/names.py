"""The names of keys in Redis. Pure.

Every name holds a hash, never what it stands for: of a session id, of `iss|sid`, of `iss|sub`, of a
`state`. Parts are length-prefixed before hashing, so that no two different lists of parts hash
alike. The braces are Redis Cluster's hash tag: keys that one script touches share a slot.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

from bff.base64url import base64url

CHANNEL = "bff:sessions"


def digest(purpose: str, *parts: str) -> str:
    """Return the hash of several strings: 43 characters, base64url (SHA-256)."""
    hashed = purpose.encode()
    for part in parts:
        encoded = part.encode()
        hashed += len(encoded).to_bytes(4, "big") + encoded
    return base64url(hashlib.sha256(hashed).digest())


@lru_cache(maxsize=8192)
def session_key(session_id: str) -> str:
    """Return the key of a session, from the id that its cookie carries."""
    return digest("session", session_id)


def record(key: str) -> str:
    """Where the sealed record of a session is."""
    return f"bff:{{{key}}}:session"


def key_of_record(name: str) -> str:
    """Return the key of the session whose record has this name."""
    return name.removeprefix("bff:{").partition("}")[0]


def tombstone(key: str) -> str:
    """What stays of an ended session for a while, so that no write in flight makes it again."""
    return f"bff:{{{key}}}:ended"


def lease(key: str) -> str:
    """Held by the one who refreshes the tokens of a session."""
    return f"bff:{{{key}}}:lease"


def ended_message(key: str, reason: str) -> str:
    """What is published when a session ends."""
    return f"ended {key} {reason}"


def changed_message(key: str) -> str:
    """What is published when a session has new tokens."""
    return f"changed {key}"


def group_of_sid(iss: str, sid: str) -> str:
    """All sessions that belong to one session at the provider."""
    return digest("iss|sid", iss, sid)


def group_of_sub(iss: str, sub: str) -> str:
    """All sessions of one user."""
    return digest("iss|sub", iss, sub)


def index(group: str) -> str:
    """The sorted set of a group's session keys; scores are the times at which entries may go."""
    return f"bff:{{{group}}}:index"


def logged_out(group: str) -> str:
    """The provider's word that a group is signed out: holds the `iat` of its logout token."""
    return f"bff:{{{group}}}:logged-out"


def entered_late(group: str) -> str:
    """Who entered a group after it was marked as signed out: keys, and when."""
    return f"bff:{{{group}}}:late"


def login(browser: str, state: str) -> str:
    """A login in progress: found only by the browser that began it, with the state it was given."""
    return f"bff:{{{digest('login', browser, state)}}}:login"


def once(purpose: str, *parts: str) -> str:
    """A value that is taken at most once, or noted as seen."""
    return f"bff:{{{digest(purpose, *parts)}}}:once"
