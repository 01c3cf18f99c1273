"""Jobs on the wire: what workers write as JSON becomes figures, lines and findings, whatever else is in it."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.api.v1 import resources_pb2
from seawall.cli.job_text import detail, job_rows, kind_text
from seawall.controller.errors import InvalidArgument
from seawall.controller.records.maintenance import Job, JobKind, JobState
from seawall.controller.services.convert_catalogue import damage_text
from seawall.controller.services.convert_jobs import job_kind_of, job_message
from seawall.repository.clock import datetime_of

JOB = Job("0192", "repository", JobKind.COLLECT, JobState.ACTIVE, '{"plan_only": true}', 1_000_000)
COLLECTED = {
    "plan_only": False,
    "points": 3,
    "goes": [{"reason": "UNNEEDED", "sentence": "no point needs them", "packs": 2, "bytes": 4096}],
    "goes_later": [{"reason": "WAITS", "sentence": "within the grace period", "packs": 1, "bytes": 2048}],
    "deleted": {"packs": 2, "bytes": 4096},
    "bytes_back": 4096,
    "kept_back": {"objects": 1, "first": ["v1/p/x: locked"]},
}
FINDING = {
    "reason": "PACK_MISSING",
    "object": "v1/p/default/aa/aa.0",
    "sentence": "is gone",
    "next_step": "heal",
    "points": ["p1"],
    "points_total": 7,
}


def message(**fields: object) -> resources_pb2.Job:
    return job_message(replace(JOB, **fields), "main")  # type: ignore[arg-type]


def test_a_collection_is_figures_and_lines() -> None:
    result = message(state=JobState.SUCCEEDED, result=json.dumps(COLLECTED)).result
    assert dict(result.figures) == {
        "points": 3,
        "deleted_packs": 2,
        "deleted_bytes": 4096,
        "bytes_back": 4096,
        "kept_back_objects": 1,
    }
    assert [(line.group, line.reason, dict(line.figures)) for line in result.lines] == [
        ("goes", "UNNEEDED", {"packs": 2, "bytes": 4096}),
        ("goes_later", "WAITS", {"packs": 1, "bytes": 2048}),
    ]
    assert list(result.notes) == ["Left for the next collection: v1/p/x: locked"]


def test_findings_keep_their_object_points_and_number() -> None:
    result = message(kind=JobKind.CHECK, result=json.dumps({"findings": [FINDING], "findings_total": 12})).result
    (finding,) = result.findings
    assert (finding.reason, finding.object, finding.message) == ("PACK_MISSING", "v1/p/default/aa/aa.0", "is gone")
    assert (finding.next_step, list(finding.points), finding.points_total) == ("heal", ["p1"], 7)
    assert (result.findings_total, dict(result.figures), len(result.lines)) == (12, {}, 0)


def test_progress_and_failure() -> None:
    told = message(
        progress=json.dumps({"step": "marking", "done": 3, "total": 9, "unit": "points", "packs": 40}),
        failure=json.dumps({"reason": "STORE_UNAVAILABLE", "message": "away", "next_step": "look"}),
        cancel_us=5,
    )
    assert (told.progress.phase, told.progress.done, told.progress.total) == ("marking", 3, 9)
    assert dict(told.progress.figures) == {"packs": 40}
    assert (told.failure.reason, told.failure.next_step, told.cancel_requested) == ("STORE_UNAVAILABLE", "look", True)
    assert detail(told) == "canceling: marking, 3 of 9 points, packs 40"
    assert kind_text(told) == "collect (plan)"


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (
            {"state": JobState.SUCCEEDED, "request": "{}", "result": json.dumps(COLLECTED)},
            "4.0 KiB came back, 2.0 KiB after the grace period",
        ),
        (
            {"state": JobState.SUCCEEDED, "result": json.dumps(COLLECTED)},
            "4.0 KiB would come back, 2.0 KiB after the grace period",
        ),
        ({"state": JobState.SUCCEEDED, "kind": JobKind.CHECK, "result": "{}"}, "nothing wrong"),
        ({"state": JobState.SUCCEEDED, "kind": JobKind.CHECK, "result": '{"findings_total": 2}'}, "2 findings"),
        ({"state": JobState.FAILED, "failure": '{"reason": "R", "message": "m"}'}, "R: m"),
        ({"state": JobState.READY, "failure": '{"reason": "R", "message": "m"}'}, "waits: m"),
        ({"state": JobState.CANCELED}, ""),
    ],
)
def test_the_one_thing_worth_knowing(fields: dict[str, object], told: str) -> None:
    columns, (row,) = job_rows([message(**fields)], datetime_of(2_000_000))
    assert row[-1] == told
    assert len(row) == len(columns)


def test_every_kind_and_state_has_its_word_on_the_wire() -> None:
    for kind in JobKind:
        assert job_kind_of(message(kind=kind).kind) is kind
    for state in JobState:
        assert message(state=state).state == resources_pb2.JobState.Value(f"JOB_STATE_{state}")
    for unknown in (0, 99):
        with pytest.raises(InvalidArgument) as refused:
            job_kind_of(unknown)
        assert refused.value.reason == "BAD_KIND"


def test_damage_is_told() -> None:
    assert damage_text("") == ""
    assert damage_text('{"bytes": 4096, "disks": {"vda": [[0, 4096]]}}').startswith("4096 bytes of vda cannot be read")
    assert damage_text("[]").startswith("Parts cannot be read")


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
names = st.sampled_from(
    ["findings", "findings_total", "goes", "kept_back", "notes", "step", "done", "total", "points", "x"]
)


@given(st.dictionaries(names, values, max_size=6))
def test_whatever_a_worker_wrote_is_shown_and_breaks_nothing(told: dict[str, object]) -> None:
    text = json.dumps(told)
    shown = message(request=text, progress=text, result=text, failure=text, state=JobState.SUCCEEDED)
    assert shown.SerializeToString()
    detail(shown)
