"""Which database `controller init` was told to use, kept in the state directory."""

import json
from pathlib import Path

from seawall.controller.config import ControllerConfig, StatePaths
from seawall.controller.errors import DataLoss
from seawall.controller.files import write_file


def record(config: ControllerConfig) -> None:
    """Nothing with SQLite: that file has one place."""
    if config.database:
        file = config.database_password_file
        told = {"url": config.database, "password_file": str(file) if file else ""}
        write_file(config.paths.database_record, json.dumps(told, indent=1).encode() + b"\n", 0o600)


def recorded(paths: StatePaths) -> tuple[str, Path | None]:
    """(URL, or "" for SQLite; password file). Raises DataLoss/STATE_FILE_DAMAGED."""
    path = paths.database_record
    if not path.exists():
        return "", None
    try:
        told = json.loads(path.read_text())
        url, file = str(told["url"]), str(told["password_file"])
    except (ValueError, TypeError, KeyError) as error:
        raise DataLoss(
            "STATE_FILE_DAMAGED",
            f'{path} is damaged. It holds {{"url": "postgresql://USER@HOST:PORT/NAME", "password_file": ""}}: write it again.',
        ) from error
    return url, Path(file) if file else None
