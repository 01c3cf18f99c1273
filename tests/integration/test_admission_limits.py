"""Limits through the real command, a real controller and several scripted hosts: what runs, what waits and why, and what changes live."""

import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import grpc
import pytest

from seawall.api.v1 import agent_pb2, limits_pb2, limits_pb2_grpc, operator_pb2, resources_pb2
from seawall.cli.commands.limit import MOST as COMMAND_MOST
from seawall.controller.services.limits import MOST
from support.cli_command import Cli
from support.controller_agent import ScriptedAgent, enrolled
from support.controller_application import Controller, configured, reason_of, running
from support.enrolled_hosts import add_hosts
from support.many_vms import database_of

HOSTS = 3
VMS_PER_HOST = 4
WAITING = resources_pb2.RUN_STATE_READY
MIB = 2**20


class Fleet:
    """A controller, hosts kvm-0 … with VMs vm-0-0 …, and the operator's command."""

    def __init__(self, controller: Controller, cli: Cli) -> None:
        self.controller = controller
        self.cli = cli
        self.agents = [enrolled(controller, f"kvm-{number}") for number in range(HOSTS)]
        for number, agent in enumerate(self.agents):
            report(agent, number)

    def order(self, *vms: str) -> list[str]:
        return [self.controller.start_backup(vm).run_id for vm in vms]

    def give(self, vm: str, tenant: str) -> None:
        settings = resources_pb2.VmSettings(tenant=tenant)
        self.controller.backups.ProtectVm(
            operator_pb2.ProtectVmRequest(request_id=str(uuid.uuid4()), vm=vm, settings=settings)
        )

    def waits(self, run_id: str, words: str) -> resources_pb2.Run:
        return self.controller.watch(run_id, lambda run: run.state == WAITING and words in run.blocked_on)

    def runs(self, run_id: str) -> resources_pb2.Run:
        return self.controller.watch(run_id, lambda run: run.state == resources_pb2.RUN_STATE_ACTIVE)


def vm_id(host: int, number: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{host}-{number}"))


def a_disk(target: str, source: str, *storages: str) -> resources_pb2.VmDisk:
    return resources_pb2.VmDisk(
        disk=target, size_bytes=1 << 30, format="raw", device="disk", source=source, storages=storages
    )


def report(agent: ScriptedAgent, host: int) -> None:
    """As an agent that tells of no storages."""
    report_vms(agent, host, [[a_disk("vda", f"/pool-{number % 2}/{number}.raw")] for number in range(VMS_PER_HOST)])


def report_vms(
    agent: ScriptedAgent, host: int, vms: Sequence[Sequence[resources_pb2.VmDisk]], revision: int = 1
) -> None:
    told = [
        resources_pb2.Vm(vm_id=vm_id(host, number), name=f"vm-{host}-{number}", state="running", disks=disks)
        for number, disks in enumerate(vms)
    ]
    request = agent_pb2.ReportInventoryRequest(session_id=agent.session_id, revision=revision, last=True, vms=told)
    agent.stub.ReportInventory(request)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    config = configured(tmp_path / "controller")
    with running(config) as controller:
        controller.add_folder(tmp_path / "bucket")
        yield Fleet(controller, Cli(tmp_path, config.operator_toml))


def test_limits_change_live_and_a_run_says_what_it_waits_for(fleet: Fleet) -> None:
    assert fleet.cli("limit", "set", "host:kvm-0", "--transferring", "2").code == 0
    first, second, third = fleet.order("vm-0-0", "vm-0-1", "vm-0-2")
    fleet.runs(first)
    fleet.waits(second, "all 1 slots of host kvm-0 are taken (1 more kept for restores)")
    told = fleet.cli("run", "explain", second, "--json").json
    assert (told["blocked_on"]["scope"], told["blocked_on"]["used"], told["blocked_on"]["cap"]) == ("host:kvm-0", 1, 1)
    assert [holder["run_id"] for holder in told["holders"]] == [first]
    assert "seawall limit set 'host:kvm-0' --transferring 3" in told["advice"][0]
    assert fleet.cli("limit", "set", "host:kvm-0", "--transferring", "3").code == 0
    fleet.runs(second)
    fleet.waits(third, "all 2 slots of host kvm-0")
    assert fleet.cli("limit", "set", "global", "--preparing", "2").code == 0
    assert fleet.cli("limit", "unset", "host:kvm-0").code == 0
    (other,) = fleet.order("vm-1-0")
    fleet.waits(other, "this controller prepares 2 at once")
    assert fleet.cli("limit", "unset", "global", "--preparing").code == 0
    fleet.runs(other)
    lines = fleet.cli("limit", "list").out
    assert "host:kvm-0" in lines
    assert "2/3" in lines


def test_a_storage_and_a_group_bound_runs_on_hosts_that_have_room(fleet: Fleet) -> None:
    assert fleet.cli("limit", "set", "storage:kvm-0:/pool-0", "--transferring", "1").code == 0
    first, same = fleet.order("vm-0-0", "vm-0-2")
    fleet.runs(first)
    fleet.waits(same, "all 1 slots of storage kvm-0:/pool-0 are taken")
    assert fleet.cli("limit", "apart", "cluster", "vm-1-0", "vm-2-0").code == 0
    member, other = fleet.order("vm-1-0", "vm-2-0")
    fleet.runs(member)
    fleet.waits(other, "all 1 slots of group cluster are taken")


def test_one_limit_holds_for_all_hosts_that_mount_a_server_and_for_all_directories_of_a_file_system(
    fleet: Fleet,
) -> None:
    assert fleet.cli("limit", "set", "storage:kvm-0:/pool-0", "--transferring", "1").code == 0
    for number, agent in enumerate(fleet.agents[:2]):
        shared = [a_disk("vda", f"/mnt/{number}/web/disk.qcow2", "nfs:nas:/vol1")]
        own = [
            a_disk("vda", "/images/a/a.qcow2", "/images"),
            a_disk("vdb", "/images/b/b.qcow2", "/images", "nfs:nas:/gold"),
        ]
        report_vms(agent, number, [shared, own], revision=2)
    assert fleet.cli("limit", "set", "storage:nfs:nas:/vol1", "--transferring", "1").code == 0
    first, other = fleet.order("vm-0-0", "vm-1-0")
    fleet.runs(first)
    fleet.waits(other, "all 1 slots of storage nfs:nas:/vol1 are taken")
    told = fleet.cli("run", "explain", other, "--json").json
    assert told["blocked_on"]["scope"] == "storage:nfs:nas:/vol1"
    assert [holder["host_name"] for holder in told["holders"]] == ["kvm-0"]
    assert "seawall limit set 'storage:nfs:nas:/vol1' --transferring 2" in told["advice"][0]
    scopes = {each["scope"] for each in fleet.cli("limit", "list", "--all", "--json").json["limits"]}
    storages = {
        "kvm-0:/pool-0",
        "nfs:nas:/vol1",
        "nfs:nas:/gold",
        "kvm-0:/images",
        "kvm-1:/images",
        "kvm-2:/pool-0",
        "kvm-2:/pool-1",
    }
    assert {scope for scope in scopes if scope.startswith("storage:")} == {f"storage:{each}" for each in storages}
    assert fleet.cli.completed("seawall limit set storage:nfs") == (
        "storage:nfs:nas:/gold\nstorage:nfs:nas:/vol1\n",
        "",
    )
    older = next(line for line in fleet.cli("limit", "list").out.splitlines() if "storage:kvm-0:/pool-0" in line)
    assert older.endswith("no VM has a disk there"), "its agent tells more than it did when the limit was set"
    disks = fleet.cli("vm", "show", "vm-0-1", "--json").json["disks"]
    assert [disk["storages"] for disk in disks] == [["kvm-0:/images"], ["kvm-0:/images", "nfs:nas:/gold"]]
    assert "kvm-0:/images, nfs:nas:/gold" in fleet.cli("vm", "show", "vm-0-1").out


def test_a_cordoned_host_gets_nothing_until_it_is_put_back(fleet: Fleet) -> None:
    assert "cordoned" in fleet.cli("host", "cordon", "kvm-2").out
    (run,) = fleet.order("vm-2-1")
    fleet.waits(run, "host kvm-2 is cordoned")
    assert fleet.cli("host", "show", "kvm-2", "--json").json["waiting"] == 1
    assert fleet.cli("host", "uncordon", "kvm-2").code == 0
    fleet.runs(run)
    with fleet.cli.background("host", "drain", "kvm-2") as draining:
        fleet.controller.watch(run, lambda seen: seen.state == resources_pb2.RUN_STATE_ACTIVE)
        agent = fleet.agents[2]
        attempt = agent.next_assignment().attempt
        agent.accept(attempt)
        while not fleet.cli("host", "show", "kvm-2", "--json").json["host"]["draining"]:
            assert draining.poll() is None, "it waits for what runs"
        gone = resources_pb2.Failure(reason="VM_GONE", kind=resources_pb2.FAILURE_KIND_PERMANENT)
        agent.fail(attempt, gone)
        assert "drained: nothing runs here" in draining.communicate(timeout=30)[0]


def test_a_breaker_opens_survives_a_restart_and_ends_with_uncordon(tmp_path: Path) -> None:
    config = configured(tmp_path / "controller")
    broken = resources_pb2.Failure(reason="WORKER_EXITED", message="killed", kind=resources_pb2.FAILURE_KIND_TRANSIENT)
    cli = Cli(tmp_path, config.operator_toml)
    with running(config) as controller:
        controller.add_folder(tmp_path / "bucket")
        fleet = Fleet(controller, cli)
        agent = fleet.agents[0]
        fleet.order("vm-0-0", "vm-0-1")
        for _ in range(5):
            attempt = agent.next_assignment().attempt
            agent.accept(attempt)
            agent.fail(attempt, broken)
        (run,) = fleet.order("vm-0-2")
        fleet.waits(run, "5 attempts on host kvm-0 failed in a row (WORKER_EXITED: killed)")
    with running(config) as controller:
        answer = cli("host", "show", "kvm-0", "--json").json
        assert (answer["limits"]["breaker"]["state"], answer["limits"]["breaker"]["failures"]) == ("open", 5)
        assert "breaker open" in cli("limit", "list").out
        assert cli("host", "uncordon", "kvm-0").code == 0
        controller.watch(run, lambda seen: seen.state == resources_pb2.RUN_STATE_ACTIVE)


@pytest.mark.parametrize(("scope", "why"), [("site:typo", "no host is there"), ("label:typo", "no VM has it")])
def test_a_limit_of_what_is_not_there_yet_is_taken_and_says_so(shared: Fleet, scope: str, why: str) -> None:
    """It may be set before the hosts come; and a mistyped one is not believed in."""
    answer = shared.cli("limit", "set", scope, "--transferring", "1")
    assert answer.code == 0
    assert answer.out.splitlines()[-1].endswith(why)
    assert f"Warning: {scope} is nothing that there is now" in answer.err
    assert shared.cli("limit", "set", scope, "--transferring", "1", "--json").json["unknown"] is True
    assert shared.cli("limit", "unset", scope).code == 0


def test_a_limit_of_a_site_or_label_that_is_there_says_nothing(shared: Fleet) -> None:
    assert shared.cli("host", "set", "kvm-0", "--site", "north").code == 0
    assert shared.cli("limit", "apart", "pair", "vm-0-0", "vm-0-1").code == 0
    for scope in ("site:north", "label:pair"):
        answer = shared.cli("limit", "set", scope, "--transferring", "9")
        assert (answer.code, answer.err) == (0, "")
    assert shared.cli("host", "set", "kvm-0", "--site", "").code == 0
    shared.cli("limit", "apart", "pair", "vm-0-0", "vm-0-1", "--remove")
    for scope in ("site:north", "label:pair"):
        shared.cli("limit", "unset", scope)


@pytest.mark.parametrize("back", [("--site", ""), ("--site=",)])
def test_an_empty_site_takes_the_site_back(shared: Fleet, back: tuple[str, ...]) -> None:
    assert "site         north" in shared.cli("host", "set", "kvm-0", "--site", "north").out
    answer = shared.cli("host", "set", "kvm-0", *back)
    assert (answer.code, answer.err) == (0, "")
    assert "site" not in answer.out
    assert shared.cli("host", "show", "kvm-0", "--json").json["site"] == ""


def apart(fleet: Fleet, *words: str) -> tuple[int, str]:
    answer = fleet.cli("limit", "apart", *words)
    return answer.code, answer.out


def test_a_group_says_how_many_vms_it_has(shared: Fleet) -> None:
    assert apart(shared, "trio", "vm-0-0", "vm-0-1") == (0, "trio: vm-0-0, vm-0-1\n2 VMs in the group now.\n")
    assert apart(shared, "trio", "vm-0-2") == (0, "trio: vm-0-0, vm-0-1, vm-0-2\n3 VMs in the group now.\n")
    assert apart(shared, "trio", "vm-0-0", "vm-0-1", "--remove")[1].endswith("1 VM in the group now.\n")
    assert apart(shared, "trio", "vm-0-2", "--remove")[1] == "trio: no VM\n0 VMs in the group now.\n"
    assert shared.cli("limit", "unset", "label:trio").code == 0


def test_a_group_that_is_named_like_a_vm_is_asked_about(shared: Fleet) -> None:
    """The group's name was forgotten."""
    before = shared.cli("limit", "list", "--json").json
    answer = shared.cli("limit", "apart", "vm-0-0", "vm-0-1")
    assert answer.code == 2
    assert "vm-0-0 is a VM (vm-0-0): the first word is the group's name" in answer.err and "--yes" in answer.err
    assert shared.cli("limit", "apart", "vm-0-0", "vm-0-1", "--json").reason == "NOT_CONFIRMED"
    assert shared.cli("limit", "list", "--json").json == before
    assert apart(shared, "vm-0-0", "vm-0-1", "--yes") == (0, "vm-0-0: vm-0-1\n1 VM in the group now.\n")
    assert apart(shared, "vm-0-0", "vm-0-2")[0] == 0, "a group that is there is not asked about again"
    assert apart(shared, "vm-0-0", "vm-0-1", "vm-0-2", "--remove")[0] == 0
    assert shared.cli("limit", "unset", "label:vm-0-0").code == 0


def test_a_group_that_is_named_like_a_tag_is_asked_about(fleet: Fleet) -> None:
    """All that carry the tag belong to it: one backup at a time of the whole fleet, perhaps."""
    told = [
        resources_pb2.Vm(vm_id=vm_id(1, number), name=f"vm-1-{number}", state="running", tags=["gold"])
        for number in range(VMS_PER_HOST)
    ]
    agent = fleet.agents[1]
    agent.stub.ReportInventory(
        agent_pb2.ReportInventoryRequest(session_id=agent.session_id, revision=2, last=True, vms=told)
    )
    refused = fleet.cli("limit", "apart", "gold", "vm-1-0")
    assert refused.code == 2
    assert "3 other VMs with the tag gold would belong to the group: one at a time of all 4." in refused.err
    assert "label:gold" not in fleet.cli("limit", "list").out
    assert apart(fleet, "gold", "vm-1-0", "vm-0-0", "--yes") == (
        0,
        "gold: vm-0-0, vm-1-0\n5 VMs in the group now, 3 of them by the tag gold.\n",
    )
    assert fleet.cli("limit", "apart", "gold", "vm-0-1", "--json").json["tagged"] == 3
    removed = apart(fleet, "gold", "vm-1-0", "vm-0-0", "vm-0-1", "--remove")[1]
    assert removed.endswith("4 VMs in the group now, 4 of them by the tag gold.\n"), "tags are the host's to take away"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("set", "host:kvm-9", "--transferring", "2"), "HOST_UNKNOWN"),
        (("set", "storage:kvm-0:/nowhere", "--transferring", "2"), "STORAGE_UNKNOWN"),
        (("set", "planet", "--transferring", "2"), "BAD_SCOPE"),
        (("set", "global:x", "--transferring", "2"), "BAD_SCOPE"),
        (("set", "host", "--transferring", "0"), "USAGE"),
        (("set", "host", "--preparing", "0"), "USAGE"),
        (("set", "tenant", "--weight", "0"), "USAGE"),
        (("set", "host", "--transferring", "1000000001"), "USAGE"),
        (("set", "host", "--transferring", str(1 << 64)), "USAGE"),
        (("set", "tenant", "--weight", str(10**30)), "USAGE"),
        (("set", "host"), "NO_LIMIT"),
        (("set", "repository:main", "--bandwidth", "10MiB/s"), "BANDWIDTH_SCOPE"),
        (("set", "host", "--bandwidth", "1KiB/s"), "BAD_LIMIT"),
        (("set", "host", "--weight", "2"), "WEIGHT_SCOPE"),
        (("apart", "two\nlines", "vm-0-0"), "BAD_LABEL"),
        (("apart", "pair", *["vm-0-0"] * 1001), "TOO_MANY_VMS"),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(shared: Fleet, words: tuple[str, ...], reason: str) -> None:
    before = shared.cli("limit", "list", "--json").json
    answer = shared.cli("limit", *words, "--json")
    assert answer.code != 0
    assert answer.reason == reason
    assert shared.cli("limit", "list", "--json").json == before


@pytest.mark.parametrize(
    ("scope", "said", "sentence"),
    [
        (
            "host",
            {"transferring": 0},
            "transferring: 0 would stop everything for ever. To stop a host, cordon it: seawall host cordon.",
        ),
        ("host", {"preparing": MOST + 1}, "preparing: 1000000001 is more than 1000000000; unset the limit instead."),
        ("tenant", {"weight": 0}, "weight: the least is 1; with 0 a tenant would have no share of the slots."),
    ],
)
def test_the_controller_refuses_by_itself_too(shared: Fleet, scope: str, said: dict[str, int], sentence: str) -> None:
    """Of another client, or an older command."""
    request = limits_pb2.SetLimitRequest(request_id=str(uuid.uuid4()), scope=scope, **said)  # type: ignore[arg-type]
    with pytest.raises(grpc.RpcError) as raised:
        limits_pb2_grpc.LimitServiceStub(shared.controller.channel).SetLimit(request)
    assert (reason_of(raised.value), raised.value.details()) == ("BAD_LIMIT", sentence)


def test_the_command_takes_what_the_controller_takes(shared: Fleet) -> None:
    assert COMMAND_MOST == MOST
    said = [shared.cli("limit", "set", "tenant:acme", "--weight", str(number)).code for number in (1, MOST)]
    assert said == [0, 0]


def test_hosts_are_listed_by_name(shared: Fleet) -> None:
    """Not as they joined."""
    add_hosts(database_of(shared.controller), "0")
    database_of(shared.controller).write_now(lambda transaction: transaction.fleet.describe_host("0", "zulu", "", ""))
    lines = shared.cli("host", "list").out.splitlines()[1:]
    assert [line.split()[0] for line in lines] == ["kvm-0", "kvm-1", "kvm-2", "zulu"]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("limits")
    config = configured(folder / "controller")
    with running(config) as controller:
        controller.add_folder(folder / "bucket")
        yield Fleet(controller, Cli(folder, config.operator_toml))


def test_bandwidth_is_shared_by_demand_and_told_with_the_heartbeat(fleet: Fleet) -> None:
    def beat(agent: ScriptedAgent, demand: int) -> agent_pb2.HeartbeatResponse:
        return agent.stub.Heartbeat(
            agent_pb2.HeartbeatRequest(session_id=agent.session_id, demand_bytes_per_second=demand)
        )

    demands = (1 << 50, 1 << 50, 2 * MIB)
    assert beat(fleet.agents[0], 1 << 50).bytes_per_second == 0, "without a budget there is no limit"
    assert fleet.cli("limit", "set", "global", "--bandwidth", "12MiB/s").code == 0
    wanted = [5 * MIB, 5 * MIB, 2 * MIB]
    for _ in range(400):
        answers = [beat(agent, demand) for agent, demand in zip(fleet.agents, demands, strict=True)]
        if [answer.bytes_per_second for answer in answers] == wanted:
            break
    assert [answer.bytes_per_second for answer in answers] == wanted
    assert answers[0].valid_for.seconds == 120
    assert answers[0].floor_bytes_per_second == 256 * 1024
    assert fleet.cli("limit", "unset", "global").code == 0
    assert beat(fleet.agents[0], 1).bytes_per_second == 0


def test_tenants_are_bound_and_share_by_weight(fleet: Fleet) -> None:
    for host, tenant in enumerate(("acme", "globex")):
        for number in range(VMS_PER_HOST):
            fleet.give(f"vm-{host}-{number}", tenant)
    assert fleet.cli("limit", "set", "host", "--transferring", "9").code == 0
    assert fleet.cli("limit", "set", "tenant:acme", "--transferring", "2").code == 0
    first, second, third = fleet.order("vm-0-0", "vm-0-1", "vm-0-2")
    fleet.runs(second)
    fleet.waits(third, "all 2 slots of tenant acme are taken")
    told = fleet.cli("run", "explain", third, "--json").json
    assert (told["blocked_on"]["scope"], told["blocked_on"]["used"], told["blocked_on"]["cap"]) == ("tenant:acme", 2, 2)
    assert {holder["run_id"] for holder in told["holders"]} == {first, second}
    assert "seawall limit set 'tenant:acme' --transferring 3" in told["advice"][0]
    assert "limit        tenant:acme transferring: 2 of 2 in use" in fleet.cli("run", "explain", third).out
    (other,) = fleet.order("vm-1-0")
    fleet.runs(other)  # another tenant's are not bound by it
    listed = {each["scope"]: each for each in fleet.cli("limit", "list", "--all", "--json").json["limits"]}
    assert {"tenant:acme", "tenant:globex", "tenant:default"} <= listed.keys()
    assert fleet.cli("limit", "set", "tenant:Acme", "--transferring", "2", "--json").reason == "BAD_SCOPE"
    assert fleet.cli.completed("seawall limit set tenant:g") == ("tenant:globex\n", "")
    assert fleet.cli.completed("seawall vm protect vm-0-0 --tenant a") == ("acme\n", "")
    for run_id in (first, second, third, other):
        assert fleet.cli("run", "cancel", run_id).code == 0
    assert fleet.cli("limit", "unset", "tenant:acme").code == 0
    assert fleet.cli("limit", "set", "tenant:acme", "--weight", "3").code == 0
    assert fleet.cli("limit", "set", "global", "--transferring", "1").code == 0


def test_whose_a_vm_is(fleet: Fleet) -> None:
    assert fleet.cli("vm", "protect", "vm-0-0", "--tenant", "-acme", "--json").reason == "BAD_SETTING"
    assert "tenant          acme" in fleet.cli("vm", "protect", "vm-0-0", "--tenant", "acme").out
    assert fleet.cli("vm", "show", "vm-0-0", "--json").json["settings"]["tenant"] == "acme"
    assert fleet.cli("vm", "protect", "vm-0-0", "--limit", "50MB/s", "--json").json["settings"]["tenant"] == "acme"
    shown = fleet.cli("vm", "protect", "vm-0-0", "--unset", "tenant", "--json").json["settings"]
    assert shown["tenant"] == "" and shown["bytes_per_second"] == 50_000_000
