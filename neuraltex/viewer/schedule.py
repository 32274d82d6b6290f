"""Which picture is rendered next, for whom and how large: the newest camera wins, and motion comes before sharpness."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

# What a picture may take while the camera moves: 8 a second, so that 5 are left where the browser is on the same cores.
MOTION_SECONDS = 0.125
# What a picture may take that is only a step towards the full one.
STEP_SECONDS = 0.5
# A camera that did not change for so long rests.
REST_SECONDS = 0.15
# Longer sides as shares of the full one: each has about half the pixels of the next.
RUNGS = (1 / 8, 0.18, 0.25, 0.35, 0.5, 0.71, 1.0)
SMALLEST = 48
# What a size took is taken for true during so many pictures of other sizes: a machine that was busy then is not now.
MEMORY = 16

View = TypeVar("View")


class SupersededError(Exception):
    """Nobody waits for this picture any more."""


class Pace:
    """Sizes that pictures can be rendered in time in, by what they took.

    Args:
        full: longer side of a picture at rest.
        fixed: all pictures are of that size, moving or not.
    """

    def __init__(self, full: int, *, fixed: bool = False) -> None:
        sizes = {max(round(full * share), min(SMALLEST, full)) for share in ((1.0,) if fixed else RUNGS)}
        self.sizes = tuple(sorted(sizes))
        self._seconds: dict[int, float] = {}
        self._learned: dict[int, int] = {}
        self._count = 0

    def copy(self) -> Pace:
        """Another one that has learned the same."""
        other = Pace(self.sizes[-1])
        other.sizes, other._seconds, other._learned = self.sizes, dict(self._seconds), dict(self._learned)
        other._count = self._count
        return other

    @property
    def full(self) -> int:
        """Longer side of a picture at rest."""
        return self.sizes[-1]

    def learn(self, size: int, seconds: float) -> None:
        """Take note of what a picture took."""
        before = self._seconds[size] if self._is_fresh(size) else seconds
        # Half of the news: one slow picture is an accident, two are a fact.
        self._seconds[size] = 0.5 * before + 0.5 * seconds
        self._count += 1
        self._learned[size] = self._count

    def _is_fresh(self, size: int) -> bool:
        return size in self._learned and self._count - self._learned[size] <= MEMORY

    def expect(self, size: int) -> float:
        """Seconds that a picture will take: what it took lately, else by pixels from the nearest size that was made."""
        if self._is_fresh(size):
            return self._seconds[size]
        if not self._seconds:
            return 0.0 if size == self.sizes[0] else float("inf")
        nearest = min(filter(self._is_fresh, self._seconds), key=lambda known: abs(known - size))
        return self._seconds[nearest] * (size / nearest) ** 2

    def moving(self) -> int:
        """The largest size that keeps up with a moving camera; the smallest where none does."""
        return max((size for size in self.sizes if self.expect(size) <= MOTION_SECONDS), default=self.sizes[0])

    def after(self, size: int) -> int:
        """The next larger size at rest: the full one where it is near enough in time, else a step towards it."""
        larger = [other for other in self.sizes if other > size] or [self.full]
        return max((other for other in larger if self.expect(other) <= STEP_SECONDS), default=larger[0])


@dataclass(frozen=True)
class Job(Generic[View]):
    """One picture to render.

    Args:
        client: for whom.
        view: of what.
        size: longer side in pixels.
        ticket: which of the client's wishes it is.
        refines: it shows what is shown already, only larger or better encoded.
    """

    client: Hashable
    view: View
    size: int
    ticket: int
    refines: bool


@dataclass
class _Client(Generic[View]):
    view: View
    pace: Pace
    changed: float
    ticket: int = 1
    shown_ticket: int = 0
    shown_size: int = 0
    sharp: bool = False
    served: float = field(default=float("-inf"))

    @property
    def waits(self) -> bool:
        return self.shown_ticket != self.ticket


class Schedule(Generic[View]):
    """What clients wish to see; may be used from several threads.

    Args:
        pace: what is known of sizes; every client learns on with its own copy.
        clock: seconds that never go back.
    """

    def __init__(self, pace: Pace, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._pace, self._clock = pace, clock
        self._clients: dict[Hashable, _Client[View]] = {}
        self._condition = threading.Condition()
        self._closed = False

    def ask(self, client: Hashable, view: View) -> None:
        """A client wishes to see this, and nothing that it asked for before."""
        with self._condition:
            known = self._clients.get(client)
            if known is None:
                self._clients[client] = _Client(view, self._pace.copy(), self._clock())
            elif known.view != view:
                known.view, known.changed, known.ticket = view, self._clock(), known.ticket + 1
            else:
                return
            self._condition.notify_all()

    def ask_again(self) -> None:
        """What everybody sees is out of date: the scene changed."""
        with self._condition:
            for client in self._clients.values():
                client.changed, client.ticket = self._clock(), client.ticket + 1
            self._condition.notify_all()

    def forget(self, client: Hashable) -> None:
        """The client has gone."""
        with self._condition:
            self._clients.pop(client, None)
            self._condition.notify_all()

    def close(self) -> None:
        """No more jobs."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def next(self) -> Job[View] | float:
        """The picture that is most needed now, or how many seconds there will be none (infinite until asked)."""
        with self._condition:
            now = self._clock()
            waiting = [name for name, client in self._clients.items() if client.waits]
            if waiting:
                name = min(waiting, key=lambda name: self._clients[name].served)
                client = self._clients[name]
                client.served = now
                return Job(name, client.view, client.pace.moving(), client.ticket, False)
            coarse = [name for name, client in self._clients.items() if not client.sharp]
            rested = [name for name in coarse if now - self._clients[name].changed >= REST_SECONDS]
            if not rested:
                return min((self._clients[name].changed + REST_SECONDS - now for name in coarse), default=float("inf"))
            name = min(rested, key=lambda name: (self._clients[name].shown_size, self._clients[name].served))
            client = self._clients[name]
            client.served = now
            return Job(name, client.view, client.pace.after(client.shown_size), client.ticket, True)

    def wait(self) -> Job[View] | None:
        """The next job as soon as there is one; None when closed."""
        while True:
            with self._condition:
                if self._closed:
                    return None
                job = self.next()
                if isinstance(job, Job):
                    return job
                self._condition.wait(None if job == float("inf") else job)

    def is_superseded(self, job: Job[View]) -> bool:
        """Whether a job makes somebody wait: it only sharpens a picture, and a camera has moved since."""
        return job.refines and (self._closed or any(client.waits for client in list(self._clients.values())))

    def done(self, job: Job[View], seconds: float | None) -> None:
        """A job was rendered and shown; `seconds` None where it could not be, and is not to be tried again."""
        with self._condition:
            client = self._clients.get(job.client)
            if client is None:
                return
            client.shown_ticket = job.ticket
            client.shown_size = job.size
            client.sharp = seconds is None or (job.refines and job.size == client.pace.full)
            if seconds is not None:
                client.pace.learn(job.size, seconds)


class RenderLoop(Generic[View]):
    """One thread that renders what clients wish to see.

    Args:
        schedule: the wishes.
        render: makes and shows the picture of a job; asks its second argument now and then whether to give up, and
            raises `SupersededError` then.
        failed: told where a job raised anything else, which ends that job alone.
    """

    def __init__(
        self,
        schedule: Schedule[View],
        render: Callable[[Job[View], Callable[[], bool]], None],
        failed: Callable[[Job[View], Exception], None],
    ) -> None:
        self.schedule, self._render, self._failed = schedule, render, failed
        self._thread = threading.Thread(target=self._work, name="neuraltex-view", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the picture at work."""
        self.schedule.close()
        self._thread.join(timeout=10.0)

    def _work(self) -> None:
        while (job := self.schedule.wait()) is not None:
            self.run(job)

    def run(self, job: Job[View]) -> None:
        """One job, here and now."""
        wish, start = job, time.perf_counter()
        try:
            self._render(job, lambda: self.schedule.is_superseded(wish))
        except SupersededError:
            return
        except Exception as error:
            self.schedule.done(job, None)
            self._failed(job, error)
            return
        self.schedule.done(job, time.perf_counter() - start)
