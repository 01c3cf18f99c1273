"""The freeze and its deadline, in the guard's process: one thread freezes, waits, and thaws until the guest has answered.

The guard sends the freeze itself: a worker that was stopped before it sent one, and goes on later, would freeze a guest that nobody thaws.
"""

import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from seawall.agent.capture.ending import is_marked_elsewhere, set_mark, thaw
from seawall.agent.capture.guard.protocol import MAX_FAILURES, Report, Verdict, verdict_of
from seawall.agent.errors import AgentError, FreezeFailed
from seawall.agent.hypervisor.guest_agent import thaw_directly
from seawall.agent.hypervisor.port import AGENT_DISCONNECTED, UNREACHABLE, Hypervisor
from seawall.repository.clock import Clock

SHARE_OF_LIMIT = 0.8
"""When the thaw is sent, so that the guest has carried it out when the time is up."""
AGAIN_SECONDS = 0.2
"""Before the first repetition of a thaw; doubled up to the longest."""
AGAIN_LONGEST_SECONDS = 5.0
AGENT_SECONDS = 2.0
"""So long after the freeze, or after the second refusal of a thaw, the guest's kernel is asked as well as its agent."""
MOST_KEYS = 3
"""Somebody may sit before that keyboard."""


class Freezing:
    """Thread-safe. The mark is there for as long as the guest may be frozen.

    A guest that does not answer (its agent may be busy with a freeze that was given up) is asked again for as long as this process lives.
    When libvirt cannot be reached, or says that no agent is connected (it does not notice, while a job runs, that one came back), the
    guest's agent is asked directly. And a guest whose agent does not thaw it, dead or not, is asked by its keyboard (SysRq).
    """

    def __init__(
        self,
        hypervisor: Hypervisor,
        vm_id: str,
        mark: Path,
        limit_seconds: float,
        clock: Clock,
        agent: Path | None = None,
    ) -> None:
        """`agent`: the socket of the guest's agent."""
        self._hypervisor, self._vm_id, self._mark, self._agent = hypervisor, vm_id, mark, agent
        self._limit_seconds, self._clock = limit_seconds, clock
        self._has_keys = self._agent_gone = False
        self._pressed = 0
        self._changed = threading.Condition()
        self._asked_seconds = 0.0
        self._wanted = False
        self._report = Report()
        self._thread: threading.Thread | None = None

    def freeze(self) -> None:
        """Begin to; the report tells how it went. At most one at a time."""
        with self._changed:
            self._asked_seconds, self._wanted = self._clock.monotonic_seconds(), False
            self._report = Report(freezing=True, frozen=True)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="freeze", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def thaw(self) -> None:
        """Begin to, if there is a freeze."""
        with self._changed:
            self._wanted = True
            self._changed.notify_all()

    def await_outcome(self, seconds: float) -> None:
        """Until it is known how the freeze went, or for so long."""
        with self._changed:
            self._changed.wait_for(lambda: not self._report.freezing, seconds)

    def stuck(self) -> AgentError | None:
        """Why the job must end for the guest to be thawed: its time is up and its agent is gone, and libvirt sees none again before."""
        with self._changed:
            late = self._clock.monotonic_seconds() - self._asked_seconds > self._limit_seconds
            if not (late and self._agent_gone and self._report.frozen and not self._report.freezing):
                return None
        return FreezeFailed(
            "The guest's agent died while the guest was frozen, so the backup was ended for the guest's sake.",
            next_step="See why qemu-guest-agent ended in the guest, and restart it: one that came back during the backup may be unknown to "
            "libvirt. deploy/guest has a hook that thaws a guest without it.",
        )

    def report(self) -> Report:
        """All but the verdict on the job."""
        with self._changed:
            return self._report

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._report.freezing)
            if self._freeze():
                self._await_time()
                self._thaw()
            self._over()

    def _freeze(self) -> bool:
        """Whether the guest may be frozen now. Its agent is awake before the order is sent: what that takes is no part of the freeze."""
        failure: Verdict | None = None
        may_be_frozen, answer_seconds = True, max(1, int(self._limit_seconds / 2))
        try:
            self._has_keys = self._hypervisor.wake_agent(self._vm_id, answer_seconds)
            if is_marked_elsewhere(self._mark, self._vm_id):
                raise FreezeFailed("The guest has not answered an earlier attempt's thaw yet.", may_be_frozen=False)
            self._begin_time()
            set_mark(self._mark, self._vm_id)
            self._hypervisor.freeze(self._vm_id, answer_seconds)
        except OSError as error:
            failure, may_be_frozen = verdict_of(FreezeFailed(f"The freeze could not be noted down: {error}.")), False
        except AgentError as error:
            failure, may_be_frozen = verdict_of(error), getattr(error, "may_be_frozen", True)
        with self._changed:
            self._report = replace(
                self._report,
                freezing=False,
                frozen=may_be_frozen,
                freeze_failure=failure,
                freezing_ms=self._since_ms(self._asked_seconds),
            )
            self._changed.notify_all()
        return may_be_frozen

    def _begin_time(self) -> None:
        """Raises FreezeFailed where its owner died meanwhile."""
        with self._changed:
            if self._wanted:
                raise FreezeFailed("Nobody wants the freeze any more.", may_be_frozen=False)
            self._asked_seconds = self._clock.monotonic_seconds()

    def _await_time(self) -> None:
        """Until somebody wants the thaw, or it is time; a freeze that failed is over at once."""
        due_seconds = self._asked_seconds + self._limit_seconds * SHARE_OF_LIMIT
        with self._changed:
            while not self._wanted and self._report.freeze_failure is None:
                left_seconds = due_seconds - self._clock.monotonic_seconds()
                if left_seconds <= 0:
                    self._report = replace(self._report, overdue=True)
                    return
                self._changed.wait(left_seconds)

    def _thaw(self) -> None:
        pause_seconds, tries, self._pressed = AGAIN_SECONDS, 0, 0
        begun_seconds = self._clock.monotonic_seconds()
        while failure := self._try():
            tries += 1
            self._press_keys(tries)
            with self._changed:
                failures = (*self._report.thaw_failures, failure)[-MAX_FAILURES:]
                self._report = replace(self._report, thaw_failures=failures)
                self._changed.wait(pause_seconds)
            pause_seconds = min(2 * pause_seconds, AGAIN_LONGEST_SECONDS)
        with self._changed:
            self._report = replace(
                self._report,
                frozen_ms=self._since_ms(self._asked_seconds),
                thawing_ms=self._since_ms(begun_seconds),
            )

    def _since_ms(self, seconds: float) -> int:
        return round((self._clock.monotonic_seconds() - seconds) * 1000)

    def _try(self) -> str:
        """What went wrong; "": the guest is not frozen."""
        try:
            thaw(self._hypervisor, self._vm_id)
        except AgentError as error:
            self._agent_gone = error.reason == AGENT_DISCONNECTED
            nobody_there = error.reason in (UNREACHABLE, AGENT_DISCONNECTED)
            if not nobody_there or self._agent is None or not thaw_directly(self._agent):
                return str(error)
        return ""

    def _press_keys(self, tries: int) -> None:
        """The agent may be dead for good: the kernel can thaw without it, where it takes orders from a keyboard."""
        late = self._clock.monotonic_seconds() - self._asked_seconds >= AGENT_SECONDS
        if self._has_keys and self._pressed < MOST_KEYS and (late or tries > 1):
            self._pressed += 1
            with suppress(AgentError):
                self._hypervisor.press_thaw_keys(self._vm_id)

    def _over(self) -> None:
        with suppress(OSError):  # then the sweep thaws once more
            self._mark.unlink(missing_ok=True)
        with self._changed:
            self._report = replace(self._report, frozen=False)
