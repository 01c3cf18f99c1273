"""The rotation of the certificate authority as a machine: who keeps which step from its end, and that every end is a good one."""

import random
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from seawall.api.successors import issued_under, successor
from seawall.controller.certificates import rotation
from seawall.controller.certificates.authority import CertificateAuthority
from seawall.controller.certificates.following import Following
from seawall.controller.certificates.generation import Generation, link, new_generation, new_key
from seawall.controller.certificates.kept_files import load_state
from seawall.controller.certificates.rotation import Member
from seawall.controller.certificates.state import MOST_FORMERS, AuthorityState, Phase, first_state
from seawall.controller.certificates.telling import Telling
from seawall.controller.config import ControllerConfig
from seawall.controller.database.columns import dump, load
from seawall.controller.database.sqlite import SqliteDatabase
from seawall.controller.errors import DataLoss, FailedPrecondition
from seawall.controller.initialise import initialise, require_initialised
from seawall.controller.secrets import Secret, SecretBox
from seawall.repository.clock import SystemClock
from support.sqlite_template import new_sqlite

CLUSTER = "6b1f9a52-1d0e-4c55-9a43-0d4f5f1a7c11"
BOX = SecretBox(Secret(bytes(32)))
NOW = SystemClock().now_us()
ONE, TWO, OTHER, THREE = (new_generation(number, CLUSTER, BOX, NOW) for number in (1, 2, 2, 3))
LINK = link(ONE, TWO, BOX)
SETTLED = first_state(ONE)
TRUSTING = rotation.begin(SETTLED, TWO, LINK, NOW)
SETTLE_US = 5_000_000


def a_host(name: str, *trusts: Generation, shows: Generation = ONE, online: bool = True) -> Member:
    return Member(
        name, name, NOW if online else 0, online, bool(trusts), frozenset(g.root_id for g in trusts), shows.root_id
    )


def stepped(state: AuthorityState, *members: Member) -> AuthorityState | None:
    return rotation.step(state, members, state.phase_us + SETTLE_US, SETTLE_US)


def signing() -> AuthorityState:
    after = stepped(TRUSTING, a_host("a", ONE, TWO))
    assert after is not None and after.phase is Phase.SIGNING
    return after


def test_a_whole_rotation() -> None:
    after = signing()
    assert (after.present, after.other) == (TWO, ONE.without_keys()), "the old keys go as soon as the new one signs"
    assert [each.link_pem for each in after.formers] == [LINK]
    assert stepped(after, a_host("a", ONE, TWO, shows=TWO)) is None, "it still trusts the old one"
    assert stepped(after, a_host("a", TWO)) is None, "its certificate is still of the old one"
    done = stepped(after, a_host("a", TWO, shows=TWO))
    assert done is not None and (done.phase, done.generations, done.version) == (Phase.SETTLED, (TWO,), 4)
    assert stepped(done) is None
    assert load(AuthorityState, dump(done)) == done


def test_one_that_is_behind_holds_all_up_and_says_why() -> None:
    ready = a_host("a", ONE, TWO)
    for late, why in (
        (a_host("b", ONE), "being told"),
        (a_host("b"), "its agent is older"),
        (a_host("b", online=False), "never called since"),
        (replace(a_host("b", online=False), last_seen_us=5), "It is offline"),
    ):
        assert stepped(TRUSTING, ready, late) is None
        (found,) = rotation.behind(TRUSTING, [ready, late])
        assert found.member is late and why in found.why
    assert stepped(rotation.leave_out(TRUSTING, ["b"]), ready, a_host("b")) is not None


def test_every_controller_has_time_to_see_each_phase() -> None:
    assert rotation.step(TRUSTING, [], NOW + SETTLE_US - 1, SETTLE_US) is None
    assert rotation.step(TRUSTING, [], NOW + SETTLE_US, SETTLE_US) is not None


def test_it_is_taken_back_only_while_nothing_is_signed() -> None:
    back = rotation.cancel(TRUSTING, NOW + 1)
    assert back.generations == (ONE,) and back.phase is Phase.SETTLED and back.version == TRUSTING.version + 1
    for state, reason in ((SETTLED, "NO_ROTATION"), (signing(), "ROTATION_TOO_FAR")):
        with pytest.raises(FailedPrecondition) as refused:
            rotation.cancel(state, NOW)
        assert refused.value.reason == reason
    with pytest.raises(FailedPrecondition):
        rotation.begin(TRUSTING, OTHER, LINK, NOW)
    with pytest.raises(FailedPrecondition) as away:
        link(replace(ONE, root_key=""), TWO, BOX)
    assert away.value.reason == "ROOT_KEY_MISSING"


@pytest.mark.parametrize("seed", range(30))
def test_whatever_comes_in_between_nobody_is_shut_out(seed: int) -> None:
    """Hosts that are told now and then, come late and are left out; operators that begin and take back. No host that is waited for is ever
    without what the controllers show, nor shows what they do not take."""
    rng, state, number, at = random.Random(seed), SETTLED, 1, NOW
    hosts = {name: a_host(name, ONE) for name in "abc"}
    for _ in range(150):
        at += SETTLE_US
        what = rng.choice(("told", "told", "renewed", "renewed", "step", "step", "begin", "cancel"))
        name = rng.choice(sorted(hosts))
        if what == "told":
            roots = rotation.told_roots(state, hosts[name].shows)
            hosts[name] = replace(hosts[name], trusts=frozenset(each.root_id for each in roots))
        elif what == "renewed":
            hosts[name] = replace(hosts[name], shows=state.present.root_id)
        elif what == "step":
            state = rotation.step(state, list(hosts.values()), at, SETTLE_US) or state
        elif what == "begin" and state.phase is Phase.SETTLED:
            number += 1
            coming = Generation(number, (TWO if state.present.root_pem != TWO.root_pem else OTHER).root_pem, "", "")
            state = rotation.begin(state, coming, f"link {number}", at)
        elif what == "cancel" and state.phase is Phase.TRUSTING:
            state = rotation.cancel(state, at)
        taken = {each.root_id for each in state.generations}
        for host in hosts.values():
            assert state.present.root_id in host.trusts, "it would not believe the controller"
            assert host.shows in taken, "the controller would not believe it"
    assert len(state.formers) <= MOST_FORMERS


def test_who_was_away_follows_the_links_and_nobody_else_is_followed() -> None:
    three = THREE
    links = [LINK, link(TWO, three, BOX)]
    shown = ders(three.root_pem, *links)
    now = datetime.now(UTC)
    for trusted in (ONE, TWO, three):
        assert successor(trusted.root_pem.encode(), shown, now) == three.root_pem.encode()
    assert successor(OTHER.root_pem.encode(), shown, now) is None
    assert successor(ONE.root_pem.encode(), ders(three.root_pem, links[1]), now) is None, "a link is missing"
    assert successor(three.root_pem.encode(), ders(ONE.root_pem, *links), now) is None, "no way back to a former root"
    forged = link(OTHER, three, BOX)
    assert successor(ONE.root_pem.encode(), ders(three.root_pem, forged), now) is None
    assert successor(ONE.root_pem.encode(), [b"x", *shown], now) == three.root_pem.encode()
    assert issued_under(ONE.root_pem.encode(), ONE.issuing_pem.encode())
    assert not issued_under(TWO.root_pem.encode(), ONE.issuing_pem.encode())


@pytest.mark.parametrize(
    ("there", "instead"),
    [
        ("06082a8648ce3d030107", "06082a8648ce3d03017f"),
        ("06072a8648ce3d0201", "06072a8648ce3d027f"),
        ("a003020102", "a003020109"),
        ("0c0753656177616c6c", "0c07ff656177616c6c"),
    ],
    ids=["an unknown curve", "an unknown kind of key", "a version that is none", "a name that is no text"],
)
def test_whatever_is_shown_is_passed_over_if_it_cannot_be_read(there: str, instead: str) -> None:
    good, now = ders(THREE.root_pem)[0], datetime.now(UTC)
    hostile = good.replace(bytes.fromhex(there), bytes.fromhex(instead))
    assert hostile != good and len(hostile) == len(good)
    assert successor(ONE.root_pem.encode(), [hostile], now) is None
    assert successor(ONE.root_pem.encode(), [hostile, *ders(TWO.root_pem, LINK)], now) == TWO.root_pem.encode()


def ders(*pems: str) -> list[bytes]:
    return [x509.load_pem_x509_certificate(each.encode()).public_bytes(Encoding.DER) for each in pems]


@pytest.fixture
def made(tmp_path: Path) -> tuple[ControllerConfig, CertificateAuthority]:
    config = ControllerConfig(state_dir=tmp_path / "state")
    initialise(config, SystemClock())
    return config, CertificateAuthority.load(config.paths, SecretBox.from_file(config.paths.kek), SystemClock())


def rotated(
    authority: CertificateAuthority, config: ControllerConfig
) -> tuple[AuthorityState, AuthorityState, AuthorityState]:
    """Each state on the way."""
    box, own = SecretBox.from_file(config.paths.kek), authority.state
    coming = new_generation(2, authority.cluster_id, box, NOW)
    trusting = rotation.begin(own, coming, link(own.present, coming, box), NOW)
    signs = stepped(trusting)
    assert signs is not None
    done = stepped(signs)
    assert done is not None
    return trusting, signs, done


def test_the_files_follow_and_the_old_certificates_are_taken_no_more(
    made: tuple[ControllerConfig, CertificateAuthority],
) -> None:
    config, authority = made
    old = authority.issue_agent("a", new_key().public_key(), 60).chain_pem
    first, taken = authority.state.present.root_id, []
    for state in rotated(authority, config):
        authority.adopt(state)
        require_initialised(config.paths)
        assert load_state(config.paths) == state, "a controller that is killed here goes on with this"
        assert config.paths.root_certificate.read_text() == state.bundle_pem
        taken.append(authority.root_above(old))
    assert taken == [first, first, ""]
    new = authority.issue_agent("a", new_key().public_key(), 60).chain_pem
    assert authority.root_above(new) == authority.state.present.root_id
    assert ONE.issuing_key not in config.paths.authority.read_text()
    assert not config.paths.issuing_key.exists() and not config.paths.root_key.exists()


def test_a_state_of_another_cluster_is_not_adopted(made: tuple[ControllerConfig, CertificateAuthority]) -> None:
    config, authority = made
    before = authority.state
    with pytest.raises(DataLoss):
        authority.adopt(SETTLED)
    assert authority.state is before and not config.paths.authority.exists()


async def test_another_state_of_the_same_version_is_followed(
    made: tuple[ControllerConfig, CertificateAuthority], tmp_path: Path
) -> None:
    """A database was put back and its authority changed again, all between two looks: the version alone says nothing."""
    config, authority = made
    ours, theirs = rotated(authority, config)[0], rotated(authority, config)[0]
    assert ours.version == theirs.version and ours.other != theirs.other
    authority.adopt(ours)
    with closing(SqliteDatabase(new_sqlite(tmp_path / "controller.sqlite"))) as database:
        database.write_now(lambda transaction: transaction.authority.save(theirs, 0))
        await Following(database, authority, Telling(authority), SystemClock()).look()
        assert authority.state == theirs
        assert database.read_now(lambda transaction: transaction.authority.state()) == theirs


def test_agents_are_told_what_they_lack_and_their_words_are_kept_once(
    made: tuple[ControllerConfig, CertificateAuthority],
) -> None:
    config, authority = made
    telling, first = Telling(authority), authority.state.present
    shown = authority.issue_agent("a", new_key().public_key(), 60).chain_pem
    old = [bytes.fromhex(first.root_id)]
    assert telling.answer("a", old, shown) == telling.answer("a", [], shown), "nothing to say"
    assert not telling.take()
    trusting, signs, _ = rotated(authority, config)
    authority.adopt(trusting)
    told = telling.answer("a", old, shown)
    assert told.bundle_pem.decode() == trusting.bundle_pem and not told.renew
    assert telling.answer("a", [], shown).bundle_pem == b"", "an agent that names none is older, and would not listen"
    assert set(telling.take()) == {"a"}
    telling.answer("a", old, shown)
    assert not telling.take(), "it said the same before"
    for hostile in (old * 1000, [b"x" * 1_000_000]):
        assert telling.answer("b", hostile, shown) == telling.answer("b", [], shown) and not telling.take()
    both = [*old, bytes.fromhex(signs.present.root_id)]
    authority.adopt(signs)
    told = telling.answer("a", both, shown)
    assert told.renew and not told.bundle_pem
    renewed = authority.issue_agent("a", new_key().public_key(), 60).chain_pem
    assert telling.answer("a", both, renewed).bundle_pem.decode() == signs.present.root_pem, "the old root is let go"
