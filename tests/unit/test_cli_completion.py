"""Names that the shell suggests: of lists that are asked for whole, all."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from seawall.api.v1 import operator_pb2, policy_pb2, resources_pb2
from seawall.cli import completion

NAMES = [f"name-{number}" for number in range(300)]


class Listing:
    """A controller that has 300 of each, and tells as many of them as it is asked for; all without a page's size."""

    def __init__(self) -> None:
        lists = ("ListRepositories", "ListPolicies", "ListHooks")
        self.backup = self.policies = SimpleNamespace(**{name: name for name in lists})

    def call(self, method: str, request: Any, **_: object) -> object:
        names = NAMES[: request.page_size or None]
        if method == "ListRepositories":
            repositories = [resources_pb2.Repository(name=name) for name in names]
            return operator_pb2.ListRepositoriesResponse(repositories=repositories)
        if method == "ListPolicies":
            return policy_pb2.ListPoliciesResponse(policies=[policy_pb2.Policy(name=name) for name in names])
        return policy_pb2.ListHooksResponse(hooks=[policy_pb2.Hook(name=name) for name in names])


@pytest.mark.parametrize("names", [completion.repository_names, completion.policy_names, completion.hook_names])
def test_the_last_name_of_many_is_suggested(
    names: Callable[..., list[completion.Suggestion]], monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def connect(_: object) -> Iterator[Listing]:
        yield Listing()

    monkeypatch.setattr(completion, "connect", connect)
    assert [name for name, _ in names(SimpleNamespace(params={}), "name-299")] == ["name-299"]
