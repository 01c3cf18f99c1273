"""Before anything is made: nobody else at work, what applies to this start, written down; and the configurations that follow from it."""

from pathlib import Path
from typing import TYPE_CHECKING

from seawall.cli import compose
from seawall.cli.exits import CommandError, Exit
from seawall.cli.up import found, plan
from seawall.cli.up.children import Say, config_file
from seawall.cli.up.locks import by_whom, is_held
from seawall.cli.up.places import Places
from seawall.cli.up.settings import UpSettings, load, render
from seawall.repository.clock import Clock

if TYPE_CHECKING:
    from seawall.agent.config import AgentConfig
    from seawall.controller.config import ControllerConfig

EARLIER_SECONDS = 20.0
LOOK_SECONDS = 0.05


def settle_settings(places: Places, asked: plan.Asked, clock: Clock, say: Say) -> UpSettings:
    """What applies, written down before anything else is made. Raises CommandError: NOT_OURS, OPERATOR_FILE_*, PORT_IN_USE, …"""
    remembered = load(places.settings)
    if remembered is None:
        plan.refuse_others(found.found_before_first_start(places), places)
    await_earlier_children(places, clock, say)
    settings = plan.settle(asked, remembered, places, found.is_free)
    found_ca = found.ca_of_operator_file(places.operator_file)
    if places.controller_marker.exists():
        plan.need_operator_file(found_ca, places)
    else:
        plan.refuse_other_operator_file(found_ca, found.own_ca(places), places)
    controller_config(places, settings)
    agent_config(places, settings)
    if settings != remembered:
        compose.write_private_file(places.settings, render(settings))
    return settings


def await_earlier_children(places: Places, clock: Clock, say: Say) -> None:
    """Those of an `up` that was killed are told so by the kernel and end by themselves. Raises CommandError/STILL_RUNNING."""
    for name, lock in (("agent", places.agent_lock), ("controller", places.controller_lock)):
        deadline = clock.monotonic_seconds() + EARLIER_SECONDS
        if is_held(lock):
            say(f"The {name}{by_whom(lock)} of an earlier start still runs; waiting for its end.")
        while is_held(lock):
            if clock.monotonic_seconds() > deadline:
                raise CommandError(
                    Exit.REFUSED,
                    "STILL_RUNNING",
                    f"Another {name}{by_whom(lock)} works in {lock.parent}. If an init script runs it, `seawall up` is not needed; "
                    "else end that process and try again.",
                )
            clock.sleep_seconds(LOOK_SECONDS)


def controller_config(places: Places, settings: UpSettings) -> "ControllerConfig":
    """For `initialise`: the same as the words that `controller run` gets, and where operators of this machine ask. Raises CommandError."""
    listen, told = settings.listen_host, settings.told_host
    return compose.controller_config(
        Path(config_file(places, "controller")),
        state_dir=places.controller,
        operator_listen=f"{listen}:{settings.operator_port}",
        agent_listen=f"{listen}:{settings.agent_port}",
        enrol_address=f"{told}:{settings.operator_port}",
        agent_address=f"{told}:{settings.agent_port}",
        operator_address=settings.operator_address,
        operator_file=places.operator_file,
    )


def agent_config(places: Places, settings: UpSettings) -> "AgentConfig":
    """For joining and asking how it is. Raises CommandError."""
    return compose.agent_config(
        Path(config_file(places, "agent")),
        state_dir=places.agent,
        run_dir=Path(settings.run_dir),
        scratch_dir=Path(settings.scratch_dir),
        hypervisor=settings.hypervisor,
        host_name=settings.host_name or None,
        controllers=(settings.agent_address,),
    )
