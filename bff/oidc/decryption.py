"""What was encrypted for us, opened: nested JWTs in JWE form (RFC 7516, RFC 7519 5.2). Pure.

Rules (RFC 8725 3.1 to 3.3, OIDC Core 10.2):
- only public-key algorithms that our own key names or fits: never `RSA1_5`, `dir`, or a password;
- nothing compressed (a few bytes could grow without bound), nothing with `crit`;
- `kid` names the key; without it every key that fits is tried, and we have few;
- inside must be a signed JWT, so that encryption never stands in for a signature;
- whatever fails while opening fails by one name: which step it was is nobody's business.
"""

from __future__ import annotations

from collections.abc import Sequence

from joserfc import jwe
from joserfc.errors import JoseError

from bff.oidc.client_keys import DecryptionKey
from bff.oidc.keys import MAX_TOKEN, BadTokenError, decoded_header

CONTENT_ALGORITHMS = frozenset(
    {"A128GCM", "A192GCM", "A256GCM", "A128CBC-HS256", "A192CBC-HS384", "A256CBC-HS512"}
)
JWE_DOTS = 4


class _Registry(jwe.JWERegistry):
    max_protected_header_length = MAX_TOKEN
    max_encrypted_key_length = 4096
    max_ciphertext_length = MAX_TOKEN


def is_encrypted(token: str) -> bool:
    """Whether a token has the five parts of a JWE."""
    return token.count(".") == JWE_DOTS


def decrypt(token: str, keys: Sequence[DecryptionKey]) -> str:
    """Return the signed JWT inside an encrypted one. Raises BadTokenError."""
    if len(token) > MAX_TOKEN or not token.isascii():
        raise BadTokenError("malformed")
    header = decoded_header(token)
    alg, enc, kid = header.get("alg"), header.get("enc"), header.get("kid")
    if not isinstance(alg, str) or not isinstance(enc, str) or enc not in CONTENT_ALGORITHMS:
        raise BadTokenError("encryption_alg")
    if "crit" in header or "zip" in header:
        raise BadTokenError("encryption_header")
    cty = header.get("cty")
    if cty is not None and (not isinstance(cty, str) or cty.lower() != "jwt"):
        raise BadTokenError("not_nested")
    if not any(alg in key.algs for key in keys):
        raise BadTokenError("encryption_alg")
    fitting = [key for key in keys if alg in key.algs and kid in (None, key.key.kid)]
    if not fitting:
        raise BadTokenError("encryption_key")
    for key in fitting:
        plain = _opened(token, key, alg, enc)
        if plain is not None:
            if not plain.isascii() or plain.count(b".") != 2:  # noqa: PLR2004 - a JWS
                raise BadTokenError("not_nested")
            return plain.decode()
    raise BadTokenError("decryption")


def _opened(token: str, key: DecryptionKey, alg: str, enc: str) -> bytes | None:
    registry = _Registry(algorithms=[alg, enc], strict_check_header=False)
    try:
        return jwe.decrypt_compact(token, key.key, registry=registry).plaintext
    except (JoseError, ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return None
