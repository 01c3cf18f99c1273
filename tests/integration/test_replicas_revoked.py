"""A host is revoked, or a user removed, at one controller: another one on the same database, which knew it a moment ago, refuses it too."""

import hashlib
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import grpc

from seawall.api.v1 import operator_pb2, user_pb2, user_pb2_grpc
from seawall.controller.database.postgresql_address import Address
from support.controller_agent import ScriptedAgent, enrolled
from support.controller_application import Controller, configured, free_port, reason_of, running, with_token

FELT_SECONDS = 5.0
SLACK_SECONDS = 1.0
"""For a busy machine."""


@contextmanager
def leader_and_standby(folder: Path, url: str) -> Iterator[tuple[Controller, Controller]]:
    config = configured(folder / "first", url)
    with running(config) as leader:
        deadline = time.monotonic() + 20
        while not leader.application._lease.held:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        ignored = shutil.ignore_patterns("lock", "index")
        shutil.copytree(config.state_dir, folder / "second", ignore=ignored)
        operator, agent = (f"127.0.0.1:{free_port()}" for _ in range(2))
        other = replace(
            config,
            state_dir=folder / "second",
            operator_listen=operator,
            enrol_address=operator,
            agent_listen=agent,
            agent_address=agent,
        )
        with running(other) as standby:
            assert not standby.application._lease.held
            yield leader, standby


def refused_with(agent: ScriptedAgent) -> str:
    """The reason; "": it is heard."""
    try:
        agent.beat()
    except grpc.RpcError as error:
        return reason_of(error)
    return ""


def test_a_standby_feels_a_revocation_within_five_seconds(postgres_address: Address, tmp_path: Path) -> None:
    with leader_and_standby(tmp_path, postgres_address.url) as (leader, standby):
        host, other = enrolled(leader, "alpha"), enrolled(leader, "beta")
        at_standby = [replace(each, address=standby.config.agent_listen) for each in (host, other)]
        assert [refused_with(each) for each in at_standby] == ["", ""]
        revoke = operator_pb2.RevokeHostRequest(request_id=str(uuid.uuid4()), host="alpha")
        leader.admin.RevokeHost(revoke)
        began = time.monotonic()
        while refused_with(at_standby[0]) != "AGENT_REVOKED":
            assert time.monotonic() - began < FELT_SECONDS + SLACK_SECONDS
            time.sleep(0.05)
        assert not standby.application._lease.held, "it is the standby that was asked"
        assert refused_with(at_standby[1]) == "", "the other host is nobody's concern"


def test_a_standby_feels_that_a_user_changed_within_five_seconds(postgres_address: Address, tmp_path: Path) -> None:
    with leader_and_standby(tmp_path, postgres_address.url) as (leader, standby):
        users, token = user_pb2_grpc.UserServiceStub(leader.channel), "of-anna"
        digest = hashlib.sha256(token.encode()).digest()
        anna = user_pb2.AddUserRequest(name="anna", role=user_pb2.ROLE_VIEWER, token_sha256=digest)
        anna.request_id = str(uuid.uuid4())
        users.AddUser(anna)
        with with_token(standby, token) as channel:
            there = user_pb2_grpc.UserServiceStub(channel)
            assert there.GetCaller(user_pb2.GetCallerRequest()).user.name == "anna", "a new one is known at once"
            users.RemoveUser(user_pb2.RemoveUserRequest(request_id=str(uuid.uuid4()), name="anna"))
            began, reason = time.monotonic(), ""
            while reason != "BAD_TOKEN":
                assert time.monotonic() - began < FELT_SECONDS + SLACK_SECONDS
                time.sleep(0.05)
                try:
                    there.ListUsers(user_pb2.ListUsersRequest())
                except grpc.RpcError as error:
                    reason = reason_of(error)
        assert not standby.application._lease.held, "it is the standby that was asked"
