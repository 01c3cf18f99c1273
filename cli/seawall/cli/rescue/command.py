"""Carries out `seawall rescue`: opens the repository, asks the repository's rescue package, hands the answer to text or JSON."""

from dataclasses import replace

import typer

from seawall.cli.commands.rescue import RescueOptions, RestoreOptions
from seawall.cli.exits import CommandError, Exit
from seawall.cli.output import Output
from seawall.cli.rescue.display import showing
from seawall.cli.rescue.errors import opening_errors, rescue_errors
from seawall.cli.rescue.interrupt import interruptible
from seawall.cli.rescue.opening import bucket_credentials, key_and_place
from seawall.cli.rescue.text import print_catalogue, print_outcome, print_plan
from seawall.cli.rescue.view import catalogue_document, outcome_document, plan_document
from seawall.repository.clock import SystemClock
from seawall.repository.rescue.catalogue import find_point, read_catalogue
from seawall.repository.rescue.interrupt import InterruptibleClock
from seawall.repository.rescue.opening import RescuePoint, RescueRepository, open_for_rescue, open_rescue_stores
from seawall.repository.rescue.plan import DevicePlan, FolderPlan, plan_device, plan_folder
from seawall.repository.rescue.restore import RescueRun


def show_list(output: Output, options: RescueOptions, vm: str) -> None:
    """The answer of `rescue list`."""
    clock = InterruptibleClock(SystemClock())
    with interruptible(clock), rescue_errors():
        opened = _open(options, clock, output)
        catalogue = read_catalogue(opened, vm=vm, tenant=options.tenant)
    if output.as_json:
        return output.json(catalogue_document(opened, catalogue, clock.now_us()))
    print_catalogue(output, opened, catalogue, clock.now_us())


def restore_point(output: Output, options: RescueOptions, wanted: RestoreOptions) -> None:
    """The answer of `rescue restore`; ends with FAILED when parts of the point were lost."""
    clock = InterruptibleClock(SystemClock())
    with interruptible(clock), rescue_errors(keep_going=wanted.keep_going):
        opened = _open(options, clock, output)
        point = opened.point(find_point(opened, wanted.point, tenant=options.tenant))
        plan = _plan(point, wanted)
        if wanted.plan_only:
            return output.json(plan_document(point, plan)) if output.as_json else print_plan(output, point, plan)
        run = RescueRun(point, plan, clock, keep_going=wanted.keep_going)
        with showing(output, run, clock) as told:
            run.run(told)
    if output.as_json:
        output.json(outcome_document(opened, point, plan, run))
    else:
        print_outcome(output, plan, run)
    if not run.complete:
        raise typer.Exit(Exit.FAILED)


def _plan(point: RescuePoint, wanted: RestoreOptions) -> FolderPlan | DevicePlan:
    if wanted.directory is not None:
        return plan_folder(point, wanted.directory.absolute(), wanted.disks, keep_going=wanted.keep_going)
    assert wanted.device is not None  # noqa: S101 - the command line has just one of the two
    return plan_device(point, wanted.device, wanted.disks, compare=wanted.resume)


def _open(options: RescueOptions, clock: InterruptibleClock, output: Output) -> RescueRepository:
    if options.key is None:
        raise CommandError(
            Exit.USAGE,
            "NO_KEY",
            "Say where the recovery key is: `seawall rescue --key FILE …`. It is never an argument.",
        )
    with opening_errors():
        key, url = key_and_place(options.key, options.repository, options.endpoint, options.region, options.ca_file)
        for warning in key.warnings:
            output.note(warning)
        stores = open_rescue_stores(url, bucket_credentials(url), clock)
        opened = open_for_rescue(stores.opening, key.material, reading=stores.reading)
        opened = replace(opened, ignore_tombstones=options.ignore_tombstones, include_void=options.include_void)
    for note in opened.notes:
        output.note(note)
    return opened
