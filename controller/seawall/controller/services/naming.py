"""What an operator's word means: an id, a unique prefix of one, or a name."""

import re
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from seawall.controller.errors import InvalidArgument, NotFound
from seawall.controller.records.catalogue import Point, RepositoryRecord
from seawall.controller.records.fleet import Host, Vm
from seawall.controller.records.ids import SHORTEST_PREFIX
from seawall.controller.records.maintenance import Job
from seawall.controller.records.policies import Policy
from seawall.controller.records.runs import Run, RunFilter
from seawall.controller.store.transaction import Transaction
from seawall.controller.text import printable

LONGEST_QUOTED = 80
LISTS = {"VM": "vm", "HOST": "host", "RUN": "run", "POINT": "point", "REPOSITORY": "repo", "JOB": "job"}
_ID = re.compile(r"[0-9a-f-]+")
_WHOLE_ID = re.compile(r"[0-9a-f-]{36}")


class Identified(Protocol):
    @property
    def id(self) -> str: ...


T = TypeVar("T", bound=Identified)


def find_vm(transaction: Transaction, text: str) -> Vm:
    """A name means the VM that a host reports now, rather than a lost one of the same name.

    Raises NotFound/VM_UNKNOWN, InvalidArgument/AMBIGUOUS. The same for its siblings.
    """
    shown = printable(text)  # what this controller calls a VM whose name a terminal could not show
    found = [
        *transaction.fleet.vms_named(text),
        *(transaction.fleet.vms_named(shown) if shown not in ("", text) else ()),
    ]
    if all(vm.id != text for vm in found):
        found = [vm for vm in found if vm.present] or found
    return _only(found, text, "VM", lambda vm: vm.name)


def find_vms(transaction: Transaction, texts: Sequence[str]) -> list[Vm]:
    """`find_vm` of each; those that are named by their whole ids are read together."""
    whole = {vm.id: vm for vm in transaction.fleet.vms_of([text for text in texts if _WHOLE_ID.fullmatch(text)])}
    return [whole.get(text) or find_vm(transaction, text) for text in texts]


def find_policy(transaction: Transaction, name: str) -> Policy:
    """Raises NotFound/POLICY_UNKNOWN."""
    found = transaction.policies.policy_named(name)
    if found is None or found.deleted_us:
        raise NotFound(
            "POLICY_UNKNOWN", f"There is no policy {quoted(name)}. `seawall policy list` shows what there is."
        )
    return found


def find_policy_of_runs(transaction: Transaction, name: str) -> Policy:
    """A deleted one too, while runs of it are known: no other one ever has its name. Raises NotFound/POLICY_UNKNOWN."""
    found = transaction.policies.policy_named(name)
    if found is None or not transaction.runs.runs(RunFilter(policy_id=found.id), limit=1):
        return find_policy(transaction, name)
    return found


def find_host(transaction: Transaction, text: str) -> Host:
    return _only(transaction.fleet.hosts_named(text), text, "HOST", lambda host: host.name)


def find_run(transaction: Transaction, text: str) -> Run:
    return _only(transaction.runs.runs_named(text), text, "RUN", lambda run: f"{run.kind.lower()} of {run.vm_name}")


def find_runs(transaction: Transaction, texts: Sequence[str]) -> list[Run]:
    """`find_run` of each; those that are named by their whole ids are read together."""
    whole = {run.id: run for run in transaction.runs.runs_of([text for text in texts if _WHOLE_ID.fullmatch(text)])}
    return [whole.get(text) or find_run(transaction, text) for text in texts]


def find_point(transaction: Transaction, text: str) -> Point:
    return _only(transaction.points.points_named(text), text, "POINT", lambda point: f"of {point.vm_name}")


def find_repository(transaction: Transaction, text: str) -> RepositoryRecord:
    return _only(transaction.repositories.repositories_named(text), text, "REPOSITORY", lambda record: record.name)


def find_job(transaction: Transaction, text: str) -> Job:
    return _only(transaction.jobs.jobs_named(text), text, "JOB", lambda job: job.kind.lower())


def _only(found: Sequence[T], text: str, kind: str, label: Callable[[T], str]) -> T:
    """An exact id wins over names and prefixes."""
    exact = [each for each in found if each.id == text]
    if len(exact or found) == 1:
        return (exact or list(found))[0]
    word = kind if kind == "VM" else kind.lower()
    if not text:
        raise InvalidArgument("NAME_MISSING", f"Which {word}? Its name is empty.")
    if not found:
        raise NotFound(f"{kind}_UNKNOWN", f"There is no {word} {quoted(text)}. {_advice(kind, text)}")
    candidates = {each.id: label(each) for each in found}
    raise InvalidArgument("AMBIGUOUS", f"{quoted(text)} may mean {len(found)} things; give an id.", candidates)


def quoted(text: str) -> str:
    """What an operator typed, in one printable line."""
    return repr(text) if len(text) <= LONGEST_QUOTED else f"{text[:LONGEST_QUOTED]!r}… ({len(text)} characters)"


def _advice(kind: str, text: str) -> str:
    """An id that was shortened too much is told apart from one that does not exist."""
    listed = f"`seawall {LISTS[kind]} list` shows what there is."
    if len(text) < SHORTEST_PREFIX and _ID.fullmatch(text):
        return f"Of an id, at least its first {SHORTEST_PREFIX} digits are needed; {listed}"
    return listed[0].upper() + listed[1:]
