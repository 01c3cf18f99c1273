"""How operators name things: by id, by a prefix of the id of eight digits or more, or by name."""

from typing import Any

import sqlalchemy as sa

from seawall.controller.records.ids import SHORTEST_PREFIX


def named(
    query: sa.Select[Any], text: str, id_column: sa.Column[str], name_column: sa.Column[str] | None = None
) -> sa.Select[Any]:
    """The rows that the text may mean, at most 20. Prefixes go by comparison, which both databases answer from the key."""
    ways: list[sa.ColumnElement[bool]] = [id_column == text]
    if len(text) >= SHORTEST_PREFIX:
        ways.append(sa.and_(id_column >= text, id_column < text + "~"))
    if name_column is not None:
        ways.append(name_column == text)
    return query.where(sa.or_(*ways)).order_by(id_column).limit(20)
