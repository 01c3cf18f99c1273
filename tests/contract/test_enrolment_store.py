"""The contract of EnrolmentStore. Another implementation joins by a line in FACTORIES: a context manager that gives an empty store."""

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from seawall.controller.database.enrolment import DatabaseEnrolment
from seawall.controller.database.sqlite import SqliteDatabase
from seawall.controller.enrolment.port import AgentRecord, AgentStatus, EnrolmentStore, JoinTokenRecord
from seawall.controller.errors import AlreadyExists, ControllerError, NotFound, Unauthenticated
from support.enrolment_memory import MemoryEnrolmentStore
from support.sqlite_template import new_sqlite

Factory = Callable[[Path], AbstractContextManager[EnrolmentStore]]


@contextmanager
def memory(_: Path) -> Iterator[EnrolmentStore]:
    yield MemoryEnrolmentStore()


@contextmanager
def sqlite(directory: Path) -> Iterator[EnrolmentStore]:
    with closing(SqliteDatabase(new_sqlite(directory / "controller.sqlite"))) as database:
        yield DatabaseEnrolment(database)


FACTORIES: list[Factory] = [memory, sqlite]


@pytest.fixture(params=FACTORIES, ids=lambda factory: factory.__name__)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EnrolmentStore]:
    with request.param(tmp_path) as made:
        yield made


def a_token(max_uses: int = 1, token_id: str = "t1") -> JoinTokenRecord:
    return JoinTokenRecord(token_id, bytes(range(32)), created_us=1_000, expires_us=9_000, max_uses=max_uses)


def an_agent(key: int = 1, token_id: str = "t1") -> AgentRecord:
    return AgentRecord(
        agent_id=str(uuid.uuid4()),
        token_id=token_id,
        public_key_sha256=bytes([key]) * 32,
        host_name=f"host-{key}",
        certificate_pem=b"PEM %d" % key,
        certificate_expires_us=5_000,
        enrolled_us=2_000,
    )


def reason(call: Callable[[], object], kind: type[ControllerError]) -> str:
    with pytest.raises(kind) as caught:
        call()
    return caught.value.reason


def test_a_token_comes_back_as_it_was_stored(store: EnrolmentStore) -> None:
    store.add_join_token(a_token())
    assert store.join_token("t1") == a_token()
    assert store.join_token("t2") is None


def test_a_token_id_is_taken_once(store: EnrolmentStore) -> None:
    store.add_join_token(a_token())
    assert reason(lambda: store.add_join_token(a_token(max_uses=5)), AlreadyExists) == "TOKEN_EXISTS"
    assert store.join_token("t1") == a_token()


def test_an_enrolled_agent_is_found_by_id_and_by_token_and_key(store: EnrolmentStore) -> None:
    store.add_join_token(a_token())
    agent = an_agent()
    assert store.enrolled_with("t1", agent.public_key_sha256) is None
    assert store.enrol(agent) == agent
    assert store.agent(agent.agent_id) == agent
    assert store.enrolled_with("t1", agent.public_key_sha256) == agent
    assert store.agent(str(uuid.uuid4())) is None


def test_the_same_key_enrols_once_and_uses_the_token_once(store: EnrolmentStore) -> None:
    store.add_join_token(a_token(max_uses=2))
    first = store.enrol(an_agent(key=1))
    again = store.enrol(an_agent(key=1))
    assert again == first
    assert store.enrol(an_agent(key=2)).public_key_sha256 == bytes([2]) * 32
    assert store.enrol(an_agent(key=1)) == first


def test_all_uses_taken(store: EnrolmentStore) -> None:
    store.add_join_token(a_token(max_uses=2))
    store.enrol(an_agent(key=1))
    store.enrol(an_agent(key=2))
    late = an_agent(key=3)
    assert reason(lambda: store.enrol(late), Unauthenticated) == "TOKEN_USED"
    assert store.agent(late.agent_id) is None


def test_an_unknown_token_enrols_nobody(store: EnrolmentStore) -> None:
    agent = an_agent()
    assert reason(lambda: store.enrol(agent), Unauthenticated) == "TOKEN_UNKNOWN"
    assert store.agent(agent.agent_id) is None


def test_one_key_may_enrol_with_two_tokens_as_two_agents(store: EnrolmentStore) -> None:
    store.add_join_token(a_token())
    store.add_join_token(a_token(token_id="t2"))
    first, second = store.enrol(an_agent()), store.enrol(an_agent(token_id="t2"))
    assert first.agent_id != second.agent_id
    assert store.enrolled_with("t2", first.public_key_sha256) == second


def test_two_hosts_may_have_the_same_name(store: EnrolmentStore) -> None:
    store.add_join_token(a_token(max_uses=2))
    first = store.enrol(replace(an_agent(key=1), host_name="twin"))
    second = store.enrol(replace(an_agent(key=2), host_name="twin"))
    assert (store.agent(first.agent_id), store.agent(second.agent_id)) == (first, second)


def test_of_many_at_once_one_wins_and_all_learn_it(store: EnrolmentStore) -> None:
    store.add_join_token(a_token())
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(store.enrol, [an_agent(key=1) for _ in range(24)]))
    assert len({answer.agent_id for answer in answers}) == 1
    assert store.agent(answers[0].agent_id) == answers[0]


def test_many_keys_at_once_never_exceed_the_uses(store: EnrolmentStore) -> None:
    store.add_join_token(a_token(max_uses=3))

    def attempt(key: int) -> bool:
        try:
            store.enrol(an_agent(key=key))
        except Unauthenticated:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(attempt, range(1, 13))) == 3


def test_a_renewed_certificate_replaces_the_old_but_not_the_first_key(store: EnrolmentStore) -> None:
    store.add_join_token(a_token())
    agent = store.enrol(an_agent())
    store.record_certificate(agent.agent_id, bytes([9]) * 32, b"PEM 9", 8_000)
    renewed = replace(agent, public_key_sha256=bytes([9]) * 32, certificate_pem=b"PEM 9", certificate_expires_us=8_000)
    assert store.agent(agent.agent_id) == renewed
    assert store.enrolled_with("t1", agent.public_key_sha256) == renewed
    assert store.enrolled_with("t1", bytes([9]) * 32) is None
    assert store.enrol(an_agent(key=1)) == renewed


def test_revoking_is_for_ever_and_repeatable(store: EnrolmentStore) -> None:
    store.add_join_token(a_token())
    agent = store.enrol(an_agent())
    store.revoke_agent(agent.agent_id)
    store.revoke_agent(agent.agent_id)
    assert store.agent(agent.agent_id) == replace(agent, status=AgentStatus.REVOKED)
    assert store.enrol(an_agent(key=1)).status is AgentStatus.REVOKED


def test_who_is_revoked_or_unknown_gets_no_certificate(store: EnrolmentStore) -> None:
    store.add_join_token(a_token())
    agent = store.enrol(an_agent())
    store.revoke_agent(agent.agent_id)
    for agent_id in (agent.agent_id, str(uuid.uuid4())):
        call = lambda agent_id=agent_id: store.record_certificate(agent_id, bytes(32), b"PEM", 8_000)  # noqa: E731
        assert reason(call, Unauthenticated) == "AGENT_REVOKED"
    assert reason(lambda: store.revoke_agent(str(uuid.uuid4())), NotFound) == "AGENT_UNKNOWN"
