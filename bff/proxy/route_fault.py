"""What is wrong with one member of a route in BFF_ROUTES."""

from __future__ import annotations


class MemberFaultError(Exception):
    """What is wrong with one member, and how a good one looks."""

    def __init__(self, problem: str, example: str) -> None:
        super().__init__(f"{problem}, for example {example}")
