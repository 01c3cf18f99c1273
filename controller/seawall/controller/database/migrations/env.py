"""Alembic's entry. The caller brings the connection and its transaction (database/migrate.py)."""

from alembic import context

from seawall.controller.database.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
context.run_migrations()
