"""Old and new ones side by side: an agent that speaks another protocol, a command line that is newer than its controller."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from seawall.api.v1 import (
    agent_pb2,
    limits_pb2,
    limits_pb2_grpc,
    operator_pb2,
    operator_pb2_grpc,
    policy_pb2,
    policy_pb2_grpc,
)
from seawall.controller.policies.document import parse_policies
from seawall.controller.services.protocol import Protocols
from support.cli_command import Cli
from support.controller_agent import ScriptedAgent, enrolled
from support.controller_application import Controller, configured, reason_of, running
from support.controller_shell import shell
from support.operator_words import Operator


def hosts(controller: Controller) -> str:
    return str(controller.backups.ListHosts(operator_pb2.ListHostsRequest()).hosts)


FIVE = Protocols(newest=5)


@pytest.mark.parametrize(
    ("least", "most", "upgrade"),
    [(1, 2, "upgrade Seawall on this host"), (6, 8, "upgrade the controller first"), (5, 3, "that is no range")],
)
def test_an_agent_of_another_protocol_is_told_which_to_upgrade(
    tmp_path: Path, least: int, most: int, upgrade: str
) -> None:
    """And nothing that it says is taken: its host stays as it was, its session goes on."""
    with running(configured(tmp_path / "state"), protocols=FIVE) as controller:
        alpha = enrolled(controller, "alpha", (FIVE.newest, FIVE.newest))
        alpha.inventory({"vda": 1 << 20})
        before, session_id = hosts(controller), alpha.session_id
        request = agent_pb2.HelloRequest(
            protocol_min=least, protocol_max=most, agent_version="other", boot_id="b", host_name="renamed"
        )
        with pytest.raises(grpc.RpcError) as caught:
            alpha.stub.Hello(request)
        assert reason_of(caught.value) == "NEEDS_UPGRADE"
        said = caught.value.details() or ""
        assert f"protocols {least} to {most}, this controller 3 to 5" in said and upgrade in said
        after = hosts(controller)
        assert "renamed" not in after
        assert after.count("alpha") == before.count("alpha")
        (host,) = controller.backups.ListHosts(operator_pb2.ListHostsRequest()).hosts
        assert (host.needs_upgrade.agent_version, host.agent_version) == ("other", "1")
        assert host.needs_upgrade.sentence == said and host.needs_upgrade.HasField("since")
        alpha.session_id = session_id
        alpha.beat()


def test_operators_see_which_hosts_need_an_upgrade(tmp_path: Path) -> None:
    config = configured(tmp_path / "state")
    with running(config, protocols=FIVE) as controller:
        alpha = enrolled(controller, "alpha", (FIVE.newest, FIVE.newest))
        cli = Cli(tmp_path, config.operator_toml)
        assert "upgrade" not in cli("status").out + cli("host", "list").out + cli("host", "show", "alpha").out
        refused_hello(alpha)
        first = cli("host", "show", "alpha", "--json").json["host"]["needs_upgrade"]
        assert "online, needs upgrade" in cli("host", "list").out
        shown = cli("host", "show", "alpha").out
        assert "agent 0.0.1, refused since" in shown and "upgrade Seawall on this host" in shown
        assert "1 is refused until an upgrade" in cli("status").out
        refused_hello(alpha)
        assert cli("host", "show", "alpha", "--json").json["host"]["needs_upgrade"] == first, "since the first one"
        refused_hello(alpha, FIVE.newest + 1)
        newer = cli("host", "list").out
        assert "online, needs newer controller" in newer and "needs upgrade" not in newer
        assert "upgrade the controller first" in cli("host", "show", "alpha").out
    with running(config, protocols=FIVE) as controller:  # another process, as one that takes over
        alpha.connect()
        refused_hello(alpha)
        assert controller.backups.GetStatus(operator_pb2.GetStatusRequest()).hosts_needing_upgrade == 1
        alpha.hello()
        assert controller.backups.GetStatus(operator_pb2.GetStatusRequest()).hosts_needing_upgrade == 0
        assert "needs_upgrade" not in hosts(controller)


def refused_hello(agent: ScriptedAgent, protocol: int = 1) -> None:
    request = agent_pb2.HelloRequest(protocol_min=protocol, protocol_max=protocol, agent_version="0.0.1", boot_id="b")
    with pytest.raises(grpc.RpcError):
        agent.stub.Hello(request)


class OlderController(operator_pb2_grpc.BackupServiceServicer):
    """It knows one command, and says less in its answer than a newer one."""

    async def GetStatus(
        self, request: operator_pb2.GetStatusRequest, context: object
    ) -> operator_pb2.GetStatusResponse:
        return operator_pb2.GetStatusResponse(controller_version="0.0.9")


class OlderPolicies(policy_pb2_grpc.PolicyServiceServicer):
    """It knows no field but a document."""

    async def ApplyPolicies(
        self, request: policy_pb2.ApplyPoliciesRequest, context: object
    ) -> policy_pb2.ApplyPoliciesResponse:
        parse_policies(request.document, request.source or "the file", 0)
        return policy_pb2.ApplyPoliciesResponse()


class OlderLimits(limits_pb2_grpc.LimitServiceServicer):
    """It knows nothing of tags."""

    async def SetApart(self, request: limits_pb2.SetApartRequest, context: object) -> limits_pb2.SetApartResponse:
        return limits_pb2.SetApartResponse(vms=request.vms)


async def test_a_command_that_an_older_controller_does_not_know(tmp_path: Path) -> None:
    async with shell(tmp_path / "state") as made:
        servicer = OlderController()  # type: ignore[abstract]  # the rest it does not know
        operator_pb2_grpc.add_BackupServiceServicer_to_server(servicer, made.servers.operator)
        limits = OlderLimits()  # type: ignore[abstract]
        limits_pb2_grpc.add_LimitServiceServicer_to_server(limits, made.servers.operator)
        policies = OlderPolicies()  # type: ignore[abstract]
        policy_pb2_grpc.add_PolicyServiceServicer_to_server(policies, made.servers.operator)
        await made.start()
        assert made.ports is not None
        text = made.config.operator_toml.read_text()
        toml = tmp_path / "operator.toml"
        toml.write_text(text.replace(made.config.dialled_by_operators, f"127.0.0.1:{made.ports.operator}"))
        toml.chmod(0o600)
        operator = replace(Operator(toml))
        status = await asyncio.to_thread(operator, "status")
        assert status.code == 0 and "0.0.9" in status.out
        assert "unprotected" not in status.out, "it does not say how many"
        assert " late" not in status.out and "upgrade" not in status.out
        document = json.loads((await asyncio.to_thread(operator, "status", "--json")).out)
        assert all(document[field] is None for field in ("loop_lag_ms", "vms_unprotected", "hosts_needing_upgrade"))
        group = await asyncio.to_thread(operator, "limit", "apart", "db", "db-1")
        assert group.out == "db: db-1\n1 VM put into the group; those with the tag db belong to it too.\n"
        (one := tmp_path / "a.yaml").write_text("policy: nightly\n")
        code, reason, message = await asyncio.to_thread(operator.refused, "policy", "apply", "-f", one, "-f", one)
        assert (code, reason) == (5, "NEEDS_UPGRADE") and "one file at a time" in message
        code, reason, message = await asyncio.to_thread(operator.refused, "host", "token")
        assert code != 0 and reason == "NEEDS_UPGRADE"
        assert "Upgrade the controller" in message
