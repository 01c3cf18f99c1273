"""What an operator's other tools and a dying disk do to a repository's bucket, for where a test's own process cannot reach it.

`bucket_tool.py copy URL FOLDER` copies every object into a new folder repository; `bucket_tool.py damage URL POINT` alters one byte of the
largest data pack that the point alone needs, and prints its name. Keys: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY.
"""

import os
import sys
from pathlib import Path

from seawall.repository.clock import SystemClock
from seawall.repository.format.layout import PACKS_PREFIX, REFMAPS_PREFIX, parse_pack_name, parse_point_name
from seawall.repository.format.refmap import decode_refmap
from seawall.repository.store.folder import FolderStore, create_folder
from seawall.repository.store.locate import open_store
from seawall.repository.store.location import S3Credentials
from seawall.repository.store.port import Store


def copy(store: Store, folder: Path) -> None:
    create_folder(folder)
    target = FolderStore(folder, SystemClock())
    for info in store.list(""):
        target.put(info.name, store.get(info.name))


def damage(store: Store, point_id: str) -> str:
    mine: set[bytes] = set()
    others: set[bytes] = set()
    for info in store.list(REFMAPS_PREFIX):
        point = parse_point_name(info.name)
        packs = set(decode_refmap(store.get(info.name))[1].slots())
        if point is not None and point.point_id == point_id:
            mine |= packs
        else:
            others |= packs
    sizes = [
        (info.size_bytes, info.name)
        for info in store.list(PACKS_PREFIX)
        if (name := parse_pack_name(info.name)) and name.pack_id in mine - others
    ]
    largest = max(sizes)[1]
    body = bytearray(store.get(largest))
    body[len(body) // 3] ^= 1
    store.delete(largest)
    store.put(largest, bytes(body))
    return largest


def main(words: list[str]) -> None:
    what, url, argument = words
    credentials = S3Credentials(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
    store = open_store(url, credentials, SystemClock())
    if what == "copy":
        copy(store, Path(argument))
    else:
        print(damage(store, argument))


if __name__ == "__main__":
    main(sys.argv[1:])
