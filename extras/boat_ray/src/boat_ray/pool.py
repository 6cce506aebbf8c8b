"""The workers, and which of them does what: work goes to whoever is idle, in portions by measured speed.

A portion is a run of consecutive items. Each worker gets about half of its share of what is left, by the speed that was
measured, so that all end together. If a worker dies, its portion is done elsewhere. If a worker takes much longer than
others would, an idle one does the same portion too, and the first result counts; both are the same. The speed of the
slow one is known from then on, and it gets less, or nothing.
"""

from __future__ import annotations

import logging
import pickle
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import ray

from boat_core import BoatError, RunError

from .cluster import Cluster
from .options import ExecutorOptions
from .worker import Answer, Failure, Worker

LOG = logging.getLogger("boat_ray")

#: Seconds of work in a portion, at the least: a message takes about a millisecond.
_LEAST_SECONDS = 0.02
#: Another worker does a portion too when it has taken this many times as long as expected, and this many seconds.
_LATE, _LATE_SECONDS = 3.0, 0.5
#: A worker with less than this part of the fastest one's speed waits where it would end last.
_SLOW = 0.25
#: Seconds between two looks at what cannot be waited for, and between two complaints about missing room.
_LOOK, _COMPLAIN = 1.0, 30.0

#: Starts the items `first` … `last - 1` on a worker and returns what Ray promises: the answer comes first.
Submit = Callable[[Any, int, int], list[Any]]
Read = Callable[[list[Any]], list[Any]]


@dataclass(eq=False)
class Portion:
    """Consecutive items that one worker does together, and what came of them."""

    first: int
    last: int
    attempts: int = 0
    results: list[Any] | None = None
    apart: list[Any] = field(default_factory=list)

    @property
    def size(self) -> int:
        return self.last - self.first


@dataclass(eq=False)
class Member:
    """A worker as the driver knows it. `speed` is in items a second; None before it has been measured."""

    handle: Any
    building: Any
    name: str = "?"
    speed: float | None = None
    is_busy: bool = True


@dataclass(eq=False)
class _Flight:
    """A portion on its way: who does it, since when, and in which round."""

    member: Member
    portion: Portion
    begun: float
    round: int
    apart: list[Any]


class Pool:
    """Holds the workers, and has them do the items of one round after another.

    Args:
        cluster: the connection to Ray.
        recipe: Ray's reference to the pickled recipe.
        options: how many workers, and with what.
    """

    def __init__(self, cluster: Cluster, recipe: Any, options: ExecutorOptions) -> None:
        self._cluster, self._recipe, self._options = cluster, recipe, options
        self.wanted = options.workers or cluster.places(options)
        self.members: list[Member] = []
        self._flights: dict[Any, _Flight] = {}
        self._round = self._stillborn = 0
        self._usual: float | None = None
        self._complained = time.monotonic()
        remote: Any = ray.remote(Worker)
        self._actor = remote.options(max_restarts=0, max_task_retries=0, **self._actor_options())
        for _ in range(self.wanted):
            self._hire()

    def _actor_options(self) -> dict[str, Any]:
        environment = self._options.runtime_env
        more = {} if environment is None else {"runtime_env": environment}
        return {**self._options.resources(), "scheduling_strategy": "SPREAD", **more}

    def _hire(self) -> None:
        handle = self._actor.remote()
        self.members.append(Member(handle, handle.build.remote(self._recipe)))

    # One round

    def run(self, count: int, submit: Submit, read: Read = list) -> list[Portion]:
        """Have all items done, and return their portions in order.

        Args:
            count: how many items there are.
            submit: starts some of them on a worker.
            read: makes what the driver needs of the results of a portion, while the workers go on.

        Raises:
            RunError: workers die of an item again and again, or the head of the cluster is gone.
            Exception: that of the first item that failed by itself.
        """
        self._cluster.require_head()  # work goes on without a head for a while, and then Ray ends this process
        round_ = _Round(count, submit, read)
        self._round += 1
        self._forgive()
        while not round_.is_done:
            self._assign(round_)
            self._await(round_)
        if round_.failure is not None:
            raise error_of(round_.failure)
        return sorted(round_.portions, key=lambda portion: portion.first)

    def _forgive(self) -> None:
        """Let slow workers be tried again after some rounds: what slowed them may be over."""
        self._usual = usual = self._usual_speed()
        for member in self.members:
            if usual is not None and member.speed is not None and member.speed < usual:
                member.speed = min(usual, 1.3 * member.speed)

    def _usual_speed(self) -> float | None:
        speeds = [member.speed for member in self.members if member.speed is not None]
        return statistics.median(speeds) if speeds else None

    def _speed(self, member: Member) -> float:
        return member.speed or self._usual or 1.0

    # Who does what

    def _assign(self, round_: _Round) -> None:
        idle = [member for member in self.members if not member.is_busy]
        if not idle:
            return
        self._usual = self._usual_speed()
        late = {flight.member for flight in self._flights.values() if self._is_late(flight)}
        ready = [self._speed(one) for one in self.members if one.name != "?" and one not in late]
        fastest, together = max(ready), sum(ready)
        for member in sorted(idle, key=self._speed, reverse=True):
            if round_.again:
                portion: Portion | None = round_.again.pop(0)
            else:
                portion = self._cut(round_, member, fastest, together) or self._late(round_, member)
            if portion is not None:
                self._start(round_, member, portion)

    def _start(self, round_: _Round, member: Member, portion: Portion) -> None:
        portion.attempts += 1
        refs = round_.submit(member.handle, portion.first, portion.last)
        member.is_busy = True
        self._flights[refs[0]] = _Flight(member, portion, time.monotonic(), self._round, refs[1:])

    def _cut(self, round_: _Round, member: Member, fastest: float, together: float) -> Portion | None:
        """Take the next portion that nobody has begun; None if there is none, or another worker does it sooner."""
        left = round_.limit - round_.begun
        if left <= 0:
            return None
        mine = self._speed(member)
        if mine < _SLOW * fastest and 1.0 / mine > 2.0 * left / (together - mine):
            return None
        size = portion_size(left, mine / together, member.speed)
        portion = Portion(round_.begun, round_.begun + size)
        round_.begun += size
        round_.portions.append(portion)
        round_.awaited.add(portion)
        return portion

    def _late(self, round_: _Round, member: Member) -> Portion | None:
        """Return the portion that another worker should have done long ago, for `member` to do it as well."""
        late = [
            flight
            for flight in self._flights.values()
            if flight.round == self._round
            and flight.portion.results is None
            and self._is_late(flight)
            and self._copies(flight.portion) == 1
        ]
        if not late:
            return None
        latest = min(late, key=lambda flight: flight.begun)
        slow = latest.member
        slow.speed = min(self._speed(slow), latest.portion.size / (time.monotonic() - latest.begun))
        LOG.info("BOAT: worker %s is slow; another one does its part as well", slow.name)
        return latest.portion

    def _is_late(self, flight: _Flight) -> bool:
        """Whether a portion has taken much longer than usual, or is left over from an earlier round."""
        usual = self._usual
        if flight.round != self._round or usual is None:
            return flight.round != self._round
        expected = flight.portion.size / usual
        return time.monotonic() - flight.begun > max(_LATE * expected, _LATE_SECONDS)

    def _copies(self, portion: Portion) -> int:
        return sum(flight.portion is portion for flight in self._flights.values())

    # What comes back

    def _await(self, round_: _Round) -> None:
        building = {member.building: member for member in self.members if member.name == "?"}
        refs = [*self._flights, *building]
        if not refs:
            raise RunError("no worker is left")
        ready, _ = ray.wait(refs, num_returns=1, timeout=_LOOK)
        if not ready:
            self._cluster.require_head()
            self._complain_of_room(len(building))
            return
        more, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
        for ref in more:
            try:
                value = ray.get(ref)
            except ray.exceptions.RayError as error:
                self._lose(round_, ref, building.get(ref), error)
            else:
                if ref in building:
                    self._admit(building[ref], *value)
                else:
                    self._take(round_, self._flights.pop(ref), value)

    def _admit(self, member: Member, name: str, failure: Failure | None) -> None:
        if failure is not None:
            raise error_of(failure)
        member.name, member.is_busy, self._stillborn = name, False, 0

    def _take(self, round_: _Round, flight: _Flight, answer: Answer) -> None:
        member, portion = flight.member, flight.portion
        member.is_busy = False
        if answer.failure is None and answer.seconds > 0:
            speed = portion.size / max(answer.seconds, 1e-6)
            member.speed = speed if member.speed is None else 0.5 * (member.speed + speed)
        if flight.round != self._round or portion.results is not None:
            return
        if answer.failure is None:
            portion.results, portion.apart = round_.read(answer.results), flight.apart
            round_.awaited.discard(portion)
        elif answer.failure.is_memory:
            LOG.warning("BOAT: worker %s ran out of memory; its tasks are solved elsewhere", member.name)
            self._again(round_, portion, "ran out of memory")
        else:
            round_.fail(portion, answer.failure)

    def _lose(self, round_: _Round, ref: Any, newcomer: Member | None, error: BaseException) -> None:
        """Replace a worker that has died, and have its portion done again."""
        self._cluster.require_head(now=True)  # without a head, Ray would wait for it when a worker is hired
        if isinstance(error, ray.exceptions.LocalRayletDiedError):
            raise RunError("Ray has ended on this machine") from error
        flight = self._flights.pop(ref, None)
        member = newcomer or (flight.member if flight else None)
        if member is None or member not in self.members:
            return
        self.members.remove(member)
        reason = reason_of(error)
        if newcomer is not None:
            self._stillborn += 1
            if self._stillborn > self._options.retries:
                hint = "its log is in Ray's session folder; memory and libraries of the nodes are the usual reasons"
                raise RunError(f"{self._stillborn} workers in a row died at their start: {reason}", hint=hint)
        LOG.warning("BOAT: worker %s died (%s); its tasks are solved elsewhere", member.name, reason)
        self._hire()
        if flight is not None and flight.round == self._round and flight.portion.results is None:
            self._again(round_, flight.portion, reason)

    def _again(self, round_: _Round, portion: Portion, reason: str) -> None:
        if portion.attempts > self._options.retries:
            what = f"{portion.attempts} workers in turn died of the same tasks, the last one: {reason}"
            raise RunError(what, hint="more memory for each worker may help: executor options cpus and memory")
        if not self._copies(portion):
            round_.again.append(portion)

    def _complain_of_room(self, waiting: int) -> None:
        if not waiting or time.monotonic() < self._complained + _COMPLAIN:
            return
        self._complained = time.monotonic()
        text = "BOAT: %d of %d workers have not started so far; `ray status` shows what the cluster has room for"
        LOG.warning(text, waiting, self.wanted)

    def close(self) -> None:
        """End the workers."""
        for member in self.members:
            ray.kill(member.handle)
        self.members, self._flights = [], {}


def portion_size(left: int, part: float, speed: float | None) -> int:
    """Return how many items a worker does together: half of its share of what is left, with two limits.

    A portion takes so long that messages do not matter beside it, and it is never more than the whole share.

    Args:
        left: how many items nobody has begun, at least 1.
        part: the speed of the worker over that of all workers.
        speed: its speed in items a second; None before it is known.
    """
    share = left * part
    least = _LEAST_SECONDS * speed if speed else 1.0
    return min(left, max(1, round(min(share, max(0.5 * share, least)))))


class _Round:
    """The items of one round: those that nobody has begun, those to be done again, and the first that failed."""

    def __init__(self, count: int, submit: Submit, read: Read) -> None:
        self.submit, self.read, self.limit, self.begun = submit, read, count, 0
        self.portions: list[Portion] = []
        self.awaited: set[Portion] = set()
        self.again: list[Portion] = []
        self.failure: Failure | None = None

    @property
    def is_done(self) -> bool:
        return self.begun >= self.limit and not self.awaited

    def fail(self, portion: Portion, failure: Failure) -> None:
        """Forget everything from the item that failed on. What lies before is still awaited: it may fail as well."""
        place = portion.first + failure.place
        if place >= self.limit:
            return
        self.limit, self.failure = place, failure
        self.begun = min(self.begun, place)
        self.portions = [one for one in self.portions if one is not portion and one.first < place]
        self.awaited &= set(self.portions)
        self.again = [one for one in self.again if one in self.awaited]


class WorkerTraceback(Exception):
    """The traceback of a worker, as the cause of the error that the driver raises."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def error_of(failure: Failure) -> BaseException:
    """Return the exception of a worker as the driver raises it, with the worker's traceback as its cause."""
    what = "the problem could not be built" if failure.task is None else f"task {failure.task or 'of the step'}"
    text = f"in worker {failure.worker}, {what}:\n{failure.text}"
    error: BaseException
    if failure.error is None:
        error = RunError(f"worker {failure.worker}: {what}: {failure.text.strip().splitlines()[-1]}")
    else:
        error = pickle.loads(failure.error)
    if not isinstance(error, BoatError):
        LOG.error("BOAT: %s", text.rstrip())
    error.__cause__ = WorkerTraceback(text)
    return error


def reason_of(error: BaseException) -> str:
    """Say in a few words why a worker died."""
    if isinstance(error, ray.exceptions.OutOfMemoryError):
        return "it ran out of memory"
    if isinstance(error, ray.exceptions.NodeDiedError):
        return "its node left"
    text = " ".join(str(error).split())
    for sign, reason in _REASONS:
        if sign in text:
            return reason
    return type(error).__name__


_REASONS = (
    ("out of memory", "it ran out of memory"),
    ("OOM", "it ran out of memory"),
    ("node died", "its node left"),
    ("node has died", "its node left"),
    ("node was terminated", "its node left"),
    ("SIGKILL", "it was killed"),
    ("connection error code 2", "it was killed, or crashed"),
    ("worker process has died", "its process ended"),
)
