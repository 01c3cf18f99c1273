"""Maintenance jobs: records to messages and back.

What a worker wrote of its progress and result is JSON; keys that have no field of their own are figures, lines, or nothing.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from seawall.api.v1 import resources_pb2
from seawall.controller.errors import InvalidArgument
from seawall.controller.records.maintenance import Job, JobKind
from seawall.controller.services.convert_time import timestamp
from seawall.controller.text import printable, sentence

MOST_FINDINGS = 1000
MOST_POINTS = 20
_LEFT = "Left for the next collection"
_LARGEST = (1 << 64) - 1


def job_message(job: Job, repository_name: str) -> resources_pb2.Job:
    """The job as operators see it."""
    return resources_pb2.Job(
        job_id=job.id,
        repository=repository_name,
        kind=resources_pb2.JobKind.Value(f"JOB_KIND_{job.kind}"),
        state=resources_pb2.JobState.Value(f"JOB_STATE_{job.state}"),
        spec=_spec(_object(job.request)),
        progress=_progress(_object(job.progress)) if job.progress else None,
        result=_result(_object(job.result)) if job.result else None,
        failure=_failure(_object(job.failure)) if job.failure else None,
        cancel_requested=job.cancel_us > 0,
        created_at=timestamp(job.created_us),
        started_at=timestamp(job.started_us),
        ended_at=timestamp(job.ended_us),
        version=job.version,
    )


def job_kind_of(value: int) -> JobKind:
    """Raises InvalidArgument/BAD_KIND."""
    try:
        return JobKind(resources_pb2.JobKind.Name(value).removeprefix("JOB_KIND_"))  # type: ignore[arg-type]
    except ValueError as error:
        raise InvalidArgument(
            "BAD_KIND", "A job is a collection, a check or a healing; this controller knows no other."
        ) from error


def _spec(request: Mapping[str, Any]) -> resources_pb2.JobSpec:
    return resources_pb2.JobSpec(
        plan_only=request.get("plan_only") is True,
        read_data_percent=min(_number(request.get("read_data_percent")), 100),
        source_url=_text(request, "source_url"),
    )


def _progress(told: Mapping[str, Any]) -> resources_pb2.JobProgress:
    named = ("done", "total")
    return resources_pb2.JobProgress(
        phase=_text(told, "phase", "step"),
        done=_number(told.get("done")),
        total=_number(told.get("total")),
        unit=_text(told, "unit"),
        figures={name: value for name, value in _figures(told) if name not in named},
    )


def _result(found: Mapping[str, Any]) -> resources_pb2.JobResult:
    findings = list(_objects(found.get("findings")))[:MOST_FINDINGS]
    kept_back = found.get("kept_back")
    left = kept_back.get("first") if isinstance(kept_back, Mapping) else None
    return resources_pb2.JobResult(
        figures=dict(_figures({name: value for name, value in found.items() if name != "findings_total"})),
        lines=_lines(found),
        findings=[_finding(each) for each in findings],
        findings_total=max(_number(found.get("findings_total")), len(findings)),
        notes=[*_sentences(found.get("notes")), *(f"{_LEFT}: {name}" for name in _sentences(left))],
    )


def _lines(found: Mapping[str, Any]) -> list[resources_pb2.JobLine]:
    """Every list of objects but the findings."""
    return [
        resources_pb2.JobLine(
            group=group,
            reason=_text(each, "reason"),
            message=_text(each, "message", "sentence"),
            figures=dict(_figures(each)),
        )
        for group, value in found.items()
        if group != "findings"
        for each in _objects(value)
    ]


def _finding(found: Mapping[str, Any]) -> resources_pb2.Finding:
    points = [printable(str(point)) for point in _list(found.get("points"))][:MOST_POINTS]
    return resources_pb2.Finding(
        reason=_text(found, "reason"),
        object=_text(found, "object", "object_name"),
        message=_text(found, "message", "sentence"),
        next_step=_text(found, "next_step"),
        points=points,
        points_total=max(_number(found.get("points_total")), len(points)),
    )


def _failure(told: Mapping[str, Any]) -> resources_pb2.Failure:
    """Of a READY job: why it waits."""
    return resources_pb2.Failure(
        reason=_text(told, "reason"), message=_text(told, "message"), next_step=_text(told, "next_step")
    )


def _figures(told: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, int]]:
    """All whole numbers, those inside objects under joined names: {"deleted": {"packs": 2}} -> deleted_packs 2."""
    for name, value in told.items():
        if isinstance(value, Mapping):
            yield from _figures(value, f"{before}{name}_")
        elif isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST:
            yield f"{before}{name}", value


def _object(text: str) -> Mapping[str, Any]:
    value = json.loads(text) if text else {}
    return value if isinstance(value, Mapping) else {}


def _sentences(value: Any) -> list[str]:
    return [sentence(each) for each in _list(value) if isinstance(each, str)]


def _objects(value: Any) -> Iterable[Mapping[str, Any]]:
    return (each for each in _list(value) if isinstance(each, Mapping))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _number(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST else 0


def _text(told: Mapping[str, Any], *names: str) -> str:
    """The first of these that is there."""
    return next((sentence(str(told[name])) for name in names if isinstance(told.get(name), str)), "")
