"""Text on PostgreSQL is compared by its bytes, as SQLite does it, whatever language the database was made for.

Prefixes of ids, pages, and "newest" go by comparison: in a database that sorts as people do, "~" is not greater than every digit. Importing
this module is what makes columns so; the migrations need not think of it.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles


@compiles(sa.Text, "postgresql")
def _text(element: sa.Text, compiler: Any, **how: Any) -> str:
    kind: str = compiler.visit_TEXT(element, **how)
    # In CREATE and ALTER TABLE; a CAST names a type alone.
    return f'{kind} COLLATE "C"' if isinstance(how.get("type_expression"), sa.Column) else kind
