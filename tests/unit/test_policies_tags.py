"""Tags in a domain's metadata, as `virsh metadata` writes them, on their way to the controller."""

from seawall.agent.control.convert import vm_to
from seawall.agent.hypervisor.port import Domain
from seawall.agent.hypervisor.xml import LONGEST_TAG, MOST_TAGS, parse, tags_of
from seawall.controller.services.convert_fleet import vm_of

VM_ID = "11111111-1111-4111-8111-111111111111"
METADATA = """<domain><name>web</name><metadata>
  <libosinfo:libosinfo xmlns:libosinfo="http://libosinfo.org/xmlns/libvirt/domain/1.0"><tags>not ours</tags></libosinfo:libosinfo>
  <seawall:tags xmlns:seawall="urn:seawall:tags"> gold, db ,gold,,
    eu west </seawall:tags>
</metadata><tags xmlns="urn:seawall:tags">nor this</tags></domain>"""


def test_words_between_commas_each_once() -> None:
    assert tags_of(parse(METADATA)) == ("gold", "db", "eu west")
    assert tags_of(parse("<domain/>")) == ()


def test_nobody_writes_novels_there() -> None:
    many = ",".join(f"{number}{'x' * 300}" for number in range(100))
    found = tags_of(parse(f'<domain><metadata><tags xmlns="urn:seawall:tags">{many}</tags></metadata></domain>'))
    assert len(found) == MOST_TAGS and {len(tag) for tag in found} == {LONGEST_TAG}


def test_the_controller_hears_them_printable() -> None:
    domain = Domain(VM_ID, "web", "running", (), tags=("gold", "e\x1bu", "\x07"))
    assert vm_of(vm_to(domain), "alpha", 1).tags == ("gold", "e u")
