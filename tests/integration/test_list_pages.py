"""Lists of what operators write down come in pages like all others: each item once, and the command follows them to the end."""

import base64
import importlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from typer.testing import CliRunner

from seawall.api.v1 import limits_pb2, limits_pb2_grpc, operator_pb2, policy_pb2
from seawall.cli.main import app
from support.controller_application import Controller, configured, reason_of, running

NAMES = ["eve", "adam", "zoe", "carl", "bob"]
"""In another order than their ids."""
IN_ORDER = sorted(NAMES)


@dataclass(frozen=True)
class Paged:
    """One list: how it is asked for, what is in it, what an item is called, and the command that shows it."""

    call: Callable[[Controller], Any]
    request: Any
    field: str
    name: str
    command: tuple[str, ...]


POLICIES = Paged(
    lambda controller: controller.policies.ListPolicies,
    policy_pb2.ListPoliciesRequest,
    "policies",
    "name",
    ("policy", "list"),
)
HOOKS = Paged(
    lambda controller: controller.policies.ListHooks, policy_pb2.ListHooksRequest, "hooks", "name", ("hook", "list")
)
REPOSITORIES = Paged(
    lambda controller: controller.backups.ListRepositories,
    operator_pb2.ListRepositoriesRequest,
    "repositories",
    "name",
    ("repo", "list"),
)
LIMITS = Paged(
    lambda controller: limits_pb2_grpc.LimitServiceStub(controller.channel).ListLimits,
    lambda **fields: limits_pb2.ListLimitsRequest(all=True, **fields),
    "limits",
    "scope",
    ("limit", "list", "--all"),
)
EVERY = pytest.mark.parametrize("paged", [POLICIES, HOOKS, REPOSITORIES, LIMITS], ids=lambda paged: paged.field)


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    """With five of each, and limits of all kinds."""
    place = tmp_path_factory.mktemp("lists")
    config = configured(place / "state")
    with running(config) as found:
        config.hook_directory.mkdir(exist_ok=True)
        for name in NAMES:
            found.add_folder(place / name, name)
            (config.hook_directory / name).write_text("#!/bin/sh\n")
            (config.hook_directory / name).chmod(0o755)
        documents = (
            f'policy: {name}\nrepository: eve\nselect: {{all: true}}\nschedule: {{cron: "0 3 * * *", zone: UTC}}\n'
            for name in NAMES
        )
        found.policies.ApplyPolicies(
            policy_pb2.ApplyPoliciesRequest(
                request_id="6f9619ff-8b86-4011-b42d-00c04fc964ff", document="---\n".join(documents)
            )
        )
        limits = limits_pb2_grpc.LimitServiceStub(found.channel)
        for number, scope in enumerate(["tenant:b", "tenant:a", "site:north", "label:ä b:c", "repository:bob"]):
            request_id = f"6f9619ff-8b86-4011-b42d-00c04fc964{number:02}"
            limits.SetLimit(limits_pb2.SetLimitRequest(request_id=request_id, scope=scope, transferring=3))
        yield found


def names(paged: Paged, answer: Any) -> list[str]:
    return [getattr(item, paged.name) for item in getattr(answer, paged.field)]


@EVERY
def test_a_request_of_before_there_were_pages_gets_the_whole_list(controller: Controller, paged: Paged) -> None:
    answer = paged.call(controller)(paged.request())
    assert answer.next_page_token == ""
    found = names(paged, answer)
    assert len(found) > 8 if paged is LIMITS else found == IN_ORDER


@EVERY
@pytest.mark.parametrize("size", [1, 2, 5])
def test_pages_show_each_item_once_and_in_order(controller: Controller, paged: Paged, size: int) -> None:
    whole = names(paged, paged.call(controller)(paged.request()))
    seen, token, first = [], "", True
    while token or first:
        answer = paged.call(controller)(paged.request(page_size=size, page_token=token))
        assert 1 <= len(names(paged, answer)) <= size
        seen += names(paged, answer)
        token, first = answer.next_page_token, False
    assert seen == whole
    assert paged is not HOOKS or answer.directory == str(controller.config.hook_directory)


@EVERY
@pytest.mark.parametrize("token", ["%%%", "a", "_w==", base64.urlsafe_b64encode(b"a\0").decode()])
def test_a_token_that_is_none_of_ours_is_refused(controller: Controller, paged: Paged, token: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        paged.call(controller)(paged.request(page_token=token))
    assert (caught.value.code(), reason_of(caught.value)) == (grpc.StatusCode.INVALID_ARGUMENT, "BAD_PAGE_TOKEN")


def refused(paged: Paged, controller: Controller, **fields: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        paged.call(controller)(paged.request(**fields))
    return caught.value.code(), reason_of(caught.value)


BAD = (grpc.StatusCode.INVALID_ARGUMENT, "BAD_PAGE_TOKEN")


@EVERY
def test_a_token_of_another_list_is_refused(controller: Controller, paged: Paged) -> None:
    other = POLICIES if paged is HOOKS else HOOKS
    token = other.call(controller)(other.request(page_size=1)).next_page_token
    assert refused(paged, controller, page_token=token) == BAD


def test_a_token_of_another_filter_is_refused(controller: Controller) -> None:
    limits = limits_pb2_grpc.LimitServiceStub(controller.channel)
    token = limits.ListLimits(limits_pb2.ListLimitsRequest(all=True, page_size=1)).next_page_token
    with pytest.raises(grpc.RpcError) as caught:
        limits.ListLimits(limits_pb2.ListLimitsRequest(page_size=1, page_token=token))
    assert (caught.value.code(), reason_of(caught.value)) == BAD


@EVERY
def test_a_token_of_a_controller_that_bound_none_is_refused(controller: Controller, paged: Paged) -> None:
    """As one of the release before gave it, in a rolling upgrade; and that one refuses ours: see test_controller_paging.py."""
    token = paged.call(controller)(paged.request(page_size=1)).next_page_token
    assert refused(paged, controller, page_token=token.partition(".")[0]) == BAD


def test_what_goes_meanwhile_hides_nothing_else(controller: Controller, tmp_path: Path) -> None:
    """The token is a name, not a number of items."""
    hooks = controller.config.hook_directory
    first = HOOKS.call(controller)(HOOKS.request(page_size=2))
    (hooks / "zoe").rename(tmp_path / "zoe")
    second = HOOKS.call(controller)(HOOKS.request(page_size=2, page_token=first.next_page_token))
    (tmp_path / "zoe").rename(hooks / "zoe")
    assert names(HOOKS, first) + names(HOOKS, second) == IN_ORDER[:4]


@EVERY
def test_the_command_follows_the_pages(controller: Controller, paged: Paged, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module(f"seawall.cli.commands.{paged.command[0]}")
    monkeypatch.setattr(module, "PAGE_SIZE", 2)
    words = [*paged.command, "--json", "--config", str(controller.config.operator_toml)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert set(document) == {paged.field, "directory"} if paged is HOOKS else {paged.field}
    whole = names(paged, paged.call(controller)(paged.request()))
    assert [item[paged.name] for item in document[paged.field]] == whole
