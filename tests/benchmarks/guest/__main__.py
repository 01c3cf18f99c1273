"""`make bench-guest`: what a backup costs the guest, in numbers. Debian 12, as root; a quarter of an hour, 10 GB of memory.

A guest on the real laboratory writes 4 KiB directly to its disk at a fixed pace and takes the time of each write from when it was due: its
p99 with no backup, during full backups without any regard for it (neither throttle nor nice value), and during full backups as they are.
Then: how long it was frozen, what was read beside what was dirty, what an idle agent costs, how long a list of 200 VMs takes. The results
are in build/bench/guest.json. A target that is missed is named; that is no failure. ROUNDS=n (3) full backups of each kind, FREEZES=n (60).
"""

import json
import os
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[3]
sys.path.insert(0, str(PROJECT / "tests"))

from deploy.lab.laboratory import Laboratory  # noqa: E402

from support.paced_guest import PacedGuest  # noqa: E402

from .agent_idle import idle_agent, inventory_of_many  # noqa: E402
from .backups import Backups, idle, latency_during, stand_aside  # noqa: E402
from .freezes import frozen_times  # noqa: E402
from .reading import amplification  # noqa: E402

RESULT = PROJECT / "build/bench/guest.json"
IMAGES = "/var/lib/libvirt/images"
DISK_MIB = 1024
"""Large enough that a percent of the writes during a backup are a dozen, and that beginning and end are not most of it."""
STORE_GIB = 10
ROUNDS = int(os.environ.get("ROUNDS") or 3)
FREEZES = int(os.environ.get("FREEZES") or 60)
IDLE_SECONDS = 20.0


def main() -> int:
    with Laboratory(f"bench-guest-{os.getpid()}") as laboratory:
        store_in_memory(laboratory)
        laboratory.start()
        stand_aside(laboratory.hub)
        figures = measured(laboratory)
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(figures, indent=1) + "\n")
    say(json.dumps(figures, indent=1))
    missed = [name for name, held in targets(figures).items() if not held]
    for name in missed:
        say(f"missed: {name}")
    return 0


def store_in_memory(laboratory: Laboratory) -> None:
    """Before it starts. A real S3 server writes to no disk that guests of this host wait for."""
    place = "/var/lib/s3/data"
    mount = f"mkdir -p {place} && mount -t tmpfs -o size={STORE_GIB}g tmpfs {place}"
    laboratory.hub.run(["sh", "-c", mount])


def measured(laboratory: Laboratory) -> dict[str, object]:
    alpha = laboratory.hypervisors["alpha"]
    figures: dict[str, object] = {"agent_idle": idle_agent(laboratory, "alpha", 30.0)}
    say(f"agent: {figures['agent_idle']}")
    guest = PacedGuest("paced", alpha.virsh, alpha.host.outside(IMAGES), IMAGES, disk_mib=DISK_MIB)
    guest.fill()
    os.sync()  # or the machine writes it down while the guest is measured
    guest.start()
    guest.await_agent()
    laboratory.await_vm(guest.name, "alpha")
    backups = Backups(laboratory, guest)
    figures |= write_latencies(backups)
    say(f"{FREEZES} freezes")
    figures |= frozen_times(laboratory, guest, "alpha", FREEZES)
    say(json.dumps(figures["freezes"]))
    say("reading by bitmap")
    figures |= amplification(backups, DISK_MIB << 20)
    say("200 VMs")
    figures |= inventory_of_many(laboratory, "beta", 200)
    figures["load"] = [round(load, 1) for load in os.getloadavg()]
    return figures


def write_latencies(backups: Backups) -> dict[str, object]:
    """Round by round, so that a machine that is busy for a while is busy for all three; the medians count."""
    during: dict[str, list[float]] = {"idle": [], "unthrottled": [], "seawall": []}
    for number in range(ROUNDS):
        during["idle"].append(idle(backups.guest, IDLE_SECONDS))
        for kind, words in (("unthrottled", ("--latency-ceiling", "10s")), ("seawall", ())):
            took = latency_during(backups, f"{kind}-{number}", words, regard=kind == "seawall")
            during[kind].append(took)
        say(f"round {number}: " + ", ".join(f"{kind} {values[-1]:.1f} ms" for kind, values in during.items()))
    return {"guest_write_p99_ms": {kind: median(values) for kind, values in during.items()}, "rounds": during}


def targets(figures: dict[str, object]) -> dict[str, bool]:
    """What issue and DESIGN promise -> whether it is so."""
    write, agent = figures["guest_write_p99_ms"], figures["agent_idle"]
    reading, inventory = figures["reading"], figures["inventory_200_seconds"]
    assert isinstance(write, dict) and isinstance(agent, dict) and isinstance(reading, dict)
    return {
        "guest write p99 <= max(2 x idle, 0.5 x unthrottled)": write["seawall"]
        <= max(2 * write["idle"], 0.5 * write["unthrottled"]),
        "freeze p99 <= 200 ms": float(str(figures["freeze_p99_ms"])) <= 200,
        "bytes read <= dirty + 256 KiB per extent": reading["read_bytes"] <= reading["allowed_bytes"],
        "agent idle <= 100 MB, < 0.5 %": agent["rss_mib"] * (1 << 20) <= 100_000_000 and agent["cpu_percent"] < 0.5,
        "inventory of 200 VMs <= 2 s": float(str(inventory)) <= 2,
    }


def median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
