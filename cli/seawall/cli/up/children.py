"""The two children together: what they are called with, and the order in which they end."""

import signal
from collections.abc import Callable

from seawall.cli.up.child import Child
from seawall.cli.up.child_log import ChildLog
from seawall.cli.up.places import Places
from seawall.cli.up.settings import UpSettings
from seawall.cli.up.signals import Signals
from seawall.repository.clock import Clock

AGENT_SECONDS = 60.0
"""An agent ends its workers within 15 s and sweeps; one that waits for a store that hangs is ended hard."""
CONTROLLER_SECONDS = 30.0
NOWHERE = "/dev/null"
"""An empty settings file: with a --state-dir of its own `up` must not read those of another installation."""

Say = Callable[[str], None]


class Children:
    """The controller and the agent; neither is started by this."""

    def __init__(self, places: Places, settings: UpSettings) -> None:
        self.controller = Child("controller", controller_words(places, settings), ChildLog(places.log_of("controller")))
        self.agent = Child("agent", agent_words(places, settings), ChildLog(places.log_of("agent")))

    def stop(self, signals: Signals, clock: Clock, say: Say) -> bool:
        """The agent first, so that its last reports are heard. A further signal ends both hard. Whether both ended by themselves."""
        signals.only_note()
        before = signals.count

        def hurried() -> bool:
            return signals.count > before

        well = True
        for child, seconds in ((self.agent, AGENT_SECONDS), (self.controller, CONTROLLER_SECONDS)):
            child.signal(signal.SIGTERM)
            if not child.wait_end(seconds, signals, clock, hurried):
                why = "as you asked" if hurried() else f"as it did not end in {seconds:.0f} s"
                say(
                    f"The {child.name} (process {child.pid}) is ended hard, {why}; what it left behind is swept at the next start."
                )
                child.signal(signal.SIGKILL)
                well = False
            child.reap()
        return well


def controller_words(places: Places, settings: UpSettings) -> list[str]:
    """`controller run …`."""
    listen, told = settings.listen_host, settings.told_host
    return [
        *(
            "controller",
            "run",
            "--config-file",
            config_file(places, "controller"),
            "--state-dir",
            str(places.controller),
        ),
        *(
            "--operator-listen",
            f"{listen}:{settings.operator_port}",
            "--agent-listen",
            f"{listen}:{settings.agent_port}",
        ),
        *("--enrol-address", f"{told}:{settings.operator_port}", "--agent-address", f"{told}:{settings.agent_port}"),
    ]


def agent_words(places: Places, settings: UpSettings) -> list[str]:
    """`agent run …`. It dials loopback whatever name other hosts use."""
    named = ["--host-name", settings.host_name] if settings.host_name else []
    return [
        *("agent", "run", "--config-file", config_file(places, "agent"), "--state-dir", str(places.agent)),
        *("--run-dir", settings.run_dir, "--scratch-dir", settings.scratch_dir, "--hypervisor", settings.hypervisor),
        *("--controller", settings.agent_address, *named),
    ]


def config_file(places: Places, child: str) -> str:
    """The child's settings file where there is one, else an empty one."""
    path = places.config_of(child)
    return str(path) if path.exists() else NOWHERE
