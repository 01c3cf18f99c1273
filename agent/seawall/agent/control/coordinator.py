"""The repository's write and read ports over the controller and signed URLs: where agents store packs and read them back."""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from seawall.agent.control.client import ControllerClient
from seawall.agent.control.errors import ControllerRefused
from seawall.agent.control.messages import PutTarget, ReadUrl
from seawall.repository.clock import Clock
from seawall.repository.errors import IntegrityError, ObjectMissing, StoreRefused
from seawall.repository.format.pack import SealedPack
from seawall.repository.format.record import Locator
from seawall.repository.reading.tables import table_by_suffix
from seawall.repository.store.port import SignedPut, SignedTransfer
from seawall.repository.store.signed_headers import ANY_CONTENT, md5_of

SIGNATURES = 3
"""How often an expired URL is signed before its refusal counts; one that should hold by our clock is signed twice."""
URL_MARGIN_US = 60_000_000
"""A URL this close to its end is not used for a new request."""
URLS_PER_CALL = 256
MD5_NEEDED = "BAD_PACK"
"""The controller's reason: its store was probed anew since the grant, and packs may no longer go without."""
NO_GENERATION = (1 << 32) - 1
"""No pack gets so far: asks for whatever generation is the present one."""
GENERATIONS_ABOVE = 3
"""The present one's second copy, where it is of a pair, and a next pair that nobody was told of yet."""

_Answer = TypeVar("_Answer")


class AgentCoordinator:
    """WriteCoordinator of one attempt. Thread-safe."""

    def __init__(self, client: ControllerClient, web: SignedTransfer, clock: Clock) -> None:
        self._client = client
        self._web = web
        self._clock = clock
        self._without_md5 = False

    def spare_md5(self, allowed: bool) -> None:
        """What the grant says: packs may go without their MD5. One that is refused so is sent with it, and all that follow."""
        self._without_md5 = allowed

    @property
    def transfer(self) -> SignedTransfer:
        """For what is granted by URL alone: the manifest of a point."""
        return self._web

    def lookup(self, chunk_ids: Sequence[bytes]) -> Mapping[bytes, Locator]:
        found = self._client.lookup(chunk_ids)
        return {chunk_ids[index]: locator for index, locator in found.items()}

    def store_pack(self, pack: SealedPack) -> None:
        """Sign, PUT to each target, report. Raises the client's errors and the store's."""
        spared = self._without_md5

        def sign() -> tuple[PutTarget, ...]:
            nonlocal spared
            if spared:
                spared = False
                try:
                    return self._sealed(pack, ANY_CONTENT)
                except ControllerRefused as refused:
                    if refused.reason != MD5_NEEDED:
                        raise
            self._without_md5 = False
            return self._sealed(pack, md5_of(pack.body))

        targets = self._sign_and_put(sign, pack.body)
        if targets:
            self._client.pack_stored(pack.pack_id)

    def _sealed(self, pack: SealedPack, md5: bytes) -> tuple[PutTarget, ...]:
        return self._client.seal_pack(pack.pack_id, len(pack.body), md5, meta=pack.meta).targets

    def put_signed(self, sign: Callable[[], PutTarget], body: bytes) -> None:
        """One object under v1/a/: signed by the call given, again when the URL died meanwhile."""
        self._sign_and_put(lambda: (sign(),), body)

    def _sign_and_put(self, sign: Callable[[], tuple[PutTarget, ...]], body: bytes | bytearray | memoryview) -> int:
        """PUT the body to all targets; how many there were."""
        for signature in range(1, SIGNATURES + 1):
            targets = sign()
            try:
                for target in targets:
                    self._put(target, body)
                return len(targets)
            except StoreRefused:
                # Whatever our clock says of the URL: it may lag behind the store's. One new signature settles it, as with reads.
                if signature == SIGNATURES or (signature > 1 and not self._expired(targets)):
                    raise
        raise AssertionError("unreachable: the last signature returns or raises")

    def _put(self, target: PutTarget, body: bytes | bytearray | memoryview) -> None:
        """A name that is taken was taken by these very bytes: it is their hash, and the attempt owns it."""
        self._web.put(SignedPut(target.url, target.headers, target.expires_us), memoryview(body))

    def _expired(self, targets: Sequence[PutTarget]) -> bool:
        now_us = self._clock.now_us()
        return any(target.expires_us - URL_MARGIN_US <= now_us for target in targets)


class AgentPackReader:
    """PackReader of one attempt: signed GETs, kept until they expire. Thread-safe."""

    def __init__(self, client: ControllerClient, web: SignedTransfer, clock: Clock) -> None:
        self._client = client
        self._web = web
        self._clock = clock
        self._lock = threading.Lock()
        self._urls: dict[tuple[bytes, int], ReadUrl] = {}

    def read(self, pack_id: bytes, generation: int, offset: int, length: int) -> bytes:
        """Raises ObjectMissing (also where the controller signs another generation instead), StoreUnavailable, StoreRefused,
        IntegrityError (a short answer), and the client's errors."""
        body = self._asked((pack_id, generation), lambda url: self._web.get_range(url, offset, length))
        if len(body) != length:
            raise IntegrityError(f"pack {pack_id.hex()}.{generation} ends before {offset + length}")
        return body

    def generations(self, pack_id: bytes) -> Sequence[int]:
        """The present one and what lies around it, asked for by number: for one that does not lie there the present one is signed, by an
        older controller for each. Numbers grow by one or two: what is too far back for one call is read only where a page names it. Raises
        the client's errors.
        """
        (present,) = self._client.read_urls([(pack_id, NO_GENERATION)])
        end = present.generation + GENERATIONS_ABOVE + 1
        around = [(pack_id, generation) for generation in range(max(0, end - URLS_PER_CALL), end)]
        lying = {(pack_id, url.generation): url for url in self._client.read_urls(around)}
        with self._lock:
            self._urls.update(lying)
        return sorted((generation for _, generation in lying), reverse=True)

    def table(self, pack_id: bytes, generation: int) -> NDArray[np.void]:
        """Raises as `read` does."""
        return self._asked(
            (pack_id, generation),
            lambda url: table_by_suffix(lambda length: self._web.get_suffix(url, length)),
        )

    def _asked(self, pack: tuple[bytes, int], ask: Callable[[str], _Answer]) -> _Answer:
        url = _of(pack, self._known(pack) or self._sign(pack))
        try:
            return ask(url)
        except (StoreRefused, ObjectMissing):
            # The clock of the store may run ahead of ours, or compaction has replaced the generation since: one new signature settles it.
            return ask(_of(pack, self._sign(pack)))

    def _known(self, pack: tuple[bytes, int]) -> ReadUrl | None:
        with self._lock:
            url = self._urls.get(pack)
        return url if url is not None and url.expires_us - URL_MARGIN_US > self._clock.now_us() else None

    def _sign(self, pack: tuple[bytes, int]) -> ReadUrl:
        (url,) = self._client.read_urls([pack])
        with self._lock:
            self._urls[pack] = url
        return url


def _of(pack: tuple[bytes, int], url: ReadUrl) -> str:
    """Raises ObjectMissing where another generation was signed. One that is gone stays so: no number is used twice."""
    if url.generation != pack[1]:
        raise ObjectMissing(f"pack {pack[0].hex()}.{pack[1]} was replaced by generation {url.generation}")
    return url.url
