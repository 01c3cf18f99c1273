"""Breadth-first search through every state of a scope: the shortest history that breaks something, or the proof that none does."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from model.agents import Step, agent_steps
from model.bucket import bucket_steps, punctual
from model.collecting import collecting_steps, revive_steps
from model.invariants import broken, tidy
from model.leading import leading_steps
from model.publishing import publishing_steps
from model.rules import Scope
from model.state import State
from model.trimming import trimming_steps


@dataclass(frozen=True)
class Found:
    """`wrong`: the invariant that the last step broke, "" when none was; `history`: the labels of the steps that lead there."""

    states: int
    wrong: str = ""
    history: tuple[str, ...] = ()

    def __str__(self) -> str:
        steps = "\n".join(f"{number:3}. {label}" for number, label in enumerate(self.history, start=1))
        return f"{self.states} states. {self.wrong or 'Nothing is ever wrong.'}\n{steps}"


class TooLarge(Exception):
    """A scope has more states than its search may visit: a smaller one is needed, not more patience."""


def steps_of(scope: Scope, state: State) -> Iterator[Step]:
    """Everything that may happen next."""
    for of in (
        agent_steps,
        publishing_steps,
        collecting_steps,
        revive_steps,
        bucket_steps,
        leading_steps,
        trimming_steps,
    ):
        for label, fair, reached in of(scope, state):
            after = punctual(scope, reached)
            if after != state:
                yield Step(label, fair, after)


def search(scope: Scope, most_states: int = 400_000, *, ends: bool = True) -> Found:
    """Raises TooLarge. `ends`: also that fair steps lead from every state to a tidy one."""
    start = scope.start
    before: dict[State, tuple[State, str] | None] = {start: None}
    fair: dict[State, list[State]] = {}
    tidy_states: list[State] = []
    queue = deque([start])
    while queue:
        state = queue.popleft()
        wrong = broken(scope, state)
        if wrong:
            return Found(len(before), wrong, _history(before, state))
        if tidy(state):
            tidy_states.append(state)
        for step in steps_of(scope, state):
            if step.fair and ends:
                fair.setdefault(step.state, []).append(state)
            if step.state not in before:
                before[step.state] = (state, step.label)
                queue.append(step.state)
        if len(before) > most_states:
            raise TooLarge(f"{scope.name}: more than {most_states} states")
    stuck = _stuck(before, fair, tidy_states) if ends else None
    if stuck is not None:
        return Found(len(before), "from here no maintenance tidies up", _history(before, stuck))
    return Found(len(before))


def _stuck(
    before: dict[State, tuple[State, str] | None], fair: dict[State, list[State]], tidy_states: list[State]
) -> State | None:
    """The first state found from which no path of fair steps leads to a tidy one."""
    good, queue = set(tidy_states), deque(tidy_states)
    while queue:
        for earlier in fair.get(queue.popleft(), ()):
            if earlier not in good:
                good.add(earlier)
                queue.append(earlier)
    return next((state for state in before if state not in good), None)


def _history(before: dict[State, tuple[State, str] | None], state: State) -> tuple[str, ...]:
    labels: list[str] = []
    reached = before[state]
    while reached is not None:
        state, label = reached
        labels.append(label)
        reached = before[state]
    return tuple(reversed(labels))
