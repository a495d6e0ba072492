"""What a chaos run does, and when: customers who write and everything that goes wrong meanwhile, drawn from a seed.

Pure: the same seed, kills and minutes give the same plan, which can be printed and repeated. Times are seconds from the
first webhook. Everything that is broken is whole again at `heal_at`; what comes after that only shows that every
conversation still works.

    0 s ───────── customers write, persons answer ────────── heal_at ── a last message to some ── quiet_at
        kills, freezes, replicas, cut wires, provider faults         │
                                                      all is whole again
"""

import hashlib
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import get_args

from board import Board
from plan_customers import webhooks_of
from plan_logs import LOG_FAULTS
from steps import (
    BendEchoes,
    Break,
    BreakWire,
    ClockSkew,
    EchoesAgain,
    EchoWay,
    Fault,
    Freeze,
    Kill,
    KillAt,
    MerchantTrouble,
    Misbehave,
    Provider,
    Replica,
    Restart,
    Service,
    Step,
    Victim,
    Webhook,
    Wire,
)
from tenant_troubles import TROUBLES

from common.failpoints import PLACES

PACE = 2.8
"""Seconds from one kill to the next where the minutes allow no more."""


@dataclass(frozen=True)
class Plan:
    """A whole run."""

    seed: int
    kills: int
    conversations: int
    heal_at: float
    quiet_at: float
    webhooks: tuple[Webhook, ...]
    faults: tuple[Fault, ...]
    platform_ahead: float = 0.0
    """Seconds by which the platforms' clock is ahead of this machine's."""

    @classmethod
    def of(cls, seed: int, kills: int, minutes: float = 0.0) -> "Plan":
        """Draw the plan of a seed: `kills` SIGKILLs at least, over `minutes` at least. Raises ValueError."""
        if kills < 1:
            raise ValueError(f"kills: {kills} are too few; give 1 or more")
        heal_at = max(kills * PACE, minutes * 60.0, 10.0)
        conversations = 60 + int(heal_at * 0.9)
        quiet_at = heal_at + 4.0
        faults = _faults(random.Random(f"{seed}:faults"), kills, heal_at)
        webhooks = webhooks_of(random.Random(f"{seed}:customers"), conversations, heal_at)
        platform_ahead = random.Random(f"{seed}:platform").choice(PLATFORM_AHEAD)
        return cls(seed, kills, conversations, heal_at, quiet_at, webhooks, faults, platform_ahead)

    @property
    def steps(self) -> tuple[Step, ...]:
        """Everything, in the order in which it begins."""
        return tuple(sorted((*self.webhooks, *self.faults), key=lambda step: step.at))

    @property
    def digest(self) -> str:
        """A fingerprint: equal plans have equal ones."""
        return hashlib.sha256("\n".join(self.lines()).encode()).hexdigest()[:16]

    def lines(self) -> Iterator[str]:
        """Yield a line a step."""
        clock = f", the platforms' clock {self.platform_ahead:+.0f} s" if self.platform_ahead else ""
        words = f"{self.kills} kills, {self.conversations} conversations, whole at {self.heal_at:.1f} s"
        yield f"seed {self.seed}: {words}{clock}"
        for step in self.steps:
            yield f"{step.at:8.2f} s  {step}"


# Faults

REST: Mapping[Victim, float] = {
    "ingest": 4.0,
    "ai": 4.5,
    "delivery": 4.5,
    "cleanup": 45.0,
    "kafka": 70.0,
    "mongo": 20.0,
}
"""Seconds a victim lives at least: long enough to get something done."""
WEIGHT: Mapping[Victim, int] = {"ingest": 4, "ai": 7, "delivery": 9, "cleanup": 1, "kafka": 3, "mongo": 5}
ALWAYS: tuple[Victim, ...] = ("ingest", "ai", "delivery")
"""Who is killed when nobody has rested."""
RECOVERY: Mapping[Victim, float] = {"kafka": 9.0, "mongo": 4.0}
"""Seconds in which nothing else may happen to a store that was killed."""

NEVER_REACHED = frozenset(
    {
        "kafka.after_dead_letter_before_done",
        "ai.after_transcript_before_decision",
        *(place for place in PLACES if place.startswith("cleanup.")),
    }
)
"""Places that no webhook of a run leads to; tests of their own do."""
SERVICE_OF_PLACE: Mapping[str, tuple[Service, ...]] = {
    "ingest": ("ingest",),
    "ai": ("ai",),
    "delivery": ("delivery",),
    "kafka": ("ai", "delivery"),
}
AT_A_PLACE = 0.45
"""How many of the kills of a service that has places are followed by a death at one of them."""
UNDER_ITS_NAME = 0.75
WHATEVER_IT_DOES = 0.15
TO_THE_PLACE = 8.0
"""Seconds to start, to get its partitions back, and to come by its place."""
TWO_AT_ONCE = 0.12

FREEZE_EVERY, REPLICA_EVERY, RESTART_EVERY = 34.0, 30.0, 45.0
WIRE_EVERY, PROVIDER_EVERY, ECHO_EVERY, AGAIN_EVERY = 11.0, 9.0, 25.0, 15.0
FREEZE_SECONDS = (9.0, 14.0)
"""Above the session's time-out (6 s in the stack) and everything delivery waits for."""
REPLICA_WARMS_UP = 7.0
IN_TROUBLE = ("trouble 1", "trouble 2")
"""How many wires and providers may be in trouble at once."""
SLOWEST_PLATFORM = 0.8
"""Seconds; a platform that takes a request and does it later than delivery looks is the one thing nobody can know."""


SKEW_EVERY, TROUBLE_EVERY = 20.0, 20.0
AHEAD = (-120.0, -60.0, -30.0, -5.0, 5.0, 30.0, 60.0, 120.0)
"""Seconds by which a service's clock may differ."""
PLATFORM_AHEAD = (*(0.0,) * 6, *AHEAD)
WRONG_ANSWER = 0.5
"""How many of the model's troubles are wrong answers."""
WRONG_ANSWERS = (
    (400, '{"error":{"message":"json_validate_failed","type":"invalid_request_error","code":"json_validate_failed"}}'),
    (200, '{"error":{"message":"upstream is away","code":502}}'),
    (200, '{"choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":null}}]}'),
    (200, '{"choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"<think>hm"}}]}'),
    (200, '{"choices":[]}'),
    (200, "<html>Bad gateway</html>"),
    (200, 'data: {"choices":[]}'),
    (404, '{"error":{"message":"The model does not exist","type":"invalid_request_error"}}'),
)
"""What model servers are known to answer when something is wrong: a status and a body."""


def places_of(service: Service) -> tuple[str, ...]:
    """Return the places at which a service can be made to die by what customers do."""
    return tuple(
        place for place in PLACES if place not in NEVER_REACHED and service in SERVICE_OF_PLACE[place.partition(".")[0]]
    )


def _faults(draw: random.Random, kills: int, heal_at: float) -> tuple[Fault, ...]:
    board = Board(heal_at)
    faults: list[Fault] = list(_kills(draw, board, kills, heal_at))
    makers: tuple[tuple[float, Callable[[random.Random, Board, float], Iterable[Fault]]], ...] = (
        *LOG_FAULTS,  # first: they need a group to themselves for longest
        (FREEZE_EVERY, _freeze),
        (REPLICA_EVERY, _replica),
        (RESTART_EVERY, _restart),
        (WIRE_EVERY, _wire),
        (PROVIDER_EVERY, _provider),
        (ECHO_EVERY, _echoes),
        (AGAIN_EVERY, _echoes_again),
        (SKEW_EVERY, _skew),
        (TROUBLE_EVERY, _trouble),
    )
    for every, make in makers:
        at = draw.uniform(1.0, every)
        while at < heal_at:
            faults += make(draw, board, at)
            at += every * draw.uniform(0.7, 1.3)
    return tuple(sorted(faults, key=lambda fault: (fault.at, str(fault))))


def _kills(draw: random.Random, board: Board, kills: int, heal_at: float) -> Iterator[Kill | KillAt]:
    pace = heal_at / (kills + 1)
    rested: dict[Victim, float] = dict.fromkeys(get_args(Victim), 0.0)
    at, done = 0.0, 0
    while done < kills:
        done += 1
        if draw.random() >= TWO_AT_ONCE or at == 0.0:
            at = pace * (done + draw.uniform(-0.3, 0.3))
        victim = _victim(draw, board, rested, at)
        rested[victim] = at + REST[victim]
        consumes = victim in {"ai", "delivery"}
        named = consumes and draw.random() < UNDER_ITS_NAME
        if victim in get_args(Service) and places_of(victim) and draw.random() < AT_A_PLACE:  # type: ignore[arg-type]
            place = draw.choice(places_of(victim))  # type: ignore[arg-type]
            rested[victim] = at + TO_THE_PLACE
            yield KillAt(at, victim, place, draw.choice((1, 1, 1, 1, 2, 4)), named)  # type: ignore[arg-type]
        else:
            newest = consumes and draw.random() < 0.3
            yield Kill(at, victim, newest=newest, named=named, starting=draw.random() < WHATEVER_IT_DOES)


def _victim(draw: random.Random, board: Board, rested: Mapping[Victim, float], at: float) -> Victim:
    """Return who is killed: one that has rested, a store only where no other is in trouble."""
    ready = [victim for victim in get_args(Victim) if rested[victim] <= at]
    for victim in sorted(ready, key=lambda one: draw.random() ** (1.0 / WEIGHT[one]), reverse=True):
        if victim not in RECOVERY or board.take("store", at, at + RECOVERY[victim]):
            chosen: Victim = victim
            return chosen
    return min(ALWAYS, key=lambda one: rested[one])


def _freeze(draw: random.Random, board: Board, at: float) -> Iterator[Fault]:
    """Freeze one that has company, mostly: only then somebody else takes over what it holds."""
    service: Service = draw.choice(("ai", "delivery", "delivery", "ingest"))
    seconds = draw.uniform(*FREEZE_SECONDS)
    company = service != "ingest" and draw.random() < 0.8
    begin = at + (REPLICA_WARMS_UP if company else 0.0)
    end = begin + seconds
    if not board.free(f"replica {service}", at, end + 5.0) or not board.take("freeze", begin, end):
        return
    if company and board.take(f"replica {service}", at, min(end + 5.0, board.heal_at)):
        yield Replica(at, service, min(end + 5.0, board.heal_at) - at)
    yield Freeze(begin, service, seconds)


def _replica(draw: random.Random, board: Board, at: float) -> Iterator[Fault]:
    service: Service = draw.choice(("ai", "delivery"))
    seconds = draw.uniform(8.0, 20.0)
    if board.take(f"replica {service}", at, at + seconds):
        yield Replica(at, service, seconds)


def _restart(draw: random.Random, board: Board, at: float) -> Iterator[Fault]:
    service: Service = draw.choice(("ingest", "ai", "delivery", "delivery"))
    if board.free("freeze", at, at + 6.0) and board.take("restart", at, at + 6.0):
        yield Restart(at, service)


def _wire(draw: random.Random, board: Board, at: float) -> Iterator[Fault]:
    wire: Wire = draw.choice(get_args(Wire))
    how: Break = draw.choice(get_args(Break))
    seconds = 0.5 if how == "drop" else draw.uniform(2.0, 5.0)
    delay = draw.uniform(0.05, 0.3) if how == "delay" else 0.0
    end = at + seconds
    if wire in {"kafka", "mongo"} and not board.take("store", at, end + 2.0):
        return
    if (
        board.free(wire, at, end)
        and board.take_one_of(("trouble 1", "trouble 2"), at, end)
        and board.take(wire, at, end)
    ):
        yield BreakWire(at, wire, how, seconds, delay)


def _provider(draw: random.Random, board: Board, at: float) -> Iterator[Fault]:
    api: Provider = draw.choice(("graph", "manychat", "manychat", "openai"))
    seconds = draw.uniform(2.0, 5.0)
    end = at + seconds
    name, wait, effect, after = draw.choice(
        (
            ("rate_limited", draw.choice((0.0, 0.0, 1.5)), None, draw.choice((0.5, 1.0, 2.0))),
            ("server_error", 0.0, None, None),
            ("server_error", 0.0, api != "openai", None),
            ("hang", 4.0, None, None),
            ("hang", 4.0, api != "openai", None),
            ("drop", 0.0, None, None),
            ("drop", 0.0, None, None),
            ("drop_before", 0.0, None, None),
            ("slow", draw.uniform(0.2, SLOWEST_PLATFORM), None, None),
        )
    )
    status, body = 0, ""
    if api == "openai" and draw.random() < WRONG_ANSWER:
        name, wait, effect, after = (
            draw.choice(("malformed", "empty", "refusal", "length", *("answer",) * 4)),
            0.0,
            None,
            None,
        )
        status, body = draw.choice(WRONG_ANSWERS) if name == "answer" else (0, "")
    if board.free(api, at, end) and board.take_one_of(IN_TROUBLE, at, end) and board.take(api, at, end):
        yield Misbehave(at, api, name, seconds, draw.choice((0.2, 0.5, 1.0)), wait, effect, after, status, body)


def _skew(draw: random.Random, board: Board, at: float) -> Iterator[Fault]:
    """Give one service another clock. ingest's is set once and at the beginning: one of its machines would not jump."""
    if board.take("clock of ingest", 0.0, board.heal_at):
        yield ClockSkew(0.5, "ingest", draw.choice(AHEAD))
    elif board.free("freeze", at, at + 6.0) and board.take("restart", at, at + 6.0):
        yield ClockSkew(at, draw.choice(("ai", "delivery", "delivery", "cleanup")), draw.choice(AHEAD))


def _trouble(draw: random.Random, board: Board, at: float) -> Iterator[Fault]:
    seconds = draw.uniform(4.0, 9.0)
    if board.take("another merchant", at, at + seconds):
        yield MerchantTrouble(at, draw.choice(TROUBLES), seconds)


def _echoes(draw: random.Random, board: Board, at: float) -> Iterator[Fault]:
    way: EchoWay = draw.choice(get_args(EchoWay))
    seconds = draw.uniform(4.0, 9.0)
    if board.take("echoes", at, at + seconds):
        yield BendEchoes(at, way, seconds, draw.uniform(1.5, 5.0) if way == "late" else 0.0)


def _echoes_again(draw: random.Random, board: Board, at: float) -> Iterator[Fault]:
    yield EchoesAgain(at, draw.randint(3, 20))
