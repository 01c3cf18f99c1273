"""The certificate authority as people read it: its roots, how far a rotation is, and who is waited for."""

from seawall.api.v1 import operator_pb2
from seawall.cli.output import Output
from seawall.cli.text import count, local

_ROLES = {
    operator_pb2.ROOT_ROLE_SIGNS: "signs",
    operator_pb2.ROOT_ROLE_COMING: "will sign",
    operator_pb2.ROOT_ROLE_LEAVING: "leaves",
}
_PHASES = {
    operator_pb2.AUTHORITY_PHASE_SETTLED: "settled",
    operator_pb2.AUTHORITY_PHASE_TRUSTING: "step 1 of 2: hosts are told to trust the new one",
    operator_pb2.AUTHORITY_PHASE_SIGNING: "step 2 of 2: hosts get certificates of the new one",
}
SHOWN = 20


def print_authority(output: Output, found: operator_pb2.Authority) -> None:
    output.line(f"rotation     {phase_text(found)}")
    if found.HasField("begun_at"):
        output.line(f"begun        {local(found.begun_at)}, this step {local(found.phase_at)}")
    for root in found.roots:
        output.line(f"root         {root.sha256.hex()}  {_ROLES.get(root.role, '')}, until {local(root.expires_at)}")
    if found.left_out:
        output.line(f"left out     {', '.join(found.left_out)}")
    print_behind(output, found)


def print_behind(output: Output, found: operator_pb2.Authority) -> None:
    """Who is waited for, or would be."""
    word = "would be waited for" if settled(found) else "are behind"
    output.line(f"hosts        {found.hosts_total - found.behind_total} of {found.hosts_total} are there")
    if found.behind_total:
        output.line("")
        output.line(f"{count(found.behind_total, 'host')} {word}:", style="yellow")
    for each in found.behind[:SHOWN]:
        seen = f"last seen {local(each.last_seen_at)}" if each.HasField("last_seen_at") else "never seen"
        output.line(f"  {each.name}  {seen}\n    {each.why}")
    if found.behind_total > SHOWN:
        output.line(f"  … and {found.behind_total - SHOWN} more")
    if found.join_tokens:
        output.note(
            f"{count(found.join_tokens, 'join token')} may still be used, and will be good for nothing once the new one signs: "
            "make new ones then."
        )


def phase_text(found: operator_pb2.Authority) -> str:
    return _PHASES.get(found.phase, "in a step that this command line does not know: upgrade it")


def settled(found: operator_pb2.Authority) -> bool:
    return found.phase == operator_pb2.AUTHORITY_PHASE_SETTLED
