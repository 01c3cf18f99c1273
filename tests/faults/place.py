"""Where every round begins: a controller's state and a bucket with an empty repository, made once a process."""

from dataclasses import dataclass
from pathlib import Path

from seawall.controller.config import ControllerConfig
from seawall.repository.store.memory import MemoryStore
from support.controller_clock import START_US, ManualClock

from .controller import created_place


@dataclass(frozen=True)
class Place:
    config: ControllerConfig
    store: MemoryStore
    now_us: int


def made_place(directory: Path) -> Place:
    config, store = created_place(directory / "template", ManualClock(START_US))
    return Place(config, store, START_US)
