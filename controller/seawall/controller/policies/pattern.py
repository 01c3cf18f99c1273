"""Regular expressions for names of VMs, matched in time linear in the name: no expression makes the controller think for hours.

A small language: characters, `.`, `[a-z_]`, `[^0-9]`, `\\d \\w \\s` and escaped characters, groups, `|`, `* + ?`, `{2}`, `{1,3}`, `{2,}`.
The whole name must match, so `^` and `$` are taken at the ends and mean nothing more. No back-references, no look-around. Thompson's
construction; the sets of states that names led to are remembered.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

LONGEST_PATTERN = 200
MOST_STATES = 1000
MOST_REPEATS = 100
MOST_COPIES = 10 * MOST_STATES
MOST_DEPTH = 20
_REMEMBERED = 2000

Test = Callable[[str], bool]


class BadPattern(ValueError):
    """What cannot be read, and where."""


@dataclass(slots=True)
class _State:
    """`test` and `after`: by a character; `also`: without one."""

    test: Test | None = None
    after: int = -1
    also: list[int] = field(default_factory=list)


class Pattern:
    """A compiled expression."""

    def __init__(self, text: str) -> None:
        """Raises BadPattern."""
        if len(text) > LONGEST_PATTERN:
            raise BadPattern(f"it has {len(text)} characters; {LONGEST_PATTERN} are the most")
        self._states: list[_State] = []
        self._end = self._new(_State())
        self._start = _Compiler(_trimmed(text), self._new, self._states).compile(self._end)
        self._steps: dict[tuple[frozenset[int], str], frozenset[int]] = {}

    def matches(self, name: str) -> bool:
        """Whether the whole name fits."""
        now = self._closed({self._start})
        for character in name:
            now = self._step(now, character)
            if not now:
                return False
        return self._end in now

    def _new(self, state: _State) -> int:
        if len(self._states) >= MOST_STATES:
            raise BadPattern("its repetitions make it too large")
        self._states.append(state)
        return len(self._states) - 1

    def _step(self, now: frozenset[int], character: str) -> frozenset[int]:
        found = self._steps.get((now, character))
        if found is None:
            states = (self._states[each] for each in now)
            found = self._closed({state.after for state in states if state.test is not None and state.test(character)})
            if len(self._steps) < _REMEMBERED:
                self._steps[now, character] = found
        return found

    def _closed(self, states: set[int]) -> frozenset[int]:
        """With all that is reached without a character."""
        waiting = list(states)
        while waiting:
            for also in self._states[waiting.pop()].also:
                if also not in states:
                    states.add(also)
                    waiting.append(also)
        return frozenset(states)


def _trimmed(text: str) -> str:
    text = text.removeprefix("^")
    escaped = (len(text) - 1 - len(text[:-1].rstrip("\\"))) % 2 if text else 0
    return text[:-1] if text.endswith("$") and not escaped else text


Build = Callable[[int], int]
"""Given the state to go on with, builds the part before it and returns its first state."""

_CLASSES: dict[str, Test] = {
    "d": str.isdecimal,
    "w": lambda character: character.isalnum() or character == "_",
    "s": str.isspace,
}


class _Compiler:
    """Recursive descent; every method leaves `at` behind what it read."""

    def __init__(self, text: str, new: Callable[[_State], int], states: list[_State]) -> None:
        self._text = text
        self._new = new
        self._states = states
        self._at = 0
        self._depth = 0
        self._copies = 0

    def compile(self, end: int) -> int:
        build = self._choice()
        if self._at < len(self._text):
            raise self._wrong("a ) without its (")
        return build(end)

    def _choice(self) -> Build:
        ways = [self._sequence()]
        while self._taken("|"):
            ways.append(self._sequence())
        if len(ways) == 1:
            return ways[0]
        return lambda end: self._new(_State(also=[way(end) for way in ways]))

    def _sequence(self) -> Build:
        parts: list[Build] = []
        while self._at < len(self._text) and self._text[self._at] not in "|)":
            parts.append(self._repeated())

        def build(end: int) -> int:
            for part in reversed(parts):
                end = part(end)
            return end

        return build

    def _repeated(self) -> Build:
        build = self._atom()
        while self._at < len(self._text) and self._text[self._at] in "*+?{":
            least, most = self._count()
            build = self._times(build, least, most)
        return build

    def _times(self, part: Build, least: int, most: int | None) -> Build:
        def loop(end: int) -> int:
            again = self._new(_State())
            self._states[again].also = [part(again), end]
            return again

        def optional(end: int) -> int:
            return self._new(_State(also=[part(end), end]))

        def build(end: int) -> int:
            if most is None:
                end = loop(end)
            for _ in range(0 if most is None else most - least):
                end = optional(end)
            for _ in range(least):
                self._copies += 1
                # What matches nothing makes no state, so that the number of states bounds it not.
                if self._copies > MOST_COPIES:
                    raise BadPattern("its repetitions make it too large")
                end = part(end)
            return end

        return build

    def _count(self) -> tuple[int, int | None]:
        mark = self._take()
        if mark != "{":
            return {"*": (0, None), "+": (1, None), "?": (0, 1)}[mark]
        inside = self._until("}")
        first, comma, second = inside.partition(",")
        if not (first.isascii() and first.isdigit() and (not second or (second.isascii() and second.isdigit()))):
            raise self._wrong("a repetition that is not {2}, {2,} or {1,3}")
        least = int(first)
        most = (int(second) if second else None) if comma else least
        if max(least, most or 0) > MOST_REPEATS or (most is not None and most < least):
            raise self._wrong(f"a repetition of more than {MOST_REPEATS}, or with its ends exchanged")
        return least, most

    def _atom(self) -> Build:
        character = self._take()
        if character == "(":
            return self._group()
        if character in "*+?{":
            raise self._wrong(f"a {character} that repeats nothing")
        if character in "^$":
            raise self._wrong(f"a {character} that is not at the end: the whole name is matched")
        if character == ".":
            return self._one(lambda _: True)
        if character == "[":
            return self._one(self._set())
        return self._one(self._escaped() if character == "\\" else character.__eq__)

    def _group(self) -> Build:
        self._depth += 1
        if self._depth > MOST_DEPTH:
            raise self._wrong("too many groups inside each other")
        if self._text.startswith("?:", self._at):
            self._at += 2
        build = self._choice()
        if not self._taken(")"):
            raise self._wrong("a ( without its )")
        self._depth -= 1
        return build

    def _one(self, test: Test) -> Build:
        return lambda end: self._new(_State(test=test, after=end))

    def _escaped(self) -> Test:
        character = self._take()
        if character in _CLASSES:
            return _CLASSES[character]
        if character.isalnum():
            raise self._wrong(f"\\{character}, which is not known here")
        return character.__eq__

    def _set(self) -> Test:
        negated = self._taken("^")
        tests: list[Test] = []
        while not self._taken("]") or not tests:
            tests.append(self._member())
        return lambda character: any(test(character) for test in tests) != negated

    def _member(self) -> Test:
        first = self._take()
        if first == "\\":
            return self._escaped()
        if self._text[self._at : self._at + 1] != "-" or self._text[self._at + 1 : self._at + 2] in ("", "]"):
            return first.__eq__
        self._at += 1
        last = self._take()
        if last == "\\" or last < first:
            raise self._wrong(f"a range {first}-{last} that ends before it begins")
        return lambda character: first <= character <= last

    def _take(self) -> str:
        if self._at >= len(self._text):
            raise self._wrong("an end where more was expected")
        self._at += 1
        return self._text[self._at - 1]

    def _taken(self, character: str) -> bool:
        taken = self._text.startswith(character, self._at)
        self._at += taken
        return taken

    def _until(self, mark: str) -> str:
        end = self._text.find(mark, self._at)
        if end < 0:
            raise self._wrong("a { without its }")
        inside, self._at = self._text[self._at : end], end + 1
        return inside

    def _wrong(self, what: str) -> BadPattern:
        return BadPattern(f"{what} (at character {self._at})")
