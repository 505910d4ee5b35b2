"""Which sessions a group has: all that share `iss|sid`, all that share `iss|sub`.

A group's index is a sorted set of session keys. The score of an entry is when it may go, by the
clock of Redis; the index as a whole goes with its last entry. **An entry outlives its record**, or
a logout would not find it: it lasts as long as the idle time-out, the longest pause between two
extensions, and a margin for clocks that differ. A session in use extends its entry at the first
use in each stretch of five minutes (or half the idle time-out), *before* its record is touched:

    entry extended at e, in the stretch [k, k+1): it lasts until e + idle + 1 stretch + margin
    record touched at t, in that stretch:         it lasts until t + idle < e + idle + 1 stretch

So entries of sessions that ran out of idle time are gone a few minutes after them, and a use costs
the index next to nothing. Who enters or extends takes out some that are due, never many at a time.
An extension also puts back an entry that was lost with a failed server.

A logout marks its group, then reads the index in slices, so that a user with very many sessions
does not hold up Redis. Who enters after the mark is noted, and not among those that it ends.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence

from bff.sessions import names
from bff.sessions.redis import Call, Redis, Script

EXTEND_EVERY = 300.0
MARGIN = 60.0
MARK_TTL = 1200  # outlives every ID token of a login on its way: 600 s and twice the skew
SLICE = 128

TAKE_OUT_DUE = """
local now = redis.call('TIME')
now = now[1] + now[2] / 1000000
local due = redis.call('ZRANGE', KEYS[1], '-inf', now, 'BYSCORE', 'LIMIT', 0, 100)
if #due > 0 then redis.call('ZREM', KEYS[1], unpack(due)) end
"""

KEEP = """
redis.call('ZADD', KEYS[1], 'GT', now + ARGV[2] / 1000, ARGV[1])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
"""

ENTER = Script(f"""
{TAKE_OUT_DUE}{KEEP}
local mark = redis.call('GET', KEYS[2])
if mark then
  redis.call('ZADD', KEYS[3], now, ARGV[1])
  redis.call('EXPIRE', KEYS[3], ARGV[3])
end
return mark
""")

EXTEND = Script(f"{TAKE_OUT_DUE}{KEEP}")

LEAVE = Script("return redis.call('ZREM', KEYS[1], unpack(ARGV))")

MARK = Script("""
local issued = tonumber(ARGV[1])
local mark = redis.call('GET', KEYS[1])
if mark then issued = math.max(issued, tonumber(string.match(mark, '^%S+'))) end
local now = redis.call('TIME')
now = string.format('%d.%06d', now[1], now[2])
redis.call('SET', KEYS[1], string.format('%d ', issued) .. now, 'EX', ARGV[2])
return now
""")

MARKED = Script("return redis.call('GET', KEYS[1])")

# A cursor of ZSCAN returns every member that stays; the few that come twice do no harm.
READ = Script("""
local cursor, found = unpack(redis.call('ZSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2]))
local members = {}
for i = 1, #found, 2 do
  local entered = redis.call('ZSCORE', KEYS[2], found[i])
  if not entered or tonumber(entered) <= tonumber(ARGV[3]) then
    members[#members + 1] = found[i]
  end
end
return {cursor, members}
""")

START = b"0"
ALWAYS = b"inf"


class Index:
    """The groups of sessions. Methods raise StoreUnavailableError when Redis is away."""

    def __init__(self, redis: Redis, idle: float) -> None:
        self._redis = redis
        self._idle = idle
        self._extend_every = min(EXTEND_EVERY, idle / 2)

    def entering(self, groups: Sequence[str], key: str, seconds_left: float) -> list[Call]:
        """Return what enters a session that has not been written yet into its groups.

        The answers are the groups' logged-out marks. `seconds_left` is until its absolute end. What
        is done to one group does not touch another.
        """
        lasts = self._lasts(seconds_left)
        return [
            Call(
                ENTER,
                [names.index(group), names.logged_out(group), names.entered_late(group)],
                [key, lasts, MARK_TTL],
            )
            for group in groups
        ]

    def extension_due(self, last_used_at: float, now: float) -> bool:
        """Whether a use at `now` is the first in its stretch."""
        return now // self._extend_every != last_used_at // self._extend_every

    async def extend(self, groups: Sequence[str], key: str, seconds_left: float) -> None:
        """Put off the end of a session's entries, because it is in use."""
        lasts = self._lasts(seconds_left)
        await self._redis.run_all(
            EXTEND, [([names.index(group)], [key, lasts]) for group in groups]
        )

    async def leave(self, entries: Sequence[tuple[str, str]]) -> None:
        """Take sessions that have ended out of their groups: pairs of group and key."""
        keys_by_group: dict[str, list[str]] = {}
        for group, key in entries:
            keys_by_group.setdefault(group, []).append(key)
        await self._redis.run_all(
            LEAVE,
            [
                ([names.index(group)], keys[start : start + SLICE])
                for group, keys in keys_by_group.items()
                for start in range(0, len(keys), SLICE)
            ],
        )

    async def mark(self, group: str, issued_at: int) -> bytes:
        """Mark a group as logged out by a token of this `iat`; return when, by Redis's clock."""
        now: bytes = await self._redis.run(
            MARK, [names.logged_out(group)], [issued_at, MARK_TTL], lasting=True
        )
        return now

    def marked(self, groups: Sequence[str]) -> list[Call]:
        """Return what reads the logged-out marks of groups: `iat`, and when it was acted on."""
        return [Call(MARKED, [names.logged_out(group)], []) for group in groups]

    async def members(self, group: str, entered_by: bytes = ALWAYS) -> AsyncIterator[list[str]]:
        """Return the session keys of a group, a slice at a time; some may come twice.

        Those that entered after `entered_by` are left out if the group had been marked by then.
        """
        cursor = None
        while cursor != START:
            cursor, members = await self._redis.run(
                READ,
                [names.index(group), names.entered_late(group)],
                [cursor or START, SLICE, entered_by],
            )
            if members:
                yield [member.decode() for member in members]

    def _lasts(self, seconds_left: float) -> int:
        seconds = min(self._idle + self._extend_every, seconds_left) + MARGIN
        return max(1, round(seconds * 1000))


def barred(marks: Iterable[bytes | None], issued_at: float, started_at: float) -> bool:
    """Whether a logged-out mark of its groups speaks of this login.

    It does not if the provider issued the ID token after the logout token, or if the login began
    after the logout was acted on: `iat` is in whole seconds, and people sign in again at once.
    """
    for mark in marks:
        if mark is not None:
            logout_issued_at, acted_on_at = map(float, mark.split())
            if issued_at <= logout_issued_at and started_at <= acted_on_at:
                return True
    return False
