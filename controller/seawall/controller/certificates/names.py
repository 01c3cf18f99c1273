"""What the certificates of a cluster say: subjects, alternative names, uses, lives."""

import ipaddress
from collections.abc import Iterable
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ROOT_LIFE = timedelta(days=3650)
ISSUING_LIFE = timedelta(days=1825)
SERVER_LIFE = timedelta(days=90)
SERVER_RENEW_BEFORE = timedelta(days=30)
BACKDATE = timedelta(minutes=5), timedelta(days=1)
"""At least and at most, see `beginning`."""


def beginning(now: datetime, life: timedelta) -> datetime:
    """Of a certificate that is made now: in the past, as the clocks of hosts and of other controllers differ from this one's, some by the
    hours of a time zone. A tenth of its life, so that half of it is never over at once.
    """
    least, most = BACKDATE
    return now - min(max(life / 10, least), most)


def agent_uri(cluster_id: str, agent_id: str) -> str:
    """The identity of an agent."""
    return f"seawall://{cluster_id}/agent/{agent_id}"


def subject(common_name: str) -> x509.Name:
    """For people; nothing decides by it. Common names end at 64 characters."""
    organisation = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Seawall")
    return x509.Name([organisation, x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])


def server_names(names: Iterable[str]) -> x509.SubjectAlternativeName:
    """DNS names and IP addresses, told apart by their look."""
    return x509.SubjectAlternativeName([_general_name(name) for name in names])


def agent_name(cluster_id: str, agent_id: str) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([x509.UniformResourceIdentifier(agent_uri(cluster_id, agent_id))])


def agents_of_this_cluster_only(cluster_id: str) -> x509.NameConstraints:
    """A URI that this authority signs has the cluster's id as its host. Names of servers are not limited: they change with the network."""
    return x509.NameConstraints(permitted_subtrees=[x509.UniformResourceIdentifier(cluster_id)], excluded_subtrees=None)


def authority_use() -> x509.KeyUsage:
    return _key_usage(certificates=True)


def end_use() -> x509.KeyUsage:
    return _key_usage(certificates=False)


def for_servers() -> x509.ExtendedKeyUsage:
    return x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])


def for_clients() -> x509.ExtendedKeyUsage:
    return x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])


def key_identifier(key: ec.EllipticCurvePublicKey) -> x509.SubjectKeyIdentifier:
    return x509.SubjectKeyIdentifier.from_public_key(key)


def canonical_name(name: str) -> str:
    """One spelling per DNS name and IP address."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name.lower()


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_usage(*, certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certificates,
        key_cert_sign=certificates,
        crl_sign=certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
