"""What --json prints: numbers stay numbers, enums become short words, absent things None."""

import json

from seawall.api.v1 import operator_pb2, resources_pb2
from seawall.cli.view import enum_word, plain, word


def test_enums_become_short_words() -> None:
    run = resources_pb2.Run(state=resources_pb2.RUN_STATE_SUCCEEDED_WITH_WARNINGS, kind=resources_pb2.RUN_KIND_BACKUP)
    assert (word(run, "state"), word(run, "kind")) == ("succeeded_with_warnings", "backup")
    assert word(resources_pb2.PointDisk(how=resources_pb2.READ_METHOD_BITMAP), "how") == "bitmap"


def test_a_number_of_a_newer_server_is_kept() -> None:
    assert enum_word(resources_pb2.RunState.DESCRIPTOR, 99) == "unknown-99"


def test_every_enum_of_the_wire_loses_its_prefix() -> None:
    for descriptor in resources_pb2.DESCRIPTOR.enum_types_by_name.values():
        for value in descriptor.values:
            assert (
                enum_word(descriptor, value.number) == value.name.lower().split("_", len(_words(descriptor.name)))[-1]
            )


def _words(camel: str) -> list[str]:
    return [c for c in camel if c.isupper()]


def test_numbers_stay_numbers_and_bytes_become_hex() -> None:
    repository = resources_pb2.Repository(name="main", stored_bytes=2**40, signing_public_key=b"\x01\xff")
    value = plain(repository)
    assert value["stored_bytes"] == 2**40
    assert value["signing_public_key"] == "01ff"
    assert value["capabilities"] is None
    assert value["wrappers"] == []


def test_times_are_iso_8601() -> None:
    host = resources_pb2.Host()
    host.last_seen_at.FromMicroseconds(1_795_348_800_123_456)
    assert plain(host)["last_seen_at"] == "2026-11-22T12:00:00.123456Z"
    assert plain(host)["certificate_expires_at"] is None


def test_nested_messages_are_json() -> None:
    status = operator_pb2.GetStatusResponse(
        open_runs=[resources_pb2.Run(run_id="r", warnings=[resources_pb2.Warning(reason="R")])]
    )
    document = json.loads(json.dumps(plain(status)))
    assert document["open_runs"][0]["warnings"] == [{"reason": "R", "message": ""}]
