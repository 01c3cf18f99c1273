"""`seawall hook`: what policies may call around their runs."""

from typing import Annotated

import typer

from seawall.api.v1 import policy_pb2
from seawall.cli.completion import hook_names
from seawall.cli.connection import PAGE_SIZE, new_request_id
from seawall.cli.exits import CommandError, Exit
from seawall.cli.session import ConfigOption, JsonOption, session
from seawall.cli.text import local
from seawall.cli.view import word

EPILOG = """Who administers the controller's machine puts hooks into its hooks directory (`hooks_dir` in controller.toml; hooks in the state
directory else). Only root or the controller's user may write there. A policy can name them, and nothing else:

\b
  hooks:
    before: {run: quiesce, timeout: 2m, on_failure: skip}   # fail (the default), skip, continue
    after: {run: [unquiesce, report]}
  notify: {run: oncall, events: [failed, missed, rpo, damaged, recovered]}

An executable file NAME is a command. It gets no arguments, JSON on its input, and in its environment SEAWALL_CALL, _STAGE (before,
after, notify, test), _HOOK, _TRY, _POLICY and, of a run, _RUN, _ATTEMPT, _VM, _VM_ID,
_HOST, _REPOSITORY, _STATE, _REASON, _POINT. Exit code 0 is success; the
last line that it writes is shown with the run.

A file NAME.toml, mode 0600, is a webhook; the same JSON is sent with POST:

\b
  url = "https://chat.example.com/hooks/abc"
  secret = "..."          # Seawall-Signature: t=SECONDS,v1=HMAC-SHA256 of "SECONDS." and the body
  headers = {Authorization = "Bearer ..."}
  ca_file = "/etc/ssl/own.pem"

2xx is success. Redirects are not followed.

They are called around each attempt of a run: before it, once its host has a place for it; after it, however it ended. A run that failed and
is tried again (SEAWALL_STATE ready) has another attempt with calls of its own. While a store is away, what comes after is called as soon as
the host is done: SEAWALL_STATE is active, the JSON says "publishing": true, and the point comes later. They run as the controller's user,
within the limits of its service; what they leave running stays.

Each call is made at least once. A call that is repeated bears the same id: SEAWALL_CALL, or the header Idempotency-Key. What comes
after a run and notices are tried again after 10 s, 1 min, 5 min, 30 min and 2 h."""

app = typer.Typer(
    name="hook", no_args_is_help=True, help="Hooks: commands and webhooks that policies call.", epilog=EPILOG
)


@app.command("list", epilog=EPILOG)
def list_hooks(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the hooks of the controller's machine: what they are, whether they can be called, which policies name them."""
    with session(config, as_json) as (controller, output):
        request = policy_pb2.ListHooksRequest(page_size=PAGE_SIZE)
        answers = list(controller.answers(controller.policies.ListHooks, request))
        found, directory = [each for answer in answers for each in answer.hooks], answers[0].directory
        if as_json:
            return output.json({"hooks": found, "directory": directory})
        output.table(
            ("HOOK", "KIND", "POLICIES", "TROUBLE"),
            ((each.name, _kind(each), ", ".join(each.policies), _trouble(each)) for each in found),
            f"No hooks in {directory}. `seawall hook --help` tells what belongs there.",
        )


def _kind(hook: policy_pb2.Hook) -> str:
    return "-" if hook.kind == policy_pb2.HOOK_KIND_UNSPECIFIED else word(hook, "kind")


def _trouble(hook: policy_pb2.Hook) -> str:
    """Why it cannot be called; else how the last call that failed ended."""
    if hook.trouble or not hook.last_failure:
        return hook.trouble
    return f"{local(hook.last_failed_at)}: {hook.last_failure}"


@app.command("test")
def test_hook(
    hook: Annotated[str, typer.Argument(metavar="HOOK", help="Its name.", autocompletion=hook_names)],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Call a hook now, as stage test, and say how it went: 20 s at most. Exit code 1 when it failed.

    Example: seawall hook test oncall
    """
    with session(config, as_json) as (controller, output):
        request = policy_pb2.TestHookRequest(request_id=new_request_id(), hook=hook)
        answer = controller.call(controller.policies.TestHook, request)
        if as_json:
            output.json(answer)
        if not answer.succeeded:
            raise CommandError(Exit.FAILED, "HOOK_FAILED", f"Hook {hook} failed. {answer.outcome}")
        if not as_json:
            output.line(f"Hook {hook}: {answer.outcome}")
