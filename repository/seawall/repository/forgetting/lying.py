"""Of many points, those whose manifests lie in the bucket: asked by VM, not by point. Called by the controller, of points that it is done
with: they are many, and hardly one of them lies there.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable

from seawall.repository.errors import ObjectMissing
from seawall.repository.format.layout import PointName, manifest_name, parse_point_name, vm_manifests_prefix
from seawall.repository.store.port import Store


def lying_manifests(
    store: Store, points: Iterable[PointName], listed: Collection[PointName] | None = None
) -> frozenset[PointName]:
    """One LIST for the points of a VM, a HEAD where it is one alone. `listed`: every manifest, as the caller listed them just now; then
    nothing is asked. What arrives later shows to nobody who looked before, however he looked. Raises what the store raises.
    """
    if listed is not None:
        return frozenset(point for point in points if point in listed)
    of_vm = defaultdict[tuple[str, str], set[PointName]](set)
    for point in points:
        of_vm[point.tenant, point.vm_id].add(point)
    return frozenset().union(*(_of_vm(store, vm, wanted) for vm, wanted in of_vm.items()))


def _of_vm(store: Store, vm: tuple[str, str], points: set[PointName]) -> set[PointName]:
    if len(points) == 1:
        return {point for point in points if _is_there(store, point)}
    return points & {parse_point_name(info.name) for info in store.list(vm_manifests_prefix(*vm))}


def _is_there(store: Store, point: PointName) -> bool:
    try:
        store.head(manifest_name(point.tenant, point.vm_id, point.point_id))
    except ObjectMissing:
        return False
    return True
