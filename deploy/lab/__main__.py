"""python -m deploy.lab demo | down | enter HOST [COMMAND...]"""

import os
import sys

from deploy.lab import record as records
from deploy.lab.demo import NAME, Demo, end_kept
from deploy.lab.laboratory import BASE, OPERATOR_FILE
from deploy.lab.namespaces import NamespaceHost
from deploy.lab.waiting import LabFailed


def enter(host_name: str, command: list[str]) -> int:
    """Become a command (a shell when none is given) inside a host of the kept demo."""
    record = records.read_record(BASE / NAME)
    found = [host for host in record.hosts if host.name == host_name and host.init.alive()] if record else []
    if not found:
        raise LabFailed(f"no running demo has a host {host_name!r}: make demo KEEP=1")
    host = NamespaceHost(host_name, BASE / NAME / host_name)
    host.init = found[0].init
    argv = [*host.enter(), *(command or ["bash", "--norc"])]
    environment = host.environment(
        {"SEAWALL_CONFIG": OPERATOR_FILE, "TERM": os.environ.get("TERM", "dumb"), "PS1": f"{host_name}# "}
    )
    os.execvpe(argv[0], argv, environment)


def main(words: list[str]) -> int:
    """The exit code."""
    try:
        match words:
            case ["demo"]:
                return Demo(keep=bool(os.environ.get("KEEP"))).run()
            case ["down"]:
                print("Stopped." if end_kept() else "No demo is running.")
                return 0
            case ["enter", host, *command]:
                return enter(host, command)
    except LabFailed as exc:
        print(exc, file=sys.stderr)
        return 1
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
