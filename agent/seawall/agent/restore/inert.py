"""Copying XML that cannot do harm: no paths, no names of host things, no namespaces. Pure."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Collection, Mapping

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_VALUE = re.compile(r"[\w .,:+%-]{0,128}", re.ASCII)  # no slash and no quote: never a path, an option or a URI
_NAMES_HOST_THINGS = frozenset(
    {"source", "backend", "script", "log", "loader", "nvram", "path", "file", "seclabel", "driver"}
)


def is_inert(value: str) -> bool:
    """Whether it is too plain to name a file or to carry an option."""
    return _VALUE.fullmatch(value) is not None and ".." not in value


def attributes(element: ET.Element, allowed: Collection[str]) -> dict[str, str]:
    """Those of the allowed ones whose value is inert."""
    return {name: value for name, value in element.attrib.items() if name in allowed and is_inert(value)}


def inert_copy(element: ET.Element) -> ET.Element:
    """The element with all inert attributes, text and children, as deep as they go."""
    copied = ET.Element(element.tag, {name: value for name, value in element.attrib.items() if _plain(name, value)})
    text = (element.text or "").strip()
    if text and is_inert(text):
        copied.text = text
    copied.extend(
        inert_copy(child)
        for child in element
        if isinstance(child.tag, str) and _NAME.fullmatch(child.tag) and child.tag not in _NAMES_HOST_THINGS
    )
    return copied


def copy_children(source: ET.Element, into: ET.Element, allowed: Mapping[str, Collection[str]]) -> None:
    """Append the children named in `allowed`, each with its allowed attributes alone, without text and without children."""
    for child in source:
        if child.tag in allowed:
            ET.SubElement(into, child.tag, attributes(child, allowed[child.tag]))


def _plain(name: str, value: str) -> bool:
    return _NAME.fullmatch(name) is not None and is_inert(value)
