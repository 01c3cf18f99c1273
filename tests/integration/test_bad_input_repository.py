"""`repo add` at places that cannot be used, with keys that do not fit, under names and files that may not be: nothing is half-done."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from deploy.s3.seaweedfs import SeaweedFS

from seawall.repository.format.layout import EPOCHS_PREFIX
from seawall.repository.store.location import S3Credentials
from seawall.repository.store.s3 import S3Store
from support.controller_application import Controller, configured, free_port, running
from support.operator_words import Operator


@dataclass(frozen=True)
class Place:
    """A controller without repositories, and one bucket of a real server."""

    controller: Controller
    endpoint: str
    bucket: S3Store
    keys: S3Credentials
    root: Path

    def operator(self, access_key: str | None = None, secret_key: str | None = None) -> Operator:
        extra = {
            "AWS_ACCESS_KEY_ID": self.keys.access_key if access_key is None else access_key,
            "AWS_SECRET_ACCESS_KEY": self.keys.secret_key if secret_key is None else secret_key,
        }
        return Operator(self.controller.config.operator_toml, extra)

    def refused(self, operator: Operator, *words: str | Path, name: str = "main") -> tuple[int, str, str]:
        """The refusal; nothing may be there afterwards that was not there before."""
        before = self.held()
        sheet = self.root / "sheet.txt"
        answer = (
            operator.refused("repo", "add", "--recovery-key", sheet, *words, "--", name)
            if name.startswith("-")
            else (operator.refused("repo", "add", name, *words, "--recovery-key", sheet))
        )
        assert not sheet.exists() and list(self.root.glob("sheet*")) == []
        assert self.held() == before
        return answer

    def held(self) -> tuple[object, ...]:
        """Rows and objects, but for the epoch that the controller announces by itself when it first opens a repository."""
        database = self.controller.application._database
        rows = database.read_sql(
            lambda connection: [
                connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one()
                for table in ("repositories", "creations", "secrets", "gc")
            ]
        )
        return (*rows, sorted(info.name for info in self.bucket.list("") if not info.name.startswith(EPOCHS_PREFIX)))


@pytest.fixture(scope="module")
def place(
    tmp_path_factory: pytest.TempPathFactory, s3_server: SeaweedFS, s3_bucket: S3Store, s3_credentials: S3Credentials
) -> Iterator[Place]:
    root = tmp_path_factory.mktemp("repository")
    with running(configured(root / "state")) as controller:
        yield Place(controller, s3_server.endpoint, s3_bucket.below("bad-input"), s3_credentials, root)


URL = "s3://tests/bad-input"


@pytest.mark.parametrize(
    ("access_key", "secret_key", "code", "reason", "told"),
    [
        (None, "wrong" * 6, 5, "BUCKET_REFUSED", "access key"),
        ("nobody", None, 5, "BUCKET_REFUSED", "access key"),
        ("", "", 2, "NO_CREDENTIALS", "AWS_SECRET_ACCESS_KEY"),
        (None, "", 2, "NO_CREDENTIALS", "AWS_SECRET_ACCESS_KEY"),
        ("two\nlines", None, 2, "BAD_CREDENTIALS", "one line"),
        (None, "s\u00fc\u00df", 2, "BAD_CREDENTIALS", "ASCII"),
    ],
)
def test_credentials(place: Place, access_key: str, secret_key: str, code: int, reason: str, told: str) -> None:
    operator = place.operator(access_key, secret_key)
    refused = place.refused(operator, URL, "--endpoint", place.endpoint)
    assert refused[:2] == (code, reason) and told in refused[2]
    assert not secret_key or secret_key not in refused[2]


def test_buckets_and_endpoints(place: Place) -> None:
    silent, tls = free_port(), place.controller.ports.operator
    table: list[tuple[str, str, int, str, str]] = [
        ("s3://no-such-bucket", place.endpoint, 5, "BUCKET_MISSING", "Create it first"),
        (URL, f"http://127.0.0.1:{silent}", 5, "BUCKET_UNREACHABLE", "Look at the endpoint"),
        (URL, "http://no-such-host.invalid:1", 5, "BUCKET_UNREACHABLE", "Look at the endpoint"),
        (URL, place.endpoint.replace("http:", "https:"), 5, "BUCKET_REFUSED", "speaks no TLS"),
        (URL, f"http://127.0.0.1:{tls}", 5, "BUCKET_UNREACHABLE", "http or https"),
        (URL, f"https://127.0.0.1:{tls}", 5, "BUCKET_REFUSED", "ca_file"),
        (URL, "ftp://x", 2, "BAD_URL", "http://host:port"),
        (URL, "x:1", 2, "BAD_URL", "http://host:port"),
        (URL, "http://x:abc", 2, "BAD_URL", "http://host:port"),
        (URL, "http://x:99999", 2, "BAD_URL", "http://host:port"),
        (URL, "http://two words", 2, "BAD_URL", "http://host:port"),
        (URL, "http://key:secret@x", 2, "BAD_URL", "http://host:port"),
        ("s3://", place.endpoint, 2, "BAD_URL", "bucket"),
        ("s3://two words", place.endpoint, 2, "BAD_URL", "bucket"),
        ("s3://tests/../other", place.endpoint, 2, "BAD_URL", "prefix"),
        ("s3://key:secret@tests", place.endpoint, 2, "BAD_URL", "never in it"),
        ("s3://tests/a#b", place.endpoint, 2, "BAD_URL", "%23"),
        ("ftp://x/y", "", 2, "BAD_URL", "s3://"),
    ]
    for url, endpoint, code, reason, told in table:
        options = ("--endpoint", endpoint) if endpoint else ()
        refused = place.refused(place.operator(), url, *options)
        assert refused[:2] == (code, reason) and told in refused[2], (url, endpoint, refused)


@pytest.mark.parametrize(
    ("query", "code", "reason", "told"),
    [
        ("colour=red", 2, "BAD_URL", "colour"),
        ("region=a%20b%0A", 2, "BAD_URL", "region"),
        ("region=", 2, "BAD_URL", "region"),
        ("ca_file=/no/such.pem&endpoint=https://127.0.0.1:{tls}", 5, "BUCKET_REFUSED", "ca_file"),
        ("ca_file=/etc/hostname&endpoint=https://127.0.0.1:{tls}", 5, "BUCKET_REFUSED", "ca_file"),
    ],
)
def test_options_of_the_url(place: Place, query: str, code: int, reason: str, told: str) -> None:
    refused = place.refused(place.operator(), f"{URL}?{query.format(tls=place.controller.ports.operator)}")
    assert refused[:2] == (code, reason) and told in refused[2], refused


@contextmanager
def web_server(status: int) -> Iterator[str]:
    """Answers everything alike."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            self.send_header("Content-Length", "0" if self.command == "HEAD" else "5")
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else b"hello")

        do_GET = do_PUT = do_HEAD = do_DELETE = answer

        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (200, "FOREIGN_REPOSITORY"),
        pytest.param(301, "BUCKET_REFUSED", marks=pytest.mark.slow),
        (403, "BUCKET_REFUSED"),
        (404, "BUCKET_MISSING"),
        pytest.param(405, "BUCKET_REFUSED", marks=pytest.mark.slow),
        pytest.param(500, "BUCKET_UNREACHABLE", marks=pytest.mark.slow),
        (503, "BUCKET_UNREACHABLE"),
    ],
)
def test_servers_that_are_no_s3(place: Place, status: int, reason: str) -> None:
    with web_server(status) as endpoint:
        refused = place.refused(place.operator(), URL, "--endpoint", endpoint)
        assert refused[:2] == (5, reason), refused


def test_folders(place: Place) -> None:
    file = place.root / "file"
    file.write_text("x")
    table: list[tuple[str | Path, int, str, str]] = [
        (place.root / "nowhere", 5, "BUCKET_MISSING", "does not exist"),
        (file, 5, "BUCKET_MISSING", "is no folder"),
        (file / "below", 5, "BUCKET_MISSING", "does not exist"),
        ("/proc", 5, "BUCKET_REFUSED", "/proc"),
        ("/" + "y" * 300, 5, "BUCKET_REFUSED", "too long"),
        ("file://host/x", 2, "BAD_URL", "three slashes"),
        ("file:///a%00b", 2, "BAD_URL", "NUL"),
        ("file:///a/../b", 2, "BAD_URL", ".."),
    ]
    for url, code, reason, told in table:
        refused = place.refused(place.operator(), url)
        assert refused[:2] == (code, reason) and told in refused[2], (url, refused)


@pytest.mark.parametrize("name", [" ", "a/b", "a" * 64, "two\nlines", "\x1b[31m", "../x", "a b"], ids=repr)
def test_names(place: Place, name: str) -> None:
    refused = place.refused(place.operator(), URL, "--endpoint", place.endpoint, name=name)
    assert refused[:2] == (2, "BAD_NAME") and "1 to 63" in refused[2]


@pytest.mark.parametrize("text", ["0", "7KiB", "3KiB", "2M", "-1", "99999999999999999999", "many", "1e4"])
def test_chunk_sizes(place: Place, text: str) -> None:
    refused = place.refused(place.operator(), URL, "--endpoint", place.endpoint, f"--chunk-size={text}")
    assert refused[:2] == (2, "BAD_CHUNK_SIZE")


def test_recovery_files(place: Place, tmp_path: Path) -> None:
    """The key must be safe before anything is asked for."""
    file, binary, dangling = tmp_path / "mine.txt", tmp_path / "binary", tmp_path / "dangling"
    file.write_text("mine")
    binary.write_bytes(b"\xff\xfe")
    dangling.symlink_to(tmp_path / "target")
    table: list[tuple[Path, int, str]] = [
        (file, 5, "RECOVERY_FILE_EXISTS"),
        (binary, 5, "RECOVERY_FILE_EXISTS"),
        (dangling, 5, "RECOVERY_FILE_EXISTS"),
        (Path("/dev/null"), 5, "RECOVERY_FILE_EXISTS"),
        (tmp_path, 2, "RECOVERY_FILE"),
        (tmp_path / "none" / "x", 2, "RECOVERY_FILE"),
        (file / "below", 2, "RECOVERY_FILE"),
        (tmp_path / ("z" * 300), 2, "RECOVERY_FILE"),
        (Path("/proc/x"), 2, "RECOVERY_FILE"),
    ]
    before = place.held()
    for path, code, reason in table:
        words = ("repo", "add", "main", URL, "--endpoint", place.endpoint, "--recovery-key", path)
        refused = place.operator().refused(*words)
        assert refused[:2] == (code, reason) and str(path) in refused[2], (path, refused)
    assert place.held() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["binary", "dangling", "mine.txt"]
    assert (file.read_text(), binary.read_bytes()) == ("mine", b"\xff\xfe")


def test_what_was_refused_can_be_asked_for_again_and_then_belongs_to_one(place: Place, tmp_path: Path) -> None:
    words = ("--endpoint", place.endpoint)
    assert place.refused(place.operator("nobody"), URL, *words)[1] == "BUCKET_REFUSED"
    sheet = place.root / "kept.txt"
    added = place.operator()("repo", "add", "main", URL, *words, "--recovery-key", sheet, "--json")
    assert added.code == 0 and sheet.stat().st_mode & 0o777 == 0o600
    assert place.refused(place.operator(), URL, *words, name="second")[1] == "NAME_TAKEN"
    assert place.refused(place.operator(), "s3://tests/elsewhere", *words)[1] == "NAME_TAKEN"
    with running(configured(tmp_path / "other")) as controller:
        other = Place(controller, place.endpoint, place.bucket, place.keys, place.root)
        refused = other.refused(other.operator(), URL, *words)
        assert refused[:2] == (5, "FOREIGN_REPOSITORY") and "another prefix" in refused[2]
