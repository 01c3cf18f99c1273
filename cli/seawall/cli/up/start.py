"""From nothing, or from wherever an earlier start was cut short, to a controller and an agent that serve.

Each step looks what is there and adds what is missing, so that it may be repeated after a stop at any moment.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from google.protobuf.duration_pb2 import Duration

from seawall.api.join_token import parse_join_token
from seawall.api.v1 import operator_pb2, resources_pb2
from seawall.cli import compose
from seawall.cli.connection import Controller, connect, new_request_id
from seawall.cli.exits import CommandError, Exit
from seawall.cli.new_repository import NewRepository, add_repository
from seawall.cli.recovery_file import is_unfinished
from seawall.cli.up import found, plan
from seawall.cli.up.child import Child
from seawall.cli.up.children import Children, Say
from seawall.cli.up.places import Places
from seawall.cli.up.ready import Ready
from seawall.cli.up.revival import Revival
from seawall.cli.up.settings import REPOSITORY_NAME, UpSettings
from seawall.cli.up.settle import agent_config, controller_config
from seawall.repository.clock import Clock

SERVING_SECONDS = 120.0
INVENTORY_SECONDS = 3.0
LOOK_SECONDS = 0.05
CALL_SECONDS = 5.0
DEATH_SECONDS = 1.0
"""At most, from a dead controller's closed connection until it can be waited for: a moment, longer where the machine is busy."""
TOKEN_SECONDS = 3600

T = TypeVar("T")
OnStep = Callable[[str], None]
"""Called with the name of each step that was finished; tests stop there."""


class Start:
    """One start. `run` is called once; the children that it started are the caller's to stop, whatever happens."""

    def __init__(
        self,
        places: Places,
        settings: UpSettings,
        asked: plan.Asked,
        children: Children,
        clock: Clock,
        say: Say,
        on_step: OnStep = lambda step: None,
    ) -> None:
        self._places = places
        self._settings = settings
        self._asked = asked
        self._children = children
        self._clock = clock
        self._say = say
        self._on_step = on_step
        self._revival = Revival(clock, say)

    def run(self) -> Ready:
        """Raises CommandError, saying which step failed and why; what was made stays for the next start."""
        first = self._initialise()
        self._serve_controller()
        while True:
            try:
                return self._serve(first)
            except CommandError as error:
                patience = DEATH_SECONDS if error.code is Exit.UNREACHABLE else 0
                if not self._children.controller.ends_within(patience):
                    raise
                self._serve_controller()  # it died while it was asked: once more, as each step may be repeated

    def _serve(self, first: bool) -> Ready:
        with connect(self._places.operator_file) as controller:
            repository = self._repository(controller)
            self._join(controller)
            health = self._serve_agent()
            host = self._await_host(controller, health)
            repository = self._known_repository(controller) or repository  # by now its store has been asked
        return Ready(
            places=self._places,
            settings=self._settings,
            repository=repository,
            host=host,
            hypervisor=str(health["hypervisor"]),
            controller_pid=self._children.controller.pid,
            agent_pid=self._children.agent.pid,
            first=first,
            sheet_here=self._places.recovery_sheet.exists(),
        )

    def _initialise(self) -> bool:
        """Whether there was anything to do."""
        made = compose.initialise_controller(controller_config(self._places, self._settings))
        if made["created"]:
            self._say(f"Certificate authority, keys and operator token are made: {made['operator_file']}.")
        self._on_step("initialised")
        return bool(made["created"])

    def _serve_controller(self) -> None:
        child = self._children.controller
        self._revival.start(child)
        self._on_step("controller started")

        def answered() -> bool:
            return found.answers(self._settings.operator_port) and self._controller_answers()

        self._await(child, "the controller to answer", answered)
        self._say(f"The controller serves {self._settings.operator_address} (process {child.pid}).")
        self._on_step("controller serves")

    def _controller_answers(self) -> bool:
        """Raises CommandError when what answers is not our controller, or not with our token."""
        try:
            with connect(self._places.operator_file) as controller:
                request = operator_pb2.GetStatusRequest()
                controller.call(controller.backup.GetStatus, request, timeout_seconds=CALL_SECONDS)
        except CommandError as error:
            if error.code is Exit.UNREACHABLE:
                return False
            raise
        return True

    def _repository(self, controller: Controller) -> resources_pb2.Repository:
        known = self._known_repository(controller)
        sheet = self._places.recovery_sheet
        known_url = known.url if known is not None else None
        missing = plan.repository_missing(known_url, self._asked.repository_url, is_unfinished(sheet))
        if known is not None and not missing:
            return known
        plan.refuse_forgotten_repository(sheet.exists() and not is_unfinished(sheet), self._places)
        url = known_url or self._settings.repository_url
        if url == self._places.repository.as_uri():
            self._places.repository.mkdir(mode=0o700, exist_ok=True)
        self._say(f"Making the repository {REPOSITORY_NAME!r} at {url}.")
        made = add_repository(controller, NewRepository(REPOSITORY_NAME, url, sheet))
        self._on_step("repository made")
        return made

    def _known_repository(self, controller: Controller) -> resources_pb2.Repository | None:
        answer = controller.call(controller.backup.ListRepositories, operator_pb2.ListRepositoriesRequest())
        return next((each for each in answer.repositories if each.name == REPOSITORY_NAME), None)

    def _join(self, controller: Controller) -> None:
        state = found.membership_of_agent(self._places, self._clock.now_us())
        if state is not plan.Membership.MEMBER:
            if state is plan.Membership.EXPIRED:
                self._say("This host was away for longer than its certificate lasts; it joins again, as a new host.")
            config, force = agent_config(self._places, self._settings), state is not plan.Membership.NONE
            try:
                compose.join_agent(config, self._token(controller), force)
            except CommandError as error:
                if not error.reason.startswith("TOKEN_"):
                    raise
                self._places.join_token.unlink()  # of a start long ago
                compose.join_agent(config, self._token(controller), force)
            self._on_step("joined")
        self._places.join_token.unlink(missing_ok=True)

    def _token(self, controller: Controller) -> str:
        """Kept until the join is finished. It names loopback, whatever address other hosts are told."""
        path = self._places.join_token
        if path.exists():
            return path.read_text().strip()
        request = operator_pb2.CreateJoinTokenRequest(
            request_id=new_request_id(), ttl=Duration(seconds=TOKEN_SECONDS), max_uses=1
        )
        token = parse_join_token(controller.call(controller.admin.CreateJoinToken, request).token)
        text = replace(token, address=self._settings.operator_address).render()
        compose.write_private_file(path, text.encode() + b"\n")
        self._on_step("token made")
        return text

    def _serve_agent(self) -> dict[str, Any]:
        """What the agent says of itself once the controller has heard of it."""
        child, config = self._children.agent, agent_config(self._places, self._settings)
        self._revival.start(child)
        self._on_step("agent started")
        last_error = ""

        def connected() -> dict[str, Any] | None:
            nonlocal last_error
            try:
                health = compose.agent_status(config)
            except CommandError:
                return None
            last_error = str(health["last_error"])
            return health if health["connected"] else None

        health = self._await(child, "the agent to reach its controller", connected, lambda: last_error)
        self._say(f"The agent serves this host (process {child.pid}).")
        self._on_step("agent serves")
        return health

    def _await_host(self, controller: Controller, health: dict[str, Any]) -> resources_pb2.Host:
        """The host as operators see it. Its VMs are waited for a moment, so that `vm list` shows them right away."""
        deadline = self._clock.monotonic_seconds() + INVENTORY_SECONDS
        while True:
            hosts = controller.pages(controller.backup.ListHosts, operator_pb2.ListHostsRequest(), "hosts")
            host: resources_pb2.Host | None = next((each for each in hosts if each.host_id == health["agent_id"]), None)
            late = self._clock.monotonic_seconds() > deadline
            if host is not None and (host.vm_count or late or not health["hypervisor"]):
                return host
            if late:
                raise CommandError(Exit.FAILED, "HOST_UNKNOWN", "The controller does not list this host; see its log.")
            self._clock.sleep_seconds(LOOK_SECONDS)

    def _await(
        self, child: Child, what: str, attempt: Callable[[], T | None], cause: Callable[[], str] = lambda: ""
    ) -> T:
        """Until `attempt` gives something true. Raises CommandError when a child ends again, or the wait takes too long."""
        deadline = self._clock.monotonic_seconds() + SERVING_SECONDS
        while not (given := attempt()):
            self._revival.look()
            if self._clock.monotonic_seconds() > deadline:
                why = f" ({cause()})" if cause() else ""
                raise CommandError(
                    Exit.UNREACHABLE,
                    f"{child.name.upper()}_SILENT",
                    f"Waited {SERVING_SECONDS:.0f} s in vain for {what}{why}. Its log is {child.log.path}.",
                )
            self._clock.sleep_seconds(LOOK_SECONDS)
        return given
