"""Whose a VM is, through the public command, with a real agent: said, shown, and told why everything was read."""

import asyncio
from pathlib import Path
from typing import Any

from support.agent_file_joined import serving_web
from support.cli_command import Answer, Cli
from support.controller_application import configured, running

POLICY = """policy: nightly
repository: main
tenant: globex
select: {all: true}
schedule: {cron: "30 2 * * *", zone: UTC}
"""


async def test_a_tenant_from_the_policy_or_the_vm_is_shown_and_explained(tmp_path: Path) -> None:
    config = configured(tmp_path / "controller")
    cli = Cli(tmp_path, config.operator_toml)

    async def seawall(*words: str) -> Answer:
        answer = await asyncio.to_thread(cli, *words)
        assert answer.code == 0, answer
        return answer

    async def backed_up() -> Any:
        (run,) = (await seawall("backup", "web", "--wait", "--json")).json["runs"]
        assert run["state"] == "succeeded", run
        return run

    with running(config) as controller:
        controller.add_folder(tmp_path / "repository")
        (tmp_path / "p.yaml").write_text(POLICY)
        async with serving_web(controller, tmp_path):
            await seawall("policy", "apply", "-f", str(tmp_path / "p.yaml"))
            first = await backed_up()
            assert first["tenant"] == "globex"
            preview = (await seawall("policy", "preview", "nightly")).out
            assert "TENANT" in preview and "globex" in preview
            await seawall("vm", "protect", "web", "--tenant", "acme")
            second = await backed_up()
            points = (await seawall("point", "list", "--json")).json["points"]
            assert {each["point_id"]: each["tenant"] for each in points} == {
                first["run_id"]: "globex",
                second["run_id"]: "acme",
            }
            assert "tenant      acme" in (await seawall("point", "show", second["run_id"])).out
            assert "tenant      acme" in (await seawall("run", "show", second["run_id"])).out
            told = (await seawall("run", "explain", second["run_id"])).out
            assert "earlier points in this repository are of tenant globex, this backup is of tenant acme" in told
            third = await backed_up()
            assert third["tenant"] == "acme"
            assert "tenant globex" not in (await seawall("run", "explain", third["run_id"])).out
            restored = await seawall("restore", first["run_id"], "--to", "alpha", "--as", "web2", "--wait", "--json")
            assert restored.json["runs"][0]["state"] == "succeeded"
    assert sorted(path.name for path in (tmp_path / "repository" / "v1" / "p").iterdir()) == ["acme", "globex"]
