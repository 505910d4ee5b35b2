"""Masters that are killed and slots that move, under load: errors meanwhile, and no session lost.

Each test prints what it counted: requests, those answered 503, and sessions lost.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from redis.crc import key_slot

from bff.errors import StoreUnavailableError
from bff.sessions import names
from bff.sessions.session import Session
from bff.sessions.store import EndReason
from tests.support.redis_forms import Form, Forms
from tests.support.redis_server import Server
from tests.support.sessions import ISSUER
from tests.support.stopwatch import Stopwatch
from tests.support.store_worker import Worker, worker

WORKERS = 3
SESSIONS = 20  # of each worker
BACK_WITHIN = 60.0
TOLD_WITHIN = 2.0


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Forms]:
    """Starts forms of Redis for one test."""
    with ExitStack() as stack:
        yield Forms(stack, tmp_path)


@dataclass
class User:
    """Somebody who uses sessions through one worker, and remembers what they were promised."""

    at: Worker
    sessions: dict[str, Session] = field(default_factory=dict[str, Session])
    requests: int = 0
    refused: int = 0
    slowest: float = 0.0
    answered_at: float = 0.0

    async def sign_in(self, number: int) -> None:
        """Sign in so many times."""
        for _ in range(number):
            session = await self.at.sign_in(secrets.token_hex())
            self.sessions[session.key] = session

    async def use(self) -> None:
        """Load, touch and refresh one session after the other, and come and go, for ever."""
        while True:
            for key in list(self.sessions):
                self.requests += 1
                watch = Stopwatch()
                try:
                    await self._use(key)
                    self.answered_at = time.monotonic()
                except StoreUnavailableError:
                    self.refused += 1
                self.slowest = max(self.slowest, watch.seconds())
                await asyncio.sleep(0.002)

    async def _use(self, key: str) -> None:
        if self.requests % 5 == 0:
            visit = await self.at.sign_in(secrets.token_hex())
            assert await self.at.store.end(visit.key, EndReason.LOGOUT) == visit
            return
        session = await self.at.store.load(key)
        assert session is not None, "a session is lost"
        assert session.generation >= self.sessions[key].generation, "a refresh is lost"
        if self.requests % 3 == 0:
            await self.at.store.touch(session)
        if self.requests % 3 == 1:
            whole = await self.at.store.reload(key)
            assert whole is not None, "a session is lost"
            token = f"access-{whole.generation + 1}"
            fresh = whole.with_tokens(replace(whole.tokens, access_token=token))
            if await self.at.store.save(fresh):
                self.sessions[key] = fresh


@dataclass
class Crowd:
    """Several users at once, each with a worker."""

    users: list[User]

    async def prepared(self) -> list[Session]:
        """Sign everybody in, and give back sessions that were ended a moment ago."""
        await asyncio.gather(*(user.sign_in(SESSIONS) for user in self.users))
        at = self.users[0].at
        gone = [await at.sign_in(secrets.token_hex(), sub="gone", sid="gone") for _ in range(9)]
        for session in gone[:3]:
            await at.store.end(session.key, EndReason.LOGOUT)
        await at.store.end_sub(ISSUER, "gone", int(time.time()), EndReason.BACKCHANNEL)
        return gone

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Let everybody use their sessions meanwhile; what fails there fails here."""
        tasks = [asyncio.create_task(user.use()) for user in self.users]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if not isinstance(result, asyncio.CancelledError):
                raise result if isinstance(result, BaseException) else AssertionError

    async def all_answered(self, since: float) -> None:
        """Wait until every user was answered again, for all of their sessions."""
        async with asyncio.timeout(BACK_WITHIN):
            for user in self.users:
                while user.answered_at <= since:
                    await asyncio.sleep(0.01)
                for key in user.sessions:
                    while await self._unavailable(user, key):
                        await asyncio.sleep(0.01)

    async def _unavailable(self, user: User, key: str) -> bool:
        try:
            await user.at.store.reload(key)
        except StoreUnavailableError:
            return True
        return False

    async def lost(self) -> int:
        """Count sessions, and refreshes of them, that were promised and are not there."""
        count = 0
        for user in self.users:
            for key, promised in user.sessions.items():
                found = await user.at.store.reload(key)
                count += found is None or found.generation < promised.generation
        return count

    async def hear_each_other(self) -> None:
        """The channels are proven again, and an ending is heard by all who had the session."""
        await asyncio.gather(*(user.at.listening(BACK_WITHIN) for user in self.users))
        session = await self.users[0].at.sign_in(secrets.token_hex())
        for user in self.users:
            assert await user.at.store.load(session.key) == session.at_hand()
        await self.users[0].at.store.end(session.key, EndReason.LOGOUT)
        await asyncio.sleep(0.1)
        for user in self.users:
            assert user.at.cache.get(session.key) is None
            assert await user.at.store.load(session.key) is None

    def report(self, what: str, lost: int, took: float | None = None) -> str:
        """Say what was counted."""
        requests = sum(user.requests for user in self.users)
        refused = sum(user.refused for user in self.users)
        slowest = max(user.slowest for user in self.users)
        after = "" if took is None else f", all answered again after {took:.1f} s"
        return (
            f"{what}: {requests} requests, {refused} refused (slowest {slowest:.2f} s){after};"
            f" sessions lost: {lost}"
        )


@asynccontextmanager
async def crowd(form: Form) -> AsyncIterator[Crowd]:
    """Open a worker for each user."""
    async with AsyncExitStack() as stack:
        workers = [await stack.enter_async_context(worker(form.url)) for _ in range(WORKERS)]
        yield Crowd([User(at) for at in workers])


async def survives(form: Form, what: str, strike: Callable[[], None]) -> None:
    """Kill something under load; see all sessions live on, and the ended ones stay ended."""
    async with crowd(form) as people:
        for user in people.users:
            await user.at.listening()
        await people.prepared()
        async with people.at_work():
            await asyncio.sleep(0.5)
            assert not sum(user.refused for user in people.users)
            gone = await people.prepared()
            strike()
            struck = time.monotonic()
            await people.all_answered(struck)
            took = time.monotonic() - struck
            await asyncio.sleep(0.5)
        lost = await people.lost()
        print(people.report(what, lost, took))
        assert lost == 0
        assert max(user.slowest for user in people.users) < TOLD_WITHIN
        assert not any(await people.users[0].at.store.load_many([one.key for one in gone]))
        await people.hear_each_other()


async def test_sentinel_promotes_a_replica(start: Forms) -> None:
    """kill -9 of the master: the same sessions go on at the new one, without a restart of ours."""
    form = start.sentinel()
    await survives(form, "Sentinel, master killed", form.servers[0].kill)


async def test_a_cluster_promotes_a_replica(start: Forms) -> None:
    """kill -9 of a master that has a replica."""
    form = start.cluster(replicas=1)
    await survives(form, "Cluster, master killed", form.servers[0].kill)


async def test_a_cluster_is_resharded(start: Forms) -> None:
    """Slots with sessions, and their index, move between masters: nobody notices."""
    form = start.cluster()
    async with crowd(form) as people:
        for user in people.users:
            await user.at.listening()
        await people.prepared()
        slots = {
            key_slot(names.record(key).encode()) for user in people.users for key in user.sessions
        }
        for group in (names.group_of_sub(ISSUER, "alice"), names.group_of_sid(ISSUER, "s1")):
            slots.add(key_slot(names.index(group).encode()))
        async with people.at_work():
            await asyncio.to_thread(reshard, form.servers, sorted(slots))
            gone = await people.prepared()
            await asyncio.sleep(0.2)
        lost = await people.lost()
        print(people.report(f"Cluster, {len(slots)} slots moved", lost))
        assert lost == 0
        assert sum(user.refused for user in people.users) == 0
        assert not any(await people.users[0].at.store.load_many([one.key for one in gone]))
        await people.hear_each_other()
        ended = await people.users[0].at.store.end_sub(
            ISSUER, "alice", int(time.time()), EndReason.LOGOUT
        )
        everybodys = {key for user in people.users for key in user.sessions}
        assert everybodys <= {session.key for session in ended}


def reshard(masters: list[Server], slots: list[int]) -> None:
    """Move slots to the next master, as `redis-cli --cluster reshard` does, and dwell halfway."""
    identifiers = [master.ask("CLUSTER", "MYID").decode() for master in masters]
    owners = {
        slot: number
        for first, last, *nodes in masters[0].ask("CLUSTER", "SLOTS")
        for slot in range(first, last + 1)
        for number, master in enumerate(masters)
        if master.port == nodes[0][1]
    }
    for slot in slots:
        source, target = owners[slot], (owners[slot] + 1) % len(masters)
        masters[target].ask("CLUSTER", "SETSLOT", slot, "IMPORTING", identifiers[source])
        masters[source].ask("CLUSTER", "SETSLOT", slot, "MIGRATING", identifiers[target])
        time.sleep(0.01)
        while keys := masters[source].ask("CLUSTER", "GETKEYSINSLOT", slot, 1):
            masters[source].ask(
                "MIGRATE", "127.0.0.1", masters[target].port, "", 0, 1000, "KEYS", *keys
            )
            time.sleep(0.01)
        for number in (target, source, (source + 2) % len(masters)):
            masters[number].ask("CLUSTER", "SETSLOT", slot, "NODE", identifiers[target])
