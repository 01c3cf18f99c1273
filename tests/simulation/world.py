"""One simulated fleet: controllers on one database, hosts with VMs, one bucket, an operator, and what happens to them."""

import random
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from uuid import UUID

from seawall.agent.hypervisor.port import Domain
from seawall.controller.maintenance.process import Outcome
from seawall.controller.records.catalogue import Point
from seawall.controller.records.limits import Scope, ScopeKey
from seawall.controller.records.runs import Attempt, Run, RunKind
from seawall.controller.recovering.exporting import export_of
from seawall.controller.store.transaction import Transaction
from seawall.repository.exports import newest_export
from seawall.repository.repository import open_repository
from seawall.repository.store.memory import MemoryStore
from support.agent_memory_hypervisor import vm
from support.enrolled_hosts import add_hosts
from support.memory_disks import ModelDisk

from .agent import SimulatedHost, changed
from .bucket import Bucket
from .clocks import MachineClock
from .controller import SimulatedController
from .database import Connection, DatabaseServer
from .invariants import Invariants
from .loop import SimulatedLoop
from .network import Network
from .operators import Operator
from .places import LABELLED, LABELS, sites_of, storages_of
from .process import Process
from .sizes import Size
from .template import MADE_US, Template, config_of, identity_of
from .truth import Truth
from .watching import Committed, Watch

LATER_US = 300 * 1_000_000
DISK_BYTES = 6 * 8192
MOST_READ_BACK = 200
"""Points after a collection."""
MOST_WRITTEN = 60
"""Disks that guests write to at once, on average."""
STARTS_US = (
    1_774_740_600_000_000,  # 2026-03-28 23:30 UTC: clocks in Berlin go forward at 01:00
    1_792_886_400_000_000,  # 2026-10-25 00:00 UTC: and back
    1_781_481_600_000_000,
    1_767_312_000_000_000,
)


@dataclass
class World:
    """Made inside the simulated loop."""

    template: Template
    directory: Path
    seed: str
    size: Size
    loop: SimulatedLoop
    problems: list[str] = field(default_factory=list)
    history: list[str] = field(default_factory=list)
    holders: dict[Process, str] = field(default_factory=dict)
    """Controller's process -> its name in the leader's row."""

    def __post_init__(self) -> None:
        rng = self.rng("world")
        self.start_us = rng.choice(STARTS_US) + rng.randrange(3600) * 1_000_000
        self.work_rng = self.rng("work")
        self._reading_rng = self.rng("reading")
        self.timings = self.size.timings
        self.longest_interval_us = 0
        self.held: set[str] = set()
        """Points that an operator holds."""
        self._held_then: set[str] = set()
        self.ended_early = False
        self.rolled_back = False
        self.healed_us = 0
        self.skew_seconds = 0.0
        """The most that any controller's clock was ever wrong."""
        self._trace = blake2b(digest_size=16)
        self.clock = MachineClock(self.loop, self.start_us)
        self.network = Network(self.loop, self.rng("network"))
        self.bucket = Bucket(self._store(), self.rng("bucket"), self.loop)
        repository = open_repository(self.bucket.store, "controller", self.template.wrapper)
        self.truth = Truth(repository, self.bucket.store, self.problem)
        self.invariants = Invariants(self)
        self.watch = Watch(self._committed)
        self.database = self._database()
        self.controllers = [
            SimulatedController(
                self, number, config_of(self.template, self.directory, number, self.size.controllers, self.timings)
            )
            for number in range(self.size.controllers)
        ]
        self.hosts = [self._host(number) for number in range(self.size.agents)]
        self._names = {host.id: host.name for host in self.hosts}
        self.placed: dict[str, tuple[ScopeKey, ...]] = {}
        """VM -> its storage and its labels."""
        self._add_vms(rng)
        self.operator = Operator(self, self.rng("operator"))

    def rng(self, name: str) -> random.Random:
        """A stream of chance of its own."""
        return random.Random(f"{self.seed}/{name}")

    @property
    def now(self) -> float:
        return self.loop.time()

    def note(self, what: str) -> None:
        """A line of the history; part of the trace."""
        line = f"{self.now:10.3f} {what}"
        self._trace.update(line.encode())
        self.history.append(line)

    def problem(self, what: str) -> None:
        self.note(f"VIOLATED: {what}")
        self.problems.append(what)

    @property
    def trace(self) -> str:
        """Of everything that was noted and committed until now, and of what lies in the bucket."""
        whole = self._trace.copy()
        for each in self.bucket.store.list(""):
            whole.update(f"{each.name} {each.size_bytes}".encode())
        return whole.hexdigest()

    def wall_us(self, process: Process) -> int:
        """As the process's machine shows it."""
        machine = next((each for each in self.machines if each.process is process), None)
        return machine.clock.now_us() if machine is not None else self.clock.now_us()

    @property
    def machines(self) -> "list[SimulatedHost | SimulatedController]":
        return [*self.controllers, *self.hosts]

    def unfinished(self) -> list[Run]:
        """Runs that are not over, but for those that a policy planned for long after all was healed."""
        shadow, latest_us = self.invariants.shadow, self.healed_us + LATER_US
        return [run for run in shadow.open() if shadow.planned[run.id] < latest_us]

    def leader(self) -> SimulatedController | None:
        """Whose name is in the leader's row, if its process lives."""
        holder = self.database.read(lambda transaction: transaction.leadership.lease().holder)
        return next((each for each in self.controllers if each.up and self.holders.get(each.process) == holder), None)

    def host_name(self, host_id: str) -> str:
        return self._names.get(host_id, host_id)

    def scopes(self, run: Run, host_id: str) -> tuple[ScopeKey, ...]:
        """What an attempt of it takes a place of on that host: its limits hold for each."""
        of_vm = self.placed.get(run.vm_id, ()) if run.kind is RunKind.BACKUP else ()
        others = (ScopeKey(Scope.REPOSITORY, run.repository_id), ScopeKey(Scope.TENANT, run.tenant))
        return (*self.scopes_of_host(host_id), *of_vm, *others)

    def scopes_of_host(self, host_id: str) -> tuple[ScopeKey, ...]:
        return ScopeKey(Scope.GLOBAL, ""), ScopeKey(Scope.HOST, host_id), ScopeKey(Scope.SITE, self.sites[host_id])

    def start(self) -> None:
        for controller in self.controllers:
            controller.start()
        for host in self.hosts:
            host.start()

    def write_disks(self, rng: random.Random) -> None:
        """Some guests write something."""
        share = min(0.3, MOST_WRITTEN / self.size.vms)
        for host in self.hosts:
            for vm_id in sorted(host.disks):
                if rng.random() < share:
                    changed(host.disks[vm_id], rng)

    def migrate(self, rng: random.Random) -> None:
        """A VM goes on on another host."""
        source, target = rng.sample(self.hosts, 2)
        if source.disks:
            vm_id = rng.choice(sorted(source.disks))
            domain = source.hypervisor.vms[vm_id]
            target.add_vm(domain, source.remove_vm(vm_id))
            self.note(f"VM {domain.name} migrates from {source.name} to {target.name}")

    def collected(self, outcome: Outcome) -> None:
        """A collection is over, however: whatever is promised is there still."""
        self.invariants.looked["collection"] += 1
        done = outcome.result["deleted"]["packs"] if outcome.result else 0
        self.invariants.looked["pack deleted"] += done
        self.note(f"a collection ends: {outcome.failure['reason'] if outcome.failure else outcome.died or 'done'}")
        self.truth.check_some(MOST_READ_BACK, self._reading_rng)

    def _exported_holds(self) -> set[str]:
        """A database that is put back learns them from the bucket again."""
        found = newest_export(self.truth.repository)
        return {hold.point_id for hold in export_of(found.document).settled.holds} if found else set()

    def copy_database(self, target: Path) -> None:
        """What the operator and the agents were told from here on, a roll-back may undo, but for what an export says by then."""
        self.database.copy(target)
        self._held_then = set(self.held)
        self.note("the database is copied")

    def roll_back(self, copy: Path) -> None:
        self.database.roll_back(copy)
        shadow = self.invariants.shadow
        self.database.read(lambda transaction: shadow.load(transaction, self.now))
        self.database.read(self.invariants.firings.load)
        shadow.scopes = {each.id: self.scopes(shadow.runs[each.run_id], each.host_id) for each in shadow.live.values()}
        self.rolled_back = True
        self.held &= self._held_then | self._exported_holds()
        self.note("the database is rolled back")

    def _committed(self, committed: Committed) -> None:
        for call in committed.calls:
            what = " ".join(_brief(each) for each in call.given)
            self._trace.update(f"{self.now:.6f} {committed.process.name} {call.name} {what}".encode())
        self.invariants.committed(committed)

    def _store(self) -> MemoryStore:
        store = MemoryStore(self.template.url, self.clock)
        for name, body in self.template.objects.items():
            store.put(name, body)
        return store

    def _database(self) -> DatabaseServer:
        file = self.directory / "controller.sqlite"
        file.write_bytes(self.template.database.read_bytes())
        server = DatabaseServer(file, self.rng("database"), self.watch)
        ids = [self._id("host", number) for number in range(self.size.agents)]
        connection = Connection(server, Process("setting up", self.loop), self.loop)
        add_hosts(connection, *ids, now_us=MADE_US)
        sites = sites_of(self.size.agents)
        self.sites = {host_id: sites[number % len(sites)] for number, host_id in enumerate(ids)}
        connection.write_now(self._set_sites)
        return server

    def _set_sites(self, transaction: Transaction) -> None:
        for host_id, site in self.sites.items():
            transaction.fleet.set_site(host_id, site)

    def _host(self, number: int) -> SimulatedHost:
        host_id = self._id("host", number)
        identity = identity_of(self.template, host_id, self.size.controllers)
        return SimulatedHost(self, number, host_id, identity, self.directory / f"agent-{number}")

    def _add_vms(self, rng: random.Random) -> None:
        for number in range(self.size.vms):
            disk = ModelDisk(DISK_BYTES)
            changed(disk, rng)
            self.hosts[number % len(self.hosts)].add_vm(self._domain(number), disk)

    def _domain(self, number: int) -> Domain:
        """A VM, with what limits its backups."""
        storages = storages_of(self.size.agents)
        storage = storages[number % len(storages)]
        labels = (LABELS[number % len(LABELS)],) if number < LABELLED else ()
        plain = vm(self._id("vm", number), f"vm-{number:05d}")
        self.placed[plain.vm_id] = (
            ScopeKey(Scope.STORAGE, storage),
            *(ScopeKey(Scope.LABEL, label) for label in labels),
        )
        return replace(plain, disks=tuple(replace(disk, storages=(storage,)) for disk in plain.disks), tags=labels)

    def _id(self, kind: str, number: int) -> str:
        return str(UUID(int=self.rng(f"{kind}/{number}").getrandbits(128), version=4))


def _brief(value: object) -> str:
    """Of a record its id and state."""
    if isinstance(value, Run | Attempt | Point):
        return f"{value.id} {value.state.value}"
    return value if isinstance(value, str) else ""
