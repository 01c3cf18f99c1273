"""A bad network before a good S3 server: a process, told over a unix socket which requests to spoil. See `rules.py`, `control.py`."""
