"""The answers of `seawall rescue` as text. What an agent wrote (names, warnings) is shown without its control characters."""

from seawall.cli.output import Output
from seawall.cli.rescue.display import disk_figures
from seawall.cli.text import age_text, count, duration, size
from seawall.repository.clock import datetime_of
from seawall.repository.rescue.catalogue import Catalogue, PointSummary, VmSummary
from seawall.repository.rescue.file_names import printable
from seawall.repository.rescue.opening import RescuePoint, RescueRepository
from seawall.repository.rescue.plan import DevicePlan, FolderPlan
from seawall.repository.rescue.restore import DiskState, RescueRun

_RANGES_SHOWN = 8


def print_catalogue(output: Output, opened: RescueRepository, catalogue: Catalogue, now_us: int) -> None:
    """VMs, points, warnings, damage."""
    signed = "on the sheet" if opened.pinned else "in the repository itself, as the key file carries none"
    key = opened.repository.config.signing_public_key.hex()
    output.line(f"Repository {opened.url}\nSignatures checked with {key} ({signed}).\n")
    output.table(
        ("VM", "#ID", ">POINTS", ">DAMAGED", "NEWEST", "AGE"),
        (_vm_row(vm, now_us) for vm in catalogue.vms()),
        "No restore points in this repository.",
    )
    if catalogue.points or catalogue.damaged:
        output.line()
        output.table(("#POINT", "VM", "INSTANT", "CONSISTENT", ">SIZE", "DISKS", "STATE"), _point_rows(catalogue), "")
    for point in catalogue.points:
        for reason, message in point.warnings:
            output.line(printable(f"warning   {point.name.point_id}: {message} ({reason})"), style="yellow")
    for damaged in catalogue.damaged:
        output.line(
            printable(
                f"damaged   {damaged.name.point_id}: {damaged.error}. This point cannot be restored; others can."
            ),
            style="red",
        )
    for name in catalogue.strange:
        output.line(printable(f"ignored   {name}: no name that Seawall gives"), style="yellow")
    for forgotten in catalogue.forgotten:
        shown = "shown all the same" if opened.ignore_tombstones else "--ignore-tombstones shows it all the same"
        output.line(
            f"deleted   {forgotten.point_id}: has a tombstone, and its manifest still lies there; {shown}",
            style="yellow",
        )
    for void in catalogue.void:
        shown = "shown all the same" if opened.include_void else "--include-void shows it all the same"
        output.line(
            f"left out  {void.point_id}: a controller wrote it after it had been replaced, and nobody was told of it; {shown}",
            style="yellow",
        )
    for shown_point in catalogue.disregarded:
        output.line(
            f"ignored   the tombstone of {shown_point.point_id}: a controller wrote it after it had been replaced",
            style="yellow",
        )


def _vm_row(vm: VmSummary, now_us: int) -> tuple[str, ...]:
    newest = vm.newest
    return (
        printable(vm.vm_name) or "?",
        vm.vm_id,
        str(vm.points),
        str(vm.damaged) if vm.damaged else "",
        _local(newest.instant_us) if newest else "",
        age_text((now_us - newest.instant_us) / 1_000_000) if newest else "",
    )


def _point_rows(catalogue: Catalogue) -> list[tuple[str, ...]]:
    rows = [_point_row(point) for point in catalogue.points]
    for damaged in catalogue.damaged:
        rows.append((damaged.name.point_id, printable(damaged.vm_name) or "?", "", "", "", "", "damaged"))
    return rows


def _point_row(point: PointSummary) -> tuple[str, ...]:
    return (
        point.name.point_id,
        printable(point.vm_name),
        _local(point.instant_us),
        "frozen" if point.guest_frozen else "crash",
        size(point.size_bytes),
        ", ".join(f"{printable(disk.disk)} {size(disk.size_bytes)}" for disk in point.disks),
        "with warnings" if point.warnings else "ok",
    )


def print_plan(output: Output, point: RescuePoint, plan: FolderPlan | DevicePlan) -> None:
    """What would be done."""
    output.line(f"Point {point.root.point_id} of {printable(point.root.vm_name)}, {_local(point.root.instant_us)}")
    if isinstance(plan, DevicePlan):
        rows = [
            (plan.manifest.disk, size(plan.manifest.size_bytes), size(plan.at_most_bytes), str(plan.path), "device")
        ]
    else:
        rows = [
            (
                image.manifest.disk,
                size(image.manifest.size_bytes),
                size(image.at_most_bytes),
                str(plan.path / image.file_name),
                image.state.found.value,
            )
            for image in plan.images
        ]
    shown = [tuple(printable(cell) for cell in row) for row in rows]
    output.table(("DISK", ">SIZE", ">TAKES AT MOST", "TARGET", "STATE"), shown, "The point has no disks.")
    if isinstance(plan, DevicePlan):
        output.line(
            f"{plan.path} has {size(plan.device_bytes)}; what is on its first {size(plan.manifest.size_bytes)} is lost."
        )
        return
    for name, body in plan.small_files:
        output.line(f"{plan.path / name}, {len(body)} bytes")
    if plan.free_bytes < plan.needed_bytes:
        output.line(
            f"warning   {plan.path} has {size(plan.free_bytes)} free; up to {size(plan.needed_bytes)} may be needed.",
            style="yellow",
        )


def print_outcome(output: Output, plan: FolderPlan | DevicePlan, run: RescueRun) -> None:
    """What was done, and what is lost."""
    for disk in run.disks:
        name = printable(disk.manifest.disk)
        if disk.state is DiskState.KEPT:
            output.line(f"{name}  {disk.target}  complete already")
            continue
        took = f"  in {duration(disk.seconds)}" if disk.seconds else ""
        output.line(f"{name}  {disk.target}  {disk_figures(disk)}{took}")
        for damage in disk.damages:
            output.line(printable(f"damaged   {damage.object_name}: {damage.reason}"), style="red")
            for offset, length in damage.ranges[:_RANGES_SHOWN]:
                output.line(
                    f"          {name}: {length} bytes from {offset} on are lost and read as zeroes", style="red"
                )
            if len(damage.ranges) > _RANGES_SHOWN:
                output.line(f"          and {count(len(damage.ranges) - _RANGES_SHOWN, 'more range')}", style="red")
        if disk.damage_file is not None:
            output.line(f"          all ranges: {disk.damage_file}", style="red")
    for altered in run.passed_over:
        output.line(
            printable(f"altered   {altered}. Nothing is lost: another generation or copy was read."), style="yellow"
        )
    if isinstance(plan, DevicePlan):
        if plan.device_bytes > plan.manifest.size_bytes:
            output.line(f"{plan.path} is larger; what is behind byte {plan.manifest.size_bytes} was not touched.")
        return
    for lost in plan.lost_members:
        output.line(printable(f"damaged   {lost}"), style="red")
    for path in run.files:
        output.line(str(path))


def _local(microseconds: int) -> str:
    """An instant may be of any size: an agent's clock wrote it."""
    try:
        return datetime_of(microseconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return "?"
