"""The demo API: a resource server that believes nothing but a verified access token.

`tokens` judges a token (pure), `keys` fetches the issuer's keys, `problems` says no,
`endpoints` and `streams` are what there is to call, `app` wires them.
"""

from __future__ import annotations

from bff.demo.api.app import create_api

__all__ = ["create_api"]
