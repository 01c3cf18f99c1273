"""The decisions of `seawall up`: what applies, and what is missing. Pure: facts go in, values or a CommandError come out."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import Enum, auto

from seawall.cli.exits import CommandError, Exit
from seawall.cli.up.places import Places
from seawall.cli.up.settings import REPOSITORY_NAME, UpSettings

FIRST_PORT, LAST_PORT = 7440, 7498


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the command line says; None: nothing was said."""

    repository_url: str | None = None
    name: str | None = None
    host_name: str | None = None
    hypervisor: str | None = None
    run_dir: str | None = None
    scratch_dir: str | None = None


def settle(asked: Asked, remembered: UpSettings | None, places: Places, is_free: Callable[[int], bool]) -> UpSettings:
    """What applies to this start: the command line, else what is remembered, else the defaults and free ports.

    Raises CommandError/PORT_IN_USE: a remembered port is somebody else's now, or none is free.
    """
    if remembered is None:
        operator, agent = _free_pair(is_free)
        remembered = UpSettings(
            operator_port=operator,
            agent_port=agent,
            repository_url=places.repository.as_uri(),
            run_dir=str(places.run_dir),
            scratch_dir=str(places.scratch_dir),
        )
    else:
        for port in (remembered.operator_port, remembered.agent_port):
            _need_free(port, is_free, places)
    return UpSettings(
        operator_port=remembered.operator_port,
        agent_port=remembered.agent_port,
        repository_url=asked.repository_url or remembered.repository_url,
        run_dir=asked.run_dir or remembered.run_dir,
        scratch_dir=asked.scratch_dir or remembered.scratch_dir,
        name=remembered.name if asked.name is None else asked.name,
        host_name=remembered.host_name if asked.host_name is None else asked.host_name,
        hypervisor=asked.hypervisor or remembered.hypervisor,
    )


def _free_pair(is_free: Callable[[int], bool]) -> tuple[int, int]:
    """Two neighbours, the usual ones if they are free. Below the range that the kernel hands out, so that they stay free over a restart."""
    for port in range(FIRST_PORT, LAST_PORT, 2):
        if is_free(port) and is_free(port + 1):
            return port, port + 1
    raise CommandError(
        Exit.REFUSED, "PORT_IN_USE", f"No two neighbouring ports are free from {FIRST_PORT} to {LAST_PORT}."
    )


def _need_free(port: int, is_free: Callable[[int], bool], places: Places) -> None:
    if not is_free(port):
        raise CommandError(
            Exit.REFUSED,
            "PORT_IN_USE",
            f"Port {port} is taken by another process; it has been this controller's since its first start, and operator files name it. "
            f"`ss -ltnp 'sport = :{port}'` shows by which. End that process, or give `seawall up` another --state-dir "
            f"(the one in use is {places.state_dir}).",
        )


@dataclass(frozen=True, slots=True)
class Found:
    """What lies on the machine before a first start."""

    controller: bool
    """A controller's keys, or the beginning of them."""
    agent: bool
    """An agent's identity."""


def refuse_others(found: Found, places: Places) -> None:
    """A first start takes over nothing that others made. Raises CommandError/NOT_OURS."""
    for there, what, directory in (
        (found.controller, "controller", places.controller),
        (found.agent, "agent", places.agent),
    ):
        if there:
            raise CommandError(
                Exit.REFUSED,
                "NOT_OURS",
                f"{directory} holds a {what} that `seawall up` did not make, and it takes over none. "
                f"Start that one with `seawall {what} run`, or give `seawall up` a --state-dir of its own.",
            )


def refuse_other_operator_file(found_ca: str | None, own_ca: str | None, places: Places) -> None:
    """`found_ca`: the CA in an operator.toml at our place; "" where it cannot be read, None where there is none. `own_ca`: ours, if made.

    Raises CommandError/OPERATOR_FILE_TAKEN.
    """
    if found_ca is not None and found_ca != own_ca:
        raise CommandError(
            Exit.REFUSED,
            "OPERATOR_FILE_TAKEN",
            f"{places.operator_file} belongs to another controller. Move it away, "
            "or give `seawall up` a --state-dir of its own, where it keeps its own operator.toml.",
        )


def need_operator_file(found_ca: str | None, places: Places) -> None:
    """Of a controller that is made. `found_ca` as above. Raises CommandError/OPERATOR_FILE_MISSING."""
    if found_ca is None:
        raise CommandError(
            Exit.REFUSED,
            "OPERATOR_FILE_MISSING",
            f"{places.operator_file}, with the token that operators show, is gone. Bring it back from a copy; or remove "
            f"{places.controller_marker}: the next `seawall up` then makes a new token, and the old one is worth nothing.",
        )


def refuse_forgotten_repository(sheet_finished: bool, places: Places) -> None:
    """Before a repository is made: a finished sheet is of one that this controller had. Raises CommandError/REPOSITORY_FORGOTTEN."""
    if sheet_finished:
        raise CommandError(
            Exit.REFUSED,
            "REPOSITORY_FORGOTTEN",
            f"The controller knows no repository, yet {places.recovery_sheet} is of one: is its database in {places.controller} lost? "
            f"Bring that back from a copy. `seawall rescue --key {places.recovery_sheet} list` reads the repository without it. "
            "To begin with a new one, move the sheet to a safe place first.",
        )


def repository_missing(known_url: str | None, asked_url: str | None, sheet_unfinished: bool) -> bool:
    """Whether the repository, or its recovery sheet, is still to be made. A sheet that was taken away, as it should be, is not missed.

    `known_url`: where the controller has the repository, which counts whatever was remembered; None: it has none.
    Raises CommandError/REPOSITORY_DIFFERS.
    """
    if known_url is None:
        return True
    if asked_url is not None and asked_url != known_url:
        raise CommandError(
            Exit.REFUSED,
            "REPOSITORY_DIFFERS",
            f"The repository {REPOSITORY_NAME!r} of this controller is {known_url}. It stays where it is; while `seawall up` runs, "
            "`seawall repo add NAME URL` makes another one, and `seawall backup VM --repo NAME` uses it.",
        )
    return sheet_unfinished


class Membership(Enum):
    """How this host's agent stands with this controller."""

    NONE = auto()
    MEMBER = auto()
    EXPIRED = auto()
    """Away for longer than its certificate lasts."""
    OF_ANOTHER = auto()
    """Of a controller that was here before, or not to be read."""


def membership(enrolled_ca: str | None, own_roots: Collection[str], expired: bool) -> Membership:
    """`enrolled_ca`: the certificates that the agent trusts; None where it has not joined. `own_roots`: of our controller, former ones too:
    an agent that was away while the authority was replaced finds back by itself.
    """
    if enrolled_ca is None:
        return Membership.NONE
    if not any(root.strip() in enrolled_ca for root in own_roots):
        return Membership.OF_ANOTHER
    return Membership.EXPIRED if expired else Membership.MEMBER
