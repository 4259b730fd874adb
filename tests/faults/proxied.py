"""Links that break: everything between our processes and broker or databases passes through proxies of ours.

Owns: that arena and these faults. Must not know: how a proxy does it, load, invariants.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from sqlalchemy.engine import make_url

from ops.stack import Stack
from ops.state import DATABASE_VARIABLES

from .arena import Wanted, arena_of, arena_settings
from .fault import Arena, ArenaKind, Fault, Simple
from .proxy import Damage, Link, Listen, Proxies

LINKS = {"broker": "AMQP_URI", **{f"database of {name}": variable for name, variable in DATABASE_VARIABLES.items()}}


@contextmanager
def proxied(wanted: Wanted) -> Iterator[Arena]:
    """Two stacks: one is only broker and databases, the other one reaches them through a proxy for each."""
    with behind_links(wanted, {}) as arena:
        yield replace(arena, kind=ArenaKind.PROXIED)


@contextmanager
def behind_links(wanted: Wanted, listen: Mapping[str, Listen]) -> Iterator[Arena]:
    servers = Stack(wanted.folder.with_name(f"{wanted.folder.name}-servers"), report=wanted.say)
    stack = Stack(wanted.folder, report=wanted.say)
    stack.down(delete_data=True)
    servers.down(delete_data=True)
    with ExitStack() as open_:
        open_.callback(servers.down)
        servers.up(infrastructure_only=True)
        direct = {**servers.environment(), **servers.administrator()}
        targets = {name: _port(direct[variable]) for name, variable in LINKS.items()}
        proxies = open_.enter_context(Proxies(targets, listen))
        open_.callback(stack.down)
        _up(stack, wanted, direct, proxies)
        yield _arena(stack, servers, wanted, proxies)


def _up(stack: Stack, wanted: Wanted, direct: Mapping[str, str], proxies: Proxies) -> None:
    through = {variable: _through(direct[variable], proxies.links[name]) for name, variable in LINKS.items()}
    settings = arena_settings(wanted)
    stack.up(settings=settings, replicas=wanted.replicas, external=through, migrate=False, apply_topology=False)


def _through(url: str, link: Link) -> str:
    return url.replace(f"@127.0.0.1:{_port(url)}/", f"@{link.host}:{link.port}/")


def _port(url: str) -> int:
    port = make_url(url).port
    assert port is not None
    return port


def _arena(stack: Stack, servers: Stack, wanted: Wanted, proxies: Proxies) -> Arena:
    """Whoever looks at the servers goes past the links."""
    arena = arena_of(stack, wanted)
    direct = {variable: servers.environment()[variable] for variable in LINKS.values()}
    environment = {**arena.environment, **direct, **servers.administrator()}
    return replace(arena, infrastructure=servers, environment=environment, proxies=proxies)


@dataclass(frozen=True, kw_only=True)
class Broken:
    """One kind of damage, to one link after another and then to all of them."""

    damage: Damage
    summary: str
    longest_s: float = 6.0
    arena: ArenaKind = ArenaKind.PROXIED

    @property
    def name(self) -> str:
        return f"link-{self.damage.value}"

    def inject(self, arena: Arena) -> int:
        links = _shuffled(arena)
        for link in links[:2] if arena.is_quick else links:
            _break(arena, self.damage, [link], arena.chance.uniform(1.0, self.longest_s))
        _break(arena, self.damage, links, self.longest_s)
        return len(links) + 1


def break_at_random(arena: Arena) -> int:
    """Any damage to any links, sometimes to several."""
    until_s, count = time.monotonic() + (15.0 if arena.is_quick else 45.0), 0
    while time.monotonic() < until_s:
        links = _shuffled(arena)[: arena.chance.randint(1, 3)]
        _break(arena, arena.chance.choice(list(Damage)), links, arena.chance.uniform(0.5, 8.0))
        time.sleep(arena.chance.uniform(0.0, 2.0))
        count += len(links)
    return count


def _shuffled(arena: Arena) -> list[Link]:
    links: list[Link] = list(arena.proxies.links.values())
    arena.chance.shuffle(links)
    return links


def _break(arena: Arena, damage: Damage, links: list[Link], seconds: float) -> None:
    arena.say(f"{damage.value}, {seconds:.1f} s: {', '.join(link.name for link in links)}")
    with ExitStack() as damaged:
        for link in links:
            damaged.enter_context(link.damaged(damage))
        time.sleep(seconds)


PROXIED: tuple[Fault, ...] = (
    Broken(damage=Damage.RESET, summary="connections are reset"),
    Broken(damage=Damage.STALL, summary="nothing passes, nothing is said", longest_s=12.0),
    Broken(damage=Damage.HALF_OPEN, summary="only the servers know that a connection is gone", longest_s=12.0),
    Broken(damage=Damage.DELAY, summary="20 to 250 ms for each piece"),
    Broken(damage=Damage.REFUSE, summary="nobody listens"),
    Simple(name="link-random", summary="any of that, to any links", do=break_at_random, arena=ArenaKind.PROXIED),
)
