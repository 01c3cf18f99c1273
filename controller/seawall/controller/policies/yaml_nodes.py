"""Policy files as trees that know their lines. The one importer of yaml; nothing here knows what a policy is.

Nothing is resolved: `no`, `22:00` and `0123` are the texts that were written, and whoever reads a field says what it must be. Anchors,
aliases and tags are refused, so a small file stays small.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import yaml
from yaml.reader import ReaderError

from seawall.controller.errors import InvalidArgument
from seawall.controller.policies.too_large import LARGEST_BYTES, too_large
from seawall.controller.text import printable

DEEPEST = 8
MOST_DOCUMENTS = 200
LONGEST_VALUE = 253
SHOWN = 60

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands: for messages."""

    source: str
    line: int
    path: str

    def wrong(self, what: str) -> InvalidArgument:
        """The error to raise."""
        field = f", {self.path}" if self.path else ""
        return InvalidArgument("BAD_POLICY", f"{self.source}, line {self.line}{field}: {what}")


class Field:
    """A value: a text, a list or a table."""

    def __init__(self, node: yaml.Node, source: str, path: str) -> None:
        self._node = node
        self._source = source
        self.path = path

    @property
    def place(self) -> Place:
        return Place(self._source, self._node.start_mark.line + 1, self.path)

    def wrong(self, what: str) -> InvalidArgument:
        return self.place.wrong(what)

    def text(self, longest: int = LONGEST_VALUE) -> str:
        """One printable line, not empty. Raises InvalidArgument/BAD_POLICY. The same for its siblings."""
        if not isinstance(self._node, yaml.ScalarNode):
            raise self.wrong("a single value belongs here")
        value = str(self._node.value)
        if len(value) > longest:
            raise self.wrong(f"{len(value)} characters are too many; {longest} are the most")
        if not value or (value in ("~", "null") and not self._node.style):
            raise self.wrong("a value is missing")
        if not value.isprintable():
            raise self.wrong("it holds characters that cannot be shown")
        return value

    def flag(self) -> bool:
        words = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
        value = words.get(self.text().lower())
        if value is None:
            raise self.wrong(f"{self.shown()} is neither true nor false")
        return value

    def number(self, least: int, most: int) -> int:
        value = self.text()
        if not (value.isascii() and value.isdigit() and len(value) <= 18 and least <= int(value) <= most):
            raise self.wrong(f"{self.shown()} is not a whole number from {least} to {most}")
        return int(value)

    def items(self, most: int) -> "list[Field]":
        """A list; a single value, or table, counts as a list of it."""
        if not isinstance(self._node, yaml.SequenceNode):
            return [self]
        if not self._node.value:
            raise self.wrong("the list is empty; leave the key out, or name something")
        if len(self._node.value) > most:
            raise self.wrong(f"{len(self._node.value)} entries are too many; {most} are the most")
        return [Field(node, self._source, f"{self.path}[{number}]") for number, node in enumerate(self._node.value, 1)]

    def table(self, *known: str) -> "Table":
        return Table(self._node, self._source, self.path, known)

    def shown(self) -> str:
        """The value as it was written, in one short line."""
        value = printable(str(self._node.value), SHOWN + 1)
        return repr(value) if len(value) <= SHOWN else f"{value[:SHOWN]!r}…"


class Table:
    """Keys and fields, each key known and there once."""

    def __init__(self, node: yaml.Node, source: str, path: str, known: tuple[str, ...]) -> None:
        """Raises InvalidArgument/BAD_POLICY."""
        self.place = Place(source, node.start_mark.line + 1, path)
        if not isinstance(node, yaml.MappingNode):
            raise self.place.wrong(f"a table belongs here, with keys of: {', '.join(known)}")
        self._fields: dict[str, Field] = {}
        for key_node, value in node.value:
            key = Field(key_node, source, path).text()
            here = Place(source, key_node.start_mark.line + 1, path)
            if key not in known:
                raise here.wrong(f"unknown key {printable(key, SHOWN)!r}; known are {', '.join(known)}")
            if key in self._fields:
                raise here.wrong(f"the key {key} stands here twice")
            self._fields[key] = Field(value, source, f"{path}.{key}" if path else key)

    def get(self, key: str) -> Field | None:
        return self._fields.get(key)

    def need(self, key: str) -> Field:
        found = self._fields.get(key)
        if found is None:
            raise self.place.wrong(f"the key {key} is missing")
        return found

    @property
    def empty(self) -> bool:
        return not self._fields


def documents(text: str, source: str) -> Iterator[Field]:
    """One field for each document of a file. Raises InvalidArgument/BAD_POLICY."""
    start = Place(source, 1, "")
    if len(text.encode("utf-8", "replace")) > LARGEST_BYTES:
        raise InvalidArgument("BAD_POLICY", too_large(text, source))
    try:
        _check_events(text, source)
        nodes = [node for node in yaml.compose_all(text, Loader=_LOADER) if not _is_empty(node)]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = error.problem or error.context or "it cannot be read"
        raise Place(source, mark.line + 1 if mark else 1, "").wrong(f"this is not YAML: {printable(what)}") from error
    except ReaderError as error:
        raise Place(source, _line_of(text, error), "").wrong(
            f"this is not YAML: it holds the character U+{int(error.character):04X}, which cannot be shown"
        ) from error
    except (yaml.YAMLError, UnicodeError) as error:
        raise start.wrong(f"this is not YAML: {printable(str(error))}") from error
    if not nodes:
        raise start.wrong("there is no policy in it")
    if len(nodes) > MOST_DOCUMENTS:
        raise start.wrong(f"{len(nodes)} policies are too many for one file; {MOST_DOCUMENTS} are the most")
    return (Field(node, source, "") for node in nodes)


def _line_of(text: str, error: ReaderError) -> int:
    """Of a character that no YAML may hold. The reader counts bytes or characters, as it is made: it is looked for instead."""
    return text.count("\n", 0, max(text.find(chr(int(error.character))), 0)) + 1


def written(value: object) -> str:
    """A table of tables, lists, texts, numbers and flags as one document."""
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=120)


def _is_empty(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and not node.value


def _check_events(text: str, source: str) -> None:
    """Before anything is built: no tricks, no depths."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        here = Place(source, event.start_mark.line + 1 if event.start_mark else 1, "")
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise here.wrong(
                "anchors and aliases (& and *) have no place in a policy; a value that begins so needs quotes"
            )
        if getattr(event, "tag", None):
            raise here.wrong("tags (!) have no place in a policy; a value that begins so needs quotes")
        if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            depth += 1
        if isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            depth -= 1
        if depth > DEEPEST:
            raise here.wrong("tables and lists inside each other are too deep")
