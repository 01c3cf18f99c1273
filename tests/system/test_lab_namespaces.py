"""A laboratory leaves nothing behind, however it ends, and says so truly; two of them live beside each other."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from deploy.lab import record as records
from deploy.lab.laboratory import PROJECT, Laboratory
from deploy.lab.waiting import LabFailed, wait_for

pytestmark = pytest.mark.system

_HOLD = """
import sys, signal
from pathlib import Path
from deploy.lab.laboratory import Laboratory
with Laboratory("victim", base=Path(sys.argv[1])) as lab:
    lab.hosts["alpha"].serve("sleeper", ["sh", "-c", "setsid sleep 1000 & sleep 1000"])
    print("up", flush=True)
    signal.pause()
"""


def test_leftovers_names_what_runs_and_is_empty_after_a_stop(tmp_path: Path) -> None:
    with Laboratory("one", base=tmp_path) as lab:
        lab.hosts["alpha"].serve("sleeper", ["sleep", "1000"])
        seen = lab.leftovers()
        assert any("sleep 1000" in line for line in seen)
        assert any(line.startswith("directory") for line in seen)
    assert lab.leftovers() == []


def test_two_laboratories_do_not_meet(tmp_path: Path) -> None:
    with Laboratory("one", base=tmp_path) as one, Laboratory("two", base=tmp_path) as two:
        for lab, mark in ((one, "1"), (two, "2")):
            lab.hub.run(["sh", "-c", f"echo {mark} > /var/lib/seawall/mark"])
        assert one.hub.run(["cat", "/var/lib/seawall/mark"]).stdout == "1\n"
        assert two.hosts["alpha"].run(["ls", "/var/lib/seawall"]).stdout == ""
        assert one.hub.run(["hostname"]).stdout == "hub\n"


def test_hosts_reach_each_other_by_name_and_nothing_else(tmp_path: Path) -> None:
    hello = (
        "import socket; s = socket.create_server(('10.77.0.1', 99)); c, _ = s.accept(); c.sendall(b'hello'); c.close()"
    )
    call = "import socket, sys; print(socket.create_connection(('hub', 99), 1).recv(9).decode())"
    with Laboratory("net", base=tmp_path) as lab:
        lab.hub.serve("hello", ["python3", "-c", hello])
        said = wait_for(
            "an answer from the hub",
            lambda: lab.hosts["beta"].run(["python3", "-c", call], check=False).stdout.strip(),
            10,
        )
        assert said == "hello"
        assert lab.hosts["alpha"].run(["ip", "-o", "route", "show", "default"]).stdout == ""


def test_a_killed_laboratory_dies_with_its_owner_and_is_swept_by_the_next(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    owner = subprocess.Popen([sys.executable, "-c", _HOLD, str(tmp_path)], stdout=subprocess.PIPE, env=environment)
    assert owner.stdout is not None
    assert owner.stdout.readline() == b"up\n"
    record = records.read_record(tmp_path / "victim")
    assert record is not None
    assert len(record.hosts) == 3
    with pytest.raises(LabFailed, match="running already"):
        Laboratory("victim", base=tmp_path)

    owner.send_signal(signal.SIGKILL)
    owner.wait()
    owner.stdout.close()
    wait_for("the hosts to die with their owner", lambda: not any(host.init.alive() for host in record.hosts), 10)
    with Laboratory("next", base=tmp_path) as lab:
        assert lab.swept == ["victim"]
        assert not (tmp_path / "victim").exists()
