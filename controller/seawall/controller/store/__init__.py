"""The store port: what the controller's parts ask of its database, by role. `database/` implements it; nobody else sees SQL.

Contract, checked by tests/contract/test_controller_store.py:
- `write` runs a pure closure in one serialised transaction: it sees all earlier writes, and either all of its changes are durable when the
  call returns, or none is. A closure may run again after a conflict, so it must touch nothing but its transaction.
- `read` sees one consistent snapshot of the last commit and never waits for a writer.
- `save_run` and `save_attempt` compare the version that was read: a record that somebody changed since raises Aborted/CHANGED.
- Errors are ours: Aborted, Unavailable/DATABASE, DataLoss/DATABASE_DAMAGED, InvalidArgument/BAD_NUMBER, AlreadyExists.
- Lists are ordered as their docstrings say.
- `write` and `read` belong to the event loop; `write_now` and `read_now` are the same for worker threads.
"""
