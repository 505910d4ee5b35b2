"""From a path to its route.

Rules: nothing under `/bff` is ever a route; the longest prefix wins, on whole segments; a path that
another reader would put under another route (one that decodes `%40`, or drops `;` parameters) is
refused, since the policy must be that of the path as the upstream sees it. Pure.

Source: contract, section 5.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bff.proxy.paths import BadPath, decode_path, judge_path, without_parameters
from bff.proxy.route import Auth, Route, Verdict, permits, target
from bff.proxy.route_config import RESERVED, RouteFaults, parse_routes

__all__ = [
    "Auth",
    "BadPath",
    "Route",
    "RouteFaults",
    "RouteTable",
    "Verdict",
    "judge_path",
    "parse_routes",
    "permits",
    "target",
]


class RouteTable:
    """All routes, found by path."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._judged: dict[bytes, Route | None] = {RESERVED: None}
        self._decoded: dict[bytes, Route | None] = {RESERVED: None}
        for route in routes:
            self._judged[route.prefix] = route
            self._decoded[decode_path(route.prefix)] = route
        self._longest = max(len(prefix) for prefix in self._judged)
        self._encoded = any(b"%" in prefix for prefix in self._judged)

    def match(self, judged: bytes) -> Route | None:
        """Return the route of a judged path; None where there is none.

        Raises BadPath where an upstream could see a path of another route.
        """
        route = self._find(self._judged, judged)
        if b"%" in judged or b";" in judged or self._encoded:
            decoded = decode_path(judged)
            if self._find(self._decoded, decoded) is not route or (
                b";" in decoded
                and self._find(self._decoded, without_parameters(decoded)) is not route
            ):
                raise BadPath("ambiguous_route")
        return route

    def _find(self, table: Mapping[bytes, Route | None], path: bytes) -> Route | None:
        if len(path) > self._longest:
            path = path[: path.rfind(b"/", 0, self._longest + 1)]
        while path not in table:
            if not path:
                return None
            path = path[: path.rfind(b"/")]
        return table[path]
