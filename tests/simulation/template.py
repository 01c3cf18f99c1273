"""What every world begins with, made once a process: a controller's keys, a database with its tables, a bucket with a repository."""

import shutil
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from seawall.agent.control.identity import Identity
from seawall.controller.certificates.authority import CertificateAuthority
from seawall.controller.certificates.generation import key_pem, new_key
from seawall.controller.config import ControllerConfig
from seawall.controller.database.sqlite import SqliteDatabase
from seawall.controller.initialise import initialise, load_wrapper_key
from seawall.controller.operator_access import OperatorAccess
from seawall.controller.records.catalogue import RepositoryRecord
from seawall.controller.secrets import SecretBox
from seawall.controller.timings import Timings
from seawall.repository.crypto.keys import RepositorySecrets, new_secret
from seawall.repository.crypto.sealing import public_key_of
from seawall.repository.repository import create_repository
from seawall.repository.store.memory import MemoryStore
from support.controller_clock import ManualClock
from support.controller_records import a_repository

from .controller import AGENT_PORT, OPERATOR_PORT, machine_of

REPOSITORY = "repository"
LINEAGE = b"lineage-of-tests"
MADE_US = 1_767_225_600_000_000  # 2026-01-01
YEARS_SECONDS = 3 * 365 * 86_400.0
CHUNK_BYTES = 8 * 1024


@dataclass(frozen=True)
class Template:
    """`objects`: of the bucket."""

    directory: Path
    objects: dict[str, bytes]
    url: str
    cluster_id: str
    token: str
    certificate_pem: str
    key_pem: str
    bundle_pem: str
    wrapper: bytes

    @property
    def database(self) -> Path:
        return self.directory / "controller.sqlite"


def made_template(directory: Path) -> Template:
    clock, state = ManualClock(MADE_US), directory / "state"
    config = ControllerConfig(
        state_dir=state,
        agent_listen=f"{machine_of(0)}:{AGENT_PORT}",
        operator_listen=f"{machine_of(0)}:{OPERATOR_PORT}",
        agent_address=f"{machine_of(0)}:{AGENT_PORT}",
        enrol_address=f"{machine_of(0)}:{OPERATOR_PORT}",
    )
    initialise(config, clock)
    box = SecretBox.from_file(config.paths.kek)
    authority = CertificateAuthority.load(config.paths, box, clock)
    store = MemoryStore("memory://bucket", clock)
    secrets = RepositorySecrets(b"r" * 32, b"s" * 32, b"c" * 32, {("default", 1): b"d" * 32})
    wrapper = load_wrapper_key(config.paths, box).reveal()
    recipients = {"controller": public_key_of(wrapper), "recovery": public_key_of(new_secret())}
    create_repository(
        store, lineage_id=LINEAGE, chunk_nominal_bytes=CHUNK_BYTES, recipients=recipients, secrets=secrets
    )
    file = directory / "controller.sqlite"
    with closing(SqliteDatabase(file)) as database:
        record = _record(store.url, secrets.signing_public_key.hex())
        database.write_now(lambda transaction: transaction.repositories.add_repository(record))
    key = new_key()
    return Template(
        directory,
        {info.name: store.get(info.name) for info in store.list("")},
        store.url,
        authority.cluster_id,
        OperatorAccess.parse(config.operator_toml.read_text()).token.reveal().decode(),
        authority.issue_agent(AGENT_ID, key.public_key(), YEARS_SECONDS).chain_pem.decode(),
        _key_text(key),
        authority.bundle_pem.decode(),
        wrapper,
    )


AGENT_ID = "00000000-0000-4000-8000-000000000000"


def _key_text(key: ec.EllipticCurvePrivateKey) -> str:
    return key_pem(key).reveal().decode()


def _record(url: str, signing_key_hex: str) -> RepositoryRecord:
    known = a_repository("main", REPOSITORY)
    return RepositoryRecord(
        known.id, known.name, url, LINEAGE.hex(), signing_key_hex, CHUNK_BYTES, (), known.capabilities, "", 1
    )


def identity_of(template: Template, agent_id: str, controllers: int) -> Identity:
    """All share one certificate: nobody looks at more of it than its dates and who signed it."""
    addresses = ",".join(f"{machine_of(number)}:{AGENT_PORT}" for number in range(controllers))
    return Identity(agent_id, addresses, template.certificate_pem, template.key_pem, template.bundle_pem)


def config_of(template: Template, directory: Path, number: int, controllers: int, timings: Timings) -> ControllerConfig:
    """Of one of several controllers, with its own copy of the keys."""
    state = directory / f"controller-{number}"
    shutil.copytree(template.directory / "state", state)
    others = [each for each in range(controllers) if each != number]
    agents = ",".join(f"{machine_of(each)}:{AGENT_PORT}" for each in (number, *others))
    operators = ",".join(f"{machine_of(each)}:{OPERATOR_PORT}" for each in (number, *others))
    return ControllerConfig(
        state_dir=state,
        agent_listen=f"{machine_of(number)}:{AGENT_PORT}",
        operator_listen=f"{machine_of(number)}:{OPERATOR_PORT}",
        agent_address=agents,
        enrol_address=operators,
        database="postgresql://seawall@10.0.0.100:5432/seawall",
        timings=timings,
    )
