"""Pages of lists: every item once, and no page larger than one answer may be."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from seawall.api.v1 import resources_pb2
from seawall.controller.errors import InvalidArgument
from seawall.controller.services.paging import LARGEST_BYTES, cut, fit, page_by, start_of

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
