"""A run whose host is not heard of any more: since when, what of its last news holds, and the words for it."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from seawall.api.v1 import limits_pb2, operator_pb2, resources_pb2
from seawall.cli.explain_text import print_explanation
from seawall.cli.output import Output
from seawall.cli.run_text import detail, print_run
from seawall.cli.watch import headline
from seawall.cli.watch_all import Fleet, screen
from seawall.controller.admission.advice import silent_host, to_be_heard
from seawall.controller.records.fleet import Session
from seawall.controller.records.runs import Attempt, AttemptState, DiskProgress, Progress, ReadMethod, RunKind, RunState
from seawall.controller.runs.making import WAITS
from seawall.controller.runs.silence import Silence, last_known, silence_of
from seawall.controller.services.convert_runs import run_message
from seawall.controller.services.views import RunView
from seawall.repository.clock import datetime_of
from support.controller_records import NOW, a_run, a_session

SECOND = 10**6
SEEN, LEASE = NOW, NOW + 90 * SECOND
LATER = NOW + 100 * SECOND
GIVEN_UP = NOW + 1000 * SECOND
HEARD = a_session(lease_until_us=LEASE)
DISK = DiskProgress("vda", 1000, 1000, 340, 340, 100, ReadMethod.FULL, "new", False)
PROGRESS = Progress(7, AttemptState.TRANSFERRING, "reading vda", (DISK,), "S3", "network", 1_000_000, 75, ("a note",))


def attempt_in(state: AttemptState, **fields: object) -> Attempt:
    attempt = Attempt("attempt", a_run().id, 1, "alpha", 1, state, NOW - 5 * SECOND, GIVEN_UP)
    return replace(attempt, **fields)  # type: ignore[arg-type]


LOST = attempt_in(AttemptState.LOST, lost_from=AttemptState.TRANSFERRING)
READING = attempt_in(AttemptState.TRANSFERRING)


@pytest.mark.parametrize(
    ("attempt", "session", "now_us", "silence"),
    [
        (READING, HEARD, LEASE - 1, None),
        (READING, HEARD, LEASE, Silence(SEEN)),
        (attempt_in(AttemptState.ASSIGNED), HEARD, LEASE, Silence(SEEN)),
        (attempt_in(AttemptState.PREPARING), None, LATER, Silence(NOW - 5 * SECOND)),
        (LOST, HEARD, LATER, Silence(SEEN, GIVEN_UP)),
        (attempt_in(AttemptState.PUBLISHING), HEARD, LATER, None),
        (attempt_in(AttemptState.FAILED), HEARD, LATER, None),
    ],
)
def test_a_host_is_silent_once_its_lease_is_over(
    attempt: Attempt, session: Session | None, now_us: int, silence: Silence | None
) -> None:
    """What is being published needs its host no more; what is over has none."""
    assert silence_of(a_run(), attempt, session, now_us) == silence


@pytest.mark.parametrize(
    ("attempt", "listening_us", "now_us", "silent"),
    [
        (READING, LATER, LATER + 89 * SECOND, False),
        (READING, LATER, LATER + 90 * SECOND, True),
        (READING, SEEN - 1, LEASE, True),
        (LOST, LATER, LATER + SECOND, True),
    ],
)
def test_a_controller_that_was_away_gives_each_host_a_whole_lease(
    attempt: Attempt, listening_us: int, now_us: int, silent: bool
) -> None:
    """Nobody was there to hear it. One that was lost before stays so until it is heard."""
    assert (silence_of(a_run(), attempt, HEARD, now_us, listening_us) is not None) is silent


def test_a_run_whose_time_is_over_before_is_given_up_then() -> None:
    run = a_run(deadline_us=GIVEN_UP - 1)
    assert silence_of(run, LOST, HEARD, LATER) == Silence(SEEN, GIVEN_UP - 1)


def test_of_stale_news_the_pace_is_dropped_and_the_amounts_are_kept() -> None:
    known = last_known(PROGRESS)
    assert (known.phase, known.disks, known.notes) == ("reading vda", (DISK,), ("a note",))
    assert not (known.waiting_on or known.bottleneck or known.rate_bytes_per_second or known.eta_seconds)


def test_what_is_waited_for_names_host_age_and_when_it_is_given_up() -> None:
    told = silent_host("alpha", LOST, RunKind.BACKUP, Silence(SEEN, GIVEN_UP), LATER)
    assert told == (
        "host alpha to be heard of again: nothing for 100 s; its backup may still go on there, and is given up in 900 s if the "
        "host stays away"
    )
    assert "alpha" in to_be_heard("alpha")[0] and "network" in to_be_heard("alpha")[0]


@pytest.mark.parametrize(
    ("attempt", "silence", "end"),
    [
        (READING, Silence(SEEN), "its restore may still go on there"),
        (LOST, Silence(SEEN, LATER), "its restore may still go on there"),
        (attempt_in(AttemptState.ASSIGNED), Silence(SEEN), "it has not begun the restore yet"),
    ],
)
def test_nothing_is_promised_that_is_not_decided(attempt: Attempt, silence: Silence, end: str) -> None:
    assert silent_host("alpha", attempt, RunKind.RESTORE, silence, LATER).endswith(end)


def message(silence: Silence | None) -> resources_pb2.Run:
    run = a_run(current_attempt="attempt", state=RunState.ACTIVE)
    silences = {"attempt": silence} if silence else {}
    attempt = LOST if silence else READING
    return run_message(RunView(run, (attempt,), {"attempt": PROGRESS}, {"alpha": "kvm1"}, "main", silences=silences))


def lines(run: resources_pb2.Run) -> str:
    output = Output(as_json=False)
    output.out = Console(file=io.StringIO(), width=200, soft_wrap=True, highlight=False)
    print_run(output, run)
    return output.out.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def of_all(run: resources_pb2.Run) -> str:
    """The screen of all runs."""
    fleet, console = Fleet(), Console(file=io.StringIO(), width=200, force_terminal=False, highlight=False)
    fleet.take(operator_pb2.WatchRunsResponse(run=run))
    console.print(screen(fleet, 40))
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_a_message_of_a_silent_host_has_instants_and_no_pace() -> None:
    (attempt,) = message(Silence(SEEN, GIVEN_UP)).attempts
    assert (attempt.silent_since.ToMicroseconds(), attempt.given_up_at.ToMicroseconds()) == (SEEN, GIVEN_UP)
    assert attempt.progress.disks[0].read_bytes == 340
    assert not (attempt.progress.rate_bytes_per_second or attempt.progress.eta_seconds or attempt.progress.bottleneck)
    (heard,) = message(None).attempts
    assert not heard.HasField("silent_since") and not heard.HasField("given_up_at")
    assert heard.progress.bottleneck == "network"


def test_every_screen_says_silent_since_when_and_what_was_known_last() -> None:
    silent, heard = message(Silence(SEEN, GIVEN_UP)), message(None)
    when = f"{datetime_of(SEEN).astimezone():%Y-%m-%d %H:%M:%S}"
    told = f"host kvm1 silent since {when}; last known: reading vda 34 %"
    assert detail(silent) == headline(silent) == told
    assert told in of_all(silent)
    shown = lines(silent)
    assert f"silent      {told}" in shown and "given up    " in shown and "now  " not in shown
    silent.cancel_requested = True
    assert detail(silent) == f"canceling: {told}" and headline(silent) == f"canceling, {told}"
    assert f"canceling: {told}" in of_all(silent)
    assert "silent" not in detail(heard) + headline(heard) + of_all(heard) + lines(heard)
    assert "now         976.6 KiB/s, 1:15 left, waiting: S3" in lines(heard)


def test_a_silent_host_that_never_reported_is_named_all_the_same() -> None:
    silent = message(Silence(SEEN))
    silent.attempts[0].ClearField("progress")
    assert detail(silent).startswith("host kvm1 silent since ") and "last known" not in detail(silent)


def test_a_run_that_was_just_made_waits_in_words_that_fit_every_screen() -> None:
    """ "waits: …" of one, "waits for   …" of another."""
    made = resources_pb2.Run(state=resources_pb2.RUN_STATE_READY, blocked_on=WAITS)
    assert headline(made) == "waits: the scheduler has not looked at it yet"
    assert lines(made).count("waits") == 1


def explanation(**fields: object) -> str:
    output = Output(as_json=False)
    output.out = Console(file=io.StringIO(), width=200, soft_wrap=True, highlight=False)
    waits = resources_pb2.Run(state=resources_pb2.RUN_STATE_READY)
    print_explanation(output, limits_pb2.ExplainRunResponse(run=waits, **fields), datetime_of(NOW))  # type: ignore[arg-type]
    return output.out.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_a_vm_without_a_point_is_shown_as_such() -> None:
    assert "lateness     no point yet: first in line" in explanation(no_point_yet=True)
    assert "lateness     1.5 times its objective" in explanation(lateness=1.5)
    assert "lateness" not in explanation()
