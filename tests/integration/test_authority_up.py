"""`seawall up` and the certificate authority: replaced while it serves, stopped in between, and its agent stays who it is."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from support.cli_up import UpHome

pytestmark = pytest.mark.timeout(400)
WAIT_SECONDS = 120.0


@pytest.mark.slow
def test_up_goes_over_and_finds_back(tmp_path: Path) -> None:
    home = UpHome(tmp_path)
    with home.up() as life:
        (first,) = asked(home, "host", "list")["hosts"]
        assert home.seawall("controller", "ca", "rotate", "--yes").code == 0
        settled(home)
        life.stop()
    kept = home.state / "agent" / "identity.json"
    before = kept.read_text()
    with home.up() as life:
        assert home.seawall("controller", "ca", "rotate", "--yes", "--without", first["name"]).code == 0
        settled(home)
        life.stop()
    kept.write_text(before)  # as if it had been away all the time
    with home.up() as life:
        (host,) = asked(home, "host", "list")["hosts"]
        assert host["host_id"] == first["host_id"] and host["online"], "it recovered, and did not join anew"
        assert "joins again" not in life.told
        life.stop()
    assert json.loads((home.state / "controller" / "ca" / "authority.json").read_text())["present"]["number"] == 3


def asked(home: UpHome, *words: str) -> Any:
    answer = home.seawall(*words, "--json")
    assert answer.code == 0, answer
    return answer.json


def settled(home: UpHome) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while asked(home, "controller", "ca", "show")["phase"] != "settled":
        assert time.monotonic() < deadline, asked(home, "controller", "ca", "show")
        time.sleep(0.2)
