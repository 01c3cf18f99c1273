"""`seawall policy` as operators use it: plans, differences, revisions, previews; and input that cannot be meant."""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from typer.testing import CliRunner

from seawall.api.v1 import policy_pb2
from seawall.cli.main import app
from support.cli_command import Answer, Cli
from support.controller_agent import enrolled
from support.controller_application import Controller, configured, running

NIGHTLY = """policy: nightly
repository: main
select: {all: true}
schedule: {cron: "30 2 * * *", zone: Europe/Berlin}
retention: {last: 3}
"""


@dataclass
class Scene:
    """A controller with one host and its VM, a repository, and an operator."""

    controller: Controller
    folder: Path
    seawall: Cli

    def file(self, text: str, name: str = "p.yaml") -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def apply(self, text: str, *words: str) -> Answer:
        return self.seawall("policy", "apply", "-f", self.file(text), *words)

    def applied(self, text: str) -> dict[str, object]:
        """The change of its only policy."""
        code, document = self.quick(f"policy apply -f {self.file(text)}")
        assert code == 0 and isinstance(document["changes"], list)
        (change,) = document["changes"]
        assert isinstance(change, dict)
        return change

    def quick(self, words: str) -> tuple[int, dict[str, object]]:
        """Exit code and document, in this process."""
        result = CliRunner().invoke(app, [*words.split(), "--json", "--config", str(self.seawall.operator_toml)])
        document, _ = json.JSONDecoder().raw_decode(result.stdout[result.stdout.index("{\n") :])
        return result.exit_code, document

    def refused(self, words: str) -> tuple[int, str, str]:
        code, document = self.quick(words)
        error = document["error"]
        assert isinstance(error, dict), document
        return code, str(error["reason"]), str(error["message"])


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    place = tmp_path_factory.mktemp("policies")
    config = configured(place / "state")
    with running(config) as controller:
        controller.add_folder(place / "bucket")
        agent = enrolled(controller, "alpha")
        agent.hello()
        agent.inventory({"vda": 1 << 20})
        yield Scene(controller, place, Cli(place, config.operator_toml))


def test_the_life_of_a_policy(scene: Scene) -> None:
    planned = scene.apply(NIGHTLY, "--plan")
    assert planned.code == 0 and "nightly: would be created, revision 1, protects 1 VM" in planned.out
    assert "+schedule:" in planned.out
    assert scene.quick("policy list")[1] == {"policies": []}
    assert "nightly: created, revision 1" in scene.apply(NIGHTLY).out
    assert scene.applied(NIGHTLY)["kind"] == "unchanged"

    more = NIGHTLY.replace("last: 3", "last: 9")
    changed = scene.apply(more, "--plan").out
    assert "would be changed, revision 2" in changed
    assert "  -  last: 3\n  +  last: 9\n" in changed
    assert scene.applied(more)["revision"] == 2
    shown = scene.seawall("policy", "show", "nightly")
    assert "nightly, revision 2 of" in shown.out and "keeps last 9" in shown.out
    written = scene.quick("policy show nightly")[1]["document"]
    assert scene.applied(str(written))["kind"] == "unchanged"
    old = scene.quick("policy show nightly --revision 1")[1]
    assert (old["revision"], old["retention"]) == (1, "last 3")
    assert scene.refused("policy show nightly --revision 7")[:2] == (4, "REVISION_UNKNOWN")

    assert scene.refused("policy delete nightly")[:2] == (2, "NOT_CONFIRMED")
    assert scene.quick("policy delete nightly --yes") == (0, {"deleted": "nightly", "points_left": 0})
    assert scene.refused("policy show nightly")[:2] == (4, "POLICY_UNKNOWN")
    assert scene.refused("policy delete nightly --yes")[:2] == (4, "POLICY_UNKNOWN")
    revived = scene.applied(NIGHTLY)
    assert (revived["kind"], revived["revision"]) == ("revived", 4)
    scene.quick("policy delete nightly --yes")


def test_a_preview_shows_offsets_vms_and_what_was_not_meant(scene: Scene) -> None:
    odd = NIGHTLY.replace("{all: true}", "{names: [db-1, nobody]}") + "rpo: 12h\nwindows: {from: 12:00, to: 12:05}\n"
    text = scene.seawall("policy", "preview", "-f", scene.file(odd)).out
    assert " 02:30 +0" in text and "spread over 1h" in text
    assert "No VM has this now: VM nobody." in text
    assert "more than its rpo of 12h" in text
    assert "Its longest window has only 5m." in text
    assert "1 of 1 VM has no backup yet: not in the sums. First backups read all disks, 1.0 MiB here" in text
    assert "How long it takes is not known" in text and "0 B" not in text and "0.0 s" not in text
    assert "Once the policy is applied its VMs have other places in it" not in text, "one VM is first and last"
    found = scene.quick(f"policy preview -f {scene.folder / 'p.yaml'} --firings 7")[1]
    assert isinstance(found["firings"], list) and isinstance(found["vms"], list)
    assert len(found["firings"]) == 7
    starts = {firing["first_start_at"][11:16] for firing in found["firings"]}
    assert starts <= {"10:00", "10:01", "11:00", "11:01"}, "noon in Berlin, in the window's first quarter"
    assert [vm["name"] for vm in found["vms"]] == ["db-1"]
    assert scene.quick("policy list")[1] == {"policies": []}


def test_a_preview_promises_no_start_that_will_not_be(scene: Scene) -> None:
    zone = 'schedule: {cron: "30 2 * * *", zone: Europe/Berlin'
    never = NIGHTLY.replace(zone, f"{zone}, catch_up: 1h") + "windows: {from: 12:00, to: 13:00}\n"
    text = scene.seawall("policy", "preview", "-f", scene.file(never)).out
    why = "No window of policy nightly opens within 60 min of the time when it was due."
    assert text.count(f"Missed: {why}") == 1 and text.count(" missed ") == 5
    found = scene.quick(f"policy preview -f {scene.folder / 'p.yaml'}")[1]
    assert isinstance(found["firings"], list) and isinstance(found["vms"], list)
    assert {each["begins_nothing"] for each in found["firings"]} == {f"missed: {why}"}
    assert not any(each["first_start_at"] or each["last_start_at"] for each in found["firings"])
    assert not any(each.get("next_start_at") for each in found["vms"])


def test_several_files_are_applied_together_or_not_at_all(scene: Scene) -> None:
    one, two = NIGHTLY.replace("nightly", "one"), NIGHTLY.replace("nightly", "two")
    first, second = scene.file(one, "a.yaml"), scene.file(f"\n{two}rop: 1d\n", "b.yaml")
    code, reason, message = scene.refused(f"policy apply -f {first} -f {second}")
    assert (code, reason) == (2, "BAD_POLICY") and f"{second}, line 7: unknown key 'rop'" in message
    twice = scene.refused(f"policy apply -f {first} -f {scene.file(one, 'c.yaml')}")
    assert twice[1] == "BAD_POLICY" and f"c.yaml, line 1: the policy one stands in {first} too" in twice[2]
    scene.file(two.replace("main", "nowhere"), "b.yaml")
    assert scene.refused(f"policy apply -f {first} -f {second}")[1] == "REPOSITORY_UNKNOWN"
    assert scene.quick("policy list")[1] == {"policies": []}

    scene.file(two, "b.yaml")
    code, document = scene.quick(f"policy apply -f {first} -f {second}")
    assert isinstance(document["changes"], list)
    assert [(each["policy"], each["kind"]) for each in document["changes"]] == [
        ("one", "created"),
        ("two", "created"),
    ]
    for policy in ("one", "two"):
        assert scene.quick(f"policy delete {policy} --yes")[0] == 0
    assert scene.quick(f"policy preview -f {first} -f {second}")[0] == 2
    many = policy_pb2.ApplyPoliciesRequest(plan_only=True, files=[policy_pb2.PolicyFile()] * 101)
    both = policy_pb2.ApplyPoliciesRequest(plan_only=True, files=[policy_pb2.PolicyFile()], document=NIGHTLY)
    for request, words in ((many, "101 files are too many"), (both, "not both")):
        with pytest.raises(grpc.RpcError) as caught:
            scene.controller.policies.ApplyPolicies(request)
        assert words in str(caught.value)


def test_a_preview_of_some_vms(scene: Scene) -> None:
    path = scene.file(NIGHTLY.replace("{all: true}", "{names: [nobody]}"))
    assert scene.quick(f"policy preview -f {path} --vm db-1")[1]["vms"] == []
    _, found = scene.quick(f"policy preview -f {scene.file(NIGHTLY)} --vm db-1")
    assert (found["vms_total"], found["vms_asked"], found["zone"]) == (1, 1, "Europe/Berlin")
    assert scene.refused(f"policy preview -f {path} --vm nobody")[:2] == (4, "VM_UNKNOWN")


def test_a_vm_of_which_nothing_is_backed_up_is_listed_with_the_reason(scene: Scene) -> None:
    applied = scene.apply(NIGHTLY + "capture: {exclude_disks: [vda]}\n").out
    assert "warning: Nothing is backed up of db-1" in applied
    why = "Selected by policy nightly, but that leaves out all of its disks."
    listed = scene.seawall("vm", "list", "--unprotected").out
    assert f"db-1: {why}" in listed and " none " in listed
    (vm,) = scene.seawall("vm", "list", "--unprotected", "--json").json["vms"]
    assert (vm["policies"], vm["unprotected_because"]) == ([], why)
    assert why in scene.seawall("vm", "show", "db-1").out
    scene.quick("policy delete nightly --yes")


def test_nothing_of_a_file_is_applied_when_one_part_is_wrong(scene: Scene) -> None:
    broken = NIGHTLY.replace("nightly", "weekly").replace("main", "nowhere")
    code, reason, message = scene.refused(f"policy apply -f {scene.file(f'{NIGHTLY}---{chr(10)}{broken}')}")
    assert (code, reason) == (4, "REPOSITORY_UNKNOWN")
    assert "Policy weekly" in message
    unknown = f"{NIGHTLY}---\n{NIGHTLY.replace('nightly', 'weekly')}\nrop: 1d\n"
    code, reason, message = scene.refused(f"policy apply -f {scene.file(unknown)}")
    assert (code, reason) == (2, "BAD_POLICY")
    assert "line 13: unknown key 'rop'" in message
    assert scene.quick("policy list")[1] == {"policies": []}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "there is no policy in it"),
        (b"\xff\xfe\x00", "line 1: this is not UTF-8"),
        (b"x\n" * 300_000, "line 1: the file is too large; a file of policies may have 256 KiB"),
        (
            NIGHTLY.replace("nightly", "x" * 1_000_000).encode(),
            "bad.yaml, line 1, policy: more than 64 KiB in one line",
        ),
        (
            NIGHTLY.replace("main", "x" * 5_000_000).encode(),
            "bad.yaml, line 2, repository: more than 64 KiB in one line",
        ),
        (NIGHTLY.encode() + b"windows: {from: 23:58, to: 00:01}", "line 6, windows: a window of 3 min is shorter"),
        (NIGHTLY.replace("nightly", "x" * 200_000).encode(), "line 1, policy: 200000 characters are too many"),
        (b"a: &x [*x]", "anchors"),
        (b"[" * 200_000, "too deep"),
        (NIGHTLY.replace("30 2 * * *", "0 0 31 2 *").encode(), "line 4, schedule.cron"),
        (NIGHTLY.replace("Europe/Berlin", "Mars/Olympus").encode(), "line 4, schedule.zone"),
        (NIGHTLY.replace("last: 3", "last: 0").encode(), "line 5, retention.last"),
    ],
)
def test_what_cannot_be_meant_is_told_with_line_and_field(scene: Scene, body: bytes, words: str) -> None:
    (scene.folder / "bad.yaml").write_bytes(body)
    code, reason, message = scene.refused(f"policy apply -f {scene.folder / 'bad.yaml'}")
    assert (code, reason) == (2, "BAD_POLICY")
    assert words in message and len(message) < 600
    assert scene.quick("policy list")[1] == {"policies": []}


def test_files_that_are_not_there_and_words_that_do_not_fit(scene: Scene) -> None:
    assert scene.refused("policy apply -f /nowhere/p.yaml")[:2] == (2, "BAD_PATH")
    assert scene.refused("policy preview nobody")[:2] == (4, "POLICY_UNKNOWN")
    both = f"{NIGHTLY}---\n{NIGHTLY.replace('nightly', 'weekly')}"
    assert scene.refused(f"policy preview -f {scene.file(both)}")[:2] == (2, "ONE_POLICY")
    assert scene.refused("point hold 00000000")[:2] == (4, "POINT_UNKNOWN")
    assert scene.refused("point hold 00000000 --for 3m")[:2] == (2, "BAD_PERIOD")


def test_the_same_order_twice_happens_once(scene: Scene) -> None:

    request = policy_pb2.ApplyPoliciesRequest(request_id=str(uuid.uuid4()), document=NIGHTLY, source="x")
    first = scene.controller.policies.ApplyPolicies(request)
    assert scene.controller.policies.ApplyPolicies(request) == first
    assert first.changes[0].revision == scene.quick("policy show nightly")[1]["revision"]

    scene.quick("policy delete nightly --yes")
