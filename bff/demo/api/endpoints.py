"""What the demo API has to say, one function an endpoint, each naming what it asks for."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from bff.demo.api.problems import NO_STORE, ApiError

if TYPE_CHECKING:
    from starlette.requests import Request

    from bff.demo.api.guard import Guard

MAX_BODY = 1024 * 1024
MAX_SLOW = 120.0
ORDERS = [
    {
        "id": "A-1042",
        "customer": "Harbour Coffee",
        "placed_on": "2026-03-02",
        "status": "delivered",
        "total": {"amount": "248.00", "currency": "EUR"},
    },
    {
        "id": "A-1043",
        "customer": "Northside Bakery",
        "placed_on": "2026-03-04",
        "status": "shipped",
        "total": {"amount": "96.50", "currency": "EUR"},
    },
    {
        "id": "A-1044",
        "customer": "Studio Lindgren",
        "placed_on": "2026-03-05",
        "status": "packed",
        "total": {"amount": "1312.75", "currency": "EUR"},
    },
    {
        "id": "A-1045",
        "customer": "Miller & Daughters",
        "placed_on": "2026-03-05",
        "status": "awaiting payment",
        "total": {"amount": "59.90", "currency": "EUR"},
    },
]


async def public(_guard: Guard, _request: Request) -> Response:
    """Greet anyone."""
    return JSONResponse({"message": "Anyone may read this."})


async def me(guard: Guard, request: Request) -> Response:
    """Say who is calling; needs a login."""
    token = await guard.check(request.headers)
    body: dict[str, object] = {
        "sub": token.sub,
        "client_id": token.client_id,
        "scopes": sorted(token.scopes),
        "roles": sorted(token.roles),
    }
    if token.name is not None:
        body["name"] = token.name
    return JSONResponse(body, headers=NO_STORE)


async def orders(guard: Guard, request: Request) -> Response:
    """List the orders; needs the scope `orders:read`."""
    await guard.check(request.headers, scope="orders:read")
    return JSONResponse({"orders": ORDERS}, headers=NO_STORE)


async def admin_stats(guard: Guard, request: Request) -> Response:
    """Sum the orders up; needs the role `admin`."""
    await guard.check(request.headers, role="admin")
    statuses = [str(order["status"]) for order in ORDERS]
    by_status = {status: statuses.count(status) for status in statuses}
    body = {"orders": len(ORDERS), "by_status": by_status, "revenue": "1717.15", "currency": "EUR"}
    return JSONResponse(body, headers=NO_STORE)


async def echo(guard: Guard, request: Request) -> Response:
    """Send the JSON of the body back; needs a login."""
    await guard.check(request.headers)
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY:
                raise ApiError(413, "too_large", "The body is larger than 1 MiB.")
        value: object = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError, ClientDisconnect) as error:
        raise ApiError(400, "bad_request", "The body must be JSON.") from error
    try:
        return JSONResponse({"echo": value}, headers=NO_STORE)
    except (ValueError, RecursionError) as error:
        raise ApiError(400, "bad_request", "The body must be JSON in UTF-8.") from error


async def slow(guard: Guard, request: Request) -> Response:
    """Answer after `seconds` (0 to 120, by default 1); needs a login."""
    await guard.check(request.headers)
    text = request.query_params.get("seconds", "1")
    try:
        seconds = float(text)
    except ValueError as error:
        raise ApiError(400, "bad_request", "seconds must be a number.") from error
    if not 0 <= seconds <= MAX_SLOW:
        raise ApiError(400, "bad_request", "seconds must be between 0 and 120.")
    await asyncio.sleep(seconds)
    return JSONResponse({"waited": seconds}, headers=NO_STORE)


def _refuse_constant(name: str) -> object:
    raise ValueError(name)
