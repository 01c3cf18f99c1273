"""Pages of lists: every item once, and no page larger than one answer may be."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from seawall.api.v1 import operator_pb2, resources_pb2
from seawall.controller.errors import InvalidArgument
from seawall.controller.server.page_tokens import bound, unbound
from seawall.controller.services.paging import LARGEST_BYTES, cut, fit, page_by, start_of, token_after

PageOf = Callable[["list[Item]", str, int], tuple[list[resources_pb2.Vm], str]]


@dataclass(frozen=True)
class Item:
    id: str
    length: int


def page_after(items: list[Item], token: str, size: int) -> tuple[list[resources_pb2.Vm], str]:
    """As the services make one."""
    after = start_of(token)
    page, following = cut([item for item in items if item.id > after][: size + 1], size)
    shown, following = fit(page, [resources_pb2.Vm(vm_id=item.id, name="x" * item.length) for item in page], following)
    return list(shown), following


def page_by_name(items: list[Item], token: str, size: int) -> tuple[list[resources_pb2.Vm], str]:
    """The same of a list that has no ids."""

    def shown(page: Sequence[Item]) -> list[resources_pb2.Vm]:
        return [resources_pb2.Vm(vm_id=item.id, name="x" * item.length) for item in page]

    found = [item for item in items if item.id > start_of(token)]
    page, following = page_by(found[: size + 1], size, lambda item: item.id, shown)
    return list(page), following


@pytest.mark.parametrize("page_of", [page_after, page_by_name])
@pytest.mark.parametrize("length", [10, LARGEST_BYTES // 4, LARGEST_BYTES, 2 * LARGEST_BYTES])
@pytest.mark.parametrize("size", [1, 7, 50])
def test_every_item_is_on_one_page(page_of: PageOf, length: int, size: int) -> None:
    items = [Item(f"id-{number:03d}", length) for number in range(20)]
    seen, token, first = [], "", True
    while token or first:
        page, token = page_of(items, token, size)
        assert len(page) == 1 or sum(vm.ByteSize() for vm in page) <= LARGEST_BYTES
        seen += [vm.vm_id for vm in page]
        first = False
    assert seen == [item.id for item in items]


@pytest.mark.parametrize("token", ["%%%", "a", "_w==", "YQA="])
def test_what_is_no_token_of_ours_is_refused(token: str) -> None:
    """The last holds a zero byte, of which PostgreSQL makes no comparison."""
    with pytest.raises(InvalidArgument) as caught:
        start_of(token)
    assert caught.value.reason == "BAD_PAGE_TOKEN"


RUNS = "/seawall.api.v1.BackupService/ListRuns"
ASKED = operator_pb2.ListRunsRequest(vm="web1", open_only=True, page_size=7)


@pytest.mark.parametrize("last", ["", "0192f3c1", "naïve:name", "a.b.c"])
def test_a_token_comes_back_as_it_was_with_another_size_too(last: str) -> None:
    token = token_after(last) if last else ""
    told = bound(RUNS, ASKED, token)
    later = operator_pb2.ListRunsRequest(vm="web1", open_only=True, page_size=9, page_token=told)
    assert unbound(RUNS, later, told) == token


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        (RUNS, operator_pb2.ListRunsRequest(vm="web2", open_only=True)),
        (RUNS, operator_pb2.ListRunsRequest(vm="web1")),
        (RUNS.replace("Runs", "Points"), ASKED),
    ],
)
def test_a_token_holds_for_its_question_alone(method: str, request_: operator_pb2.ListRunsRequest) -> None:
    with pytest.raises(InvalidArgument) as caught:
        unbound(method, request_, bound(RUNS, ASKED, token_after("0192f3c1")))
    assert caught.value.reason == "BAD_PAGE_TOKEN"


def test_tokens_of_two_versions_refuse_each_other() -> None:
    """In a rolling upgrade: a controller that binds nothing reads tokens with `start_of`, whatever length their ids have."""
    for length in range(1, 40):
        unbound_one = token_after("x" * length)
        with pytest.raises(InvalidArgument):
            start_of(bound(RUNS, ASKED, unbound_one))
        with pytest.raises(InvalidArgument):
            unbound(RUNS, ASKED, unbound_one)
