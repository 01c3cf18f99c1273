"""Alembic migrations, run by the controller at its start. Expand first, contract a release later: the release before must still run."""
