"""Hosts in a database, as if their agents had joined with one token."""

from seawall.controller.database.database import Database
from seawall.controller.database.enrolment import DatabaseEnrolment
from seawall.controller.enrolment.port import AgentRecord, JoinTokenRecord
from support.controller_records import NOW


def add_hosts(database: Database, *names: str, now_us: int = NOW) -> None:
    """Each is named as its id."""
    enrolment = DatabaseEnrolment(database)
    enrolment.add_join_token(JoinTokenRecord("t", bytes(32), now_us, now_us, len(names)))
    for number, name in enumerate(names):
        enrolment.enrol(AgentRecord(name, "t", number.to_bytes(32, "big"), name, b"pem", now_us, now_us))
