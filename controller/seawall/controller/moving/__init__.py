"""Maintenance of repositories: jobs, the worker process that does them, the fenced steps it asks for. See DESIGN.md, "Maintenance"."""
