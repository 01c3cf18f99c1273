"""The schema: the revision that a controller asks for is the newest that there is, and one that is current is left alone."""

from pathlib import Path

import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory

from seawall.controller.database.migrate import NEWEST, SCRIPTS, is_current
from seawall.controller.database.sqlite import SqliteDatabase


def test_the_newest_revision_is_the_one_asked_for() -> None:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_heads() == [NEWEST]


def test_a_database_is_current_once_it_was_opened(tmp_path: Path) -> None:
    file = tmp_path / "controller.sqlite"
    with sa.create_engine(f"sqlite:///{file}").connect() as connection:
        assert not is_current(connection)
    SqliteDatabase(file).close()
    with sa.create_engine(f"sqlite:///{file}").connect() as connection:
        assert is_current(connection)
