"""A store in an S3 bucket, through boto3: the only module that imports it. Used where storage keys are: controller, maintenance, rescue.

Tuned for a third of boto3's default CPU: payloads unsigned (a Content-MD5 is signed and binds the body), no extra checksums, path style, no
retries inside boto (the retry decorator has them all).
"""

import copy
import io
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Any

import boto3.session
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    IncompleteReadError,
    ResponseStreamingError,
)
from botocore.exceptions import ConnectionError as BotoConnectionError
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from seawall.repository.clock import Clock, SystemClock, datetime_of
from seawall.repository.errors import BucketMissing, ObjectMissing, StoreRefused, StoreUnavailable
from seawall.repository.store.deadline import CONNECT_SECONDS, LONGEST_BODY_BYTES, SILENCE_SECONDS, Deadline
from seawall.repository.store.location import REGION_DEFAULT, S3Credentials, S3Location
from seawall.repository.store.names import check_length, check_name, check_prefix
from seawall.repository.store.port import ObjectInfo, SignedPut
from seawall.repository.store.s3_errors import from_status
from seawall.repository.store.signed_headers import md5_of, put_headers

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_s3.type_defs import ListObjectsV2OutputTypeDef, ObjectTypeDef

_CONNECTIONS = 32
_REDIRECTED = "maximum recursion depth"
_FINAL = {
    "CERTIFICATE_VERIFY_FAILED": "the server's certificate is not trusted: set ca_file= in the URL",
    "WRONG_VERSION_NUMBER": "what answers there speaks no TLS: write http:// for its endpoint, or its https port",
    "NO_CERTIFICATE_OR_CRL_FOUND": "the file named by ca_file= holds no certificate",
    _REDIRECTED: "the server redirects without end: set region= and endpoint= in the URL",
    "SSL validation failed for": "TLS cannot begin: does the file named by ca_file= exist?",
}
"""What no repetition mends, by the mark that it leaves in boto3's message; the first that fits."""
_PIECE_BYTES = 1 << 20
_MAKING = Lock()
_DAY_US = 86_400_000_000
_NO_LOCK = ("NoSuchObjectLockConfiguration", "ObjectLockConfigurationNotFoundError", "InvalidRequest", "NotImplemented")


class S3Store:
    """A Store. One bucket, optionally below a prefix. The client and its connections are its own."""

    def __init__(
        self, location: S3Location, credentials: S3Credentials, clock: Clock | None = None, *, page_size: int = 1000
    ) -> None:
        self._location = location
        self._client = _client(location, credentials)
        self._clock = clock or SystemClock()
        self._page_size = page_size
        self._lock_mode = "GOVERNANCE"

    def below(self, prefix: str) -> "S3Store":
        """The store of a part of this one, over the same client: making a client takes boto3 a tenth of a second."""
        part = copy.copy(self)
        part._location = replace(self._location, prefix=f"{self._location.prefix}{check_name(prefix)}/")
        return part

    @property
    def url(self) -> str:
        return self._location.url

    def put(self, name: str, body: bytes | memoryview, *, create_only: bool = True) -> None:
        # A copy keeps the bytes what their MD5 says. As a file it is sent in pieces: boto3 gives each of its sends one timeout.
        content = bytes(body)
        deadline = Deadline(self._clock, f"{name} in {self.url}")
        condition = {"IfNoneMatch": "*"} if create_only else {}
        self._call(
            "put_object",
            name,
            Body=_WatchedBody(content, deadline),
            ContentMD5=b64encode(md5_of(content)).decode(),
            **condition,
        )

    def get(self, name: str) -> bytes:
        return self._get(name)

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        check_length(offset)
        if check_length(length) == 0:
            self.head(name)
            return b""
        return self._get(name, length, Range=f"bytes={offset}-{offset + length - 1}")

    def get_suffix(self, name: str, length: int) -> bytes:
        if check_length(length) == 0:
            self.head(name)
            return b""
        return self._get(name, length, Range=f"bytes=-{length}")

    def head(self, name: str) -> ObjectInfo:
        answer = self._call("head_object", name)
        with _our_errors(f"{name} in {self.url}"):
            return ObjectInfo(name, _length(answer["ContentLength"]), _us(answer["LastModified"]))

    def delete(self, name: str) -> None:
        try:
            self._call("delete_object", name)
        except ObjectMissing:
            return

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        check_prefix(prefix)
        return _Listing(lambda token: self._list_page(prefix, token), self._location.prefix, prefix, self.url)

    def sign_put(self, name: str, length: int, md5: bytes, *, expires_seconds: int) -> SignedPut:
        """Everything that the caller must not choose is in the signature: key, length, the condition, and the MD5 if there is one."""
        headers = put_headers(length, md5)
        parameters: dict[str, Any] = {"ContentLength": length, "IfNoneMatch": "*"}
        if md5:
            parameters["ContentMD5"] = headers["Content-MD5"]
        expires_us = self._clock.now_us() + expires_seconds * 1_000_000
        return SignedPut(self._sign("put_object", name, parameters, expires_seconds), headers, expires_us)

    def sign_get(self, name: str, *, expires_seconds: int) -> str:
        return self._sign("get_object", name, {}, expires_seconds)

    # Object Lock: the port `Locks` of collecting/locking.py

    def lock_period_us(self) -> int:
        """For how long the bucket locks what is put into it by itself; 0: it does not. Raises as `head` does."""
        with _our_errors(f"the lock of {self.url}"):
            try:
                answer = self._client.get_object_lock_configuration(Bucket=self._location.bucket)
            except ClientError as error:
                if _status(error) in (404, 501) or _code(error) in _NO_LOCK:
                    return 0
                raise
            rule = answer.get("ObjectLockConfiguration", {}).get("Rule", {}).get("DefaultRetention", {})
            days = rule.get("Days", 0) + 365 * rule.get("Years", 0)
            self._lock_mode = rule.get("Mode", self._lock_mode)
        return int(days) * _DAY_US

    def locked_until_us(self, name: str) -> int:
        """0: not locked. Raises ObjectMissing and as `head` does."""
        with _our_errors(f"the lock of {name} in {self.url}"):
            try:
                target = self._target(name)
                answer = self._client.get_object_retention(Bucket=target["Bucket"], Key=target["Key"])
            except ClientError as error:
                if _code(error) in _NO_LOCK:
                    return 0
                raise
            return _us(answer["Retention"]["RetainUntilDate"])

    def lock_until(self, name: str, until_us: int) -> None:
        """Never shortens. Raises StoreRefused where the keys may not, and as `head` does."""
        retention = {"Mode": self._lock_mode, "RetainUntilDate": datetime_of(until_us)}
        self._call("put_object_retention", name, Retention=retention)

    # What else a bucket can be asked: the port `Bucket` of survey.py

    def versioned(self) -> bool:
        """Whether it keeps versions now. Raises as `head` does."""
        with _our_errors(f"the versions of {self.url}"):
            try:
                answer = self._client.get_bucket_versioning(Bucket=self._location.bucket)
            except ClientError as error:
                if _status(error) in (404, 501) or _code(error) == "NotImplemented":
                    return False
                raise
            return answer.get("Status") == "Enabled"

    def takes_parts(self, name: str) -> bool:
        """Whether an upload in parts may be begun; it is given up at once. Raises StoreUnavailable, BucketMissing."""
        try:
            upload = self._call("create_multipart_upload", name)["UploadId"]
            self._call("abort_multipart_upload", name, UploadId=upload)
        except StoreRefused:
            return False
        return True

    def _sign(self, method: str, name: str, parameters: dict[str, Any], expires_seconds: int) -> str:
        with _our_errors(f"signing {name}"):
            return self._client.generate_presigned_url(
                method, Params={**self._target(name), **parameters}, ExpiresIn=expires_seconds
            )

    def _target(self, name: str) -> dict[str, str]:
        return {"Bucket": self._location.bucket, "Key": self._location.prefix + check_name(name)}

    def _call(self, method: str, name: str, **parameters: Any) -> Any:
        with _our_errors(f"{name} in {self.url}"):
            try:
                return getattr(self._client, method)(**self._target(name), **parameters)
            except ClientError as error:
                # A HEAD's 404 has no body that tells a missing object from a missing bucket.
                if _code(error) == "404" and not self._has_bucket():
                    raise BucketMissing(f"the bucket of {self.url} does not exist") from error
                raise

    def _has_bucket(self) -> bool:
        try:
            self._client.head_bucket(Bucket=self._location.bucket)
        except ClientError as error:
            return _status(error) != 404
        return True

    def _get(self, name: str, longest: int | None = None, **parameters: Any) -> bytes:
        """`longest`: of the range in `parameters`; a store that ignores ranges is refused before it fills the memory."""
        request: dict[str, Any] = {**self._target(name), **parameters}
        deadline = Deadline(self._clock, f"{name} in {self.url}")
        with _our_errors(f"{name} in {self.url}"):
            try:
                answer = self._client.get_object(**request)
            except ClientError as error:
                if _status(error) == 416:  # the range begins at or past the end
                    return b""
                raise
            try:
                length = _length(answer["ContentLength"])
            except (KeyError, ValueError):
                answer["Body"].close()
                raise
            if longest is not None and length > longest:
                answer["Body"].close()
                raise StoreRefused(f"{name} in {self.url}: the store ignored the range and sent the whole object")
            if length > LONGEST_BODY_BYTES:
                answer["Body"].close()
                raise StoreRefused(f"{name} in {self.url}: the store tells of {length} bytes, which no object has")
            deadline.allow_body(length)
            with answer["Body"] as stream:  # urllib3's, which can be asked for what is there
                return _all_of(stream, length, deadline)

    def _list_page(self, prefix: str, token: dict[str, str]) -> "ListObjectsV2OutputTypeDef":
        request: dict[str, Any] = {
            "Bucket": self._location.bucket,
            "Prefix": self._location.prefix + prefix,
            "MaxKeys": self._page_size,
            **token,
        }
        with _our_errors(f"the list of {self.url}"):
            return self._client.list_objects_v2(**request)


class _WatchedBody(io.BytesIO):
    """A body that is given out in pieces, as long as its call may go on."""

    def __init__(self, content: bytes, deadline: Deadline) -> None:
        super().__init__(content)
        deadline.allow_body(len(content))
        self._deadline = deadline

    def read(self, size: int | None = -1, /) -> bytes:
        self._deadline.check()
        return super().read(size)


def _all_of(stream: Any, length: int, deadline: Deadline) -> bytes:
    """Raises StoreUnavailable where it ends early or drips, and urllib3's errors."""
    content = bytearray()
    while len(content) < length and (piece := stream.read1(_PIECE_BYTES)):
        content += piece
        deadline.check()
    if len(content) != length:
        raise StoreUnavailable(f"an answer of {length} bytes ended after {len(content)}")
    return bytes(content)


class _Listing(Iterator[ObjectInfo]):
    """The objects of all pages. A page that could not be had changes nothing here: the next `next` asks for it again."""

    def __init__(
        self,
        fetch: Callable[[dict[str, str]], "ListObjectsV2OutputTypeDef"],
        store_prefix: str,
        asked: str,
        url: str,
    ) -> None:
        self._fetch = fetch
        self._store_prefix = store_prefix
        self._asked = store_prefix + asked
        self._label = f"the list of {url}"
        self._token: dict[str, str] | None = {}
        self._page: deque[ObjectInfo] = deque()

    def __next__(self) -> ObjectInfo:
        while not self._page:
            if self._token is None:
                raise StopIteration
            answer = self._fetch(self._token)
            with _our_errors(self._label):
                self._page, self._token = self._taken(answer, self._token)
        return self._page.popleft()

    def _taken(
        self, answer: "ListObjectsV2OutputTypeDef", token: dict[str, str]
    ) -> tuple[deque[ObjectInfo], dict[str, str] | None]:
        """(objects, where the next page begins). What is no list must not pass for one without objects: KeyError, ValueError."""
        page = deque(self._info(item) for item in answer.get("Contents", ()))
        if not answer["IsTruncated"]:
            return page, None
        following = {"ContinuationToken": answer["NextContinuationToken"]}
        if following == token:
            raise StoreRefused(f"{self._label}: the store sends the same page again and again")
        return page, following

    def _info(self, item: "ObjectTypeDef") -> ObjectInfo:
        if not item["Key"].startswith(self._asked):
            raise StoreRefused(f"{self._label}: the store names {item['Key'][:80]!r}, which nobody asked for")
        return ObjectInfo(
            item["Key"].removeprefix(self._store_prefix), _length(item["Size"]), _us(item["LastModified"])
        )


def create_bucket(location: S3Location, credentials: S3Credentials) -> None:
    """Makes the bucket. One that is ours already is success. Raises StoreRefused (another's), StoreUnavailable."""
    client = _client(location, credentials)
    request: dict[str, Any] = {"Bucket": location.bucket}
    if location.region != REGION_DEFAULT:
        request["CreateBucketConfiguration"] = {"LocationConstraint": location.region}
    with _our_errors(f"creating the bucket of {location.url}"):
        try:
            client.create_bucket(**request)
        except ClientError as error:
            if _code(error) == "BucketAlreadyExists":
                client.head_bucket(Bucket=location.bucket)  # 403 where it is another's
            elif _code(error) != "BucketAlreadyOwnedByYou":
                raise


def _client(location: S3Location, credentials: S3Credentials) -> "S3Client":
    with _MAKING:  # a session makes one client at a time
        return _session().client(
            "s3",
            endpoint_url=location.endpoint,
            region_name=location.region,
            verify=location.ca_file,
            aws_access_key_id=credentials.access_key,
            aws_secret_access_key=credentials.secret_key,
            aws_session_token=credentials.session_token,
            config=Config(
                signature_version="s3v4",
                s3={"addressing_style": "path", "payload_signing_enabled": False},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                retries={"total_max_attempts": 1, "mode": "standard"},
                connect_timeout=CONNECT_SECONDS,
                read_timeout=SILENCE_SECONDS,
                max_pool_connections=_CONNECTIONS,
            ),
        )


@cache
def _session() -> boto3.session.Session:
    """One for the process. Each reads and keeps the descriptions of S3 (13 MB), and none holds anybody's credentials."""
    return boto3.session.Session()


@contextmanager
def _our_errors(label: str) -> Iterator[None]:
    """Turns what boto3 raises inside into one of ours."""
    try:
        yield
    except ClientError as error:
        raise from_status(_status(error), _code(error), label) from error
    except (BotoConnectionError, HTTPClientError, ResponseStreamingError, IncompleteReadError) as error:
        for mark, meaning in _FINAL.items():
            if mark in str(error):
                raise StoreRefused(f"{label}: {meaning}") from error
        raise StoreUnavailable(f"{label}: {error}") from error
    except HTTPError as error:
        raise StoreUnavailable(f"{label}: {type(error).__name__}") from error
    except BotoCoreError as error:
        raise StoreRefused(f"{label}: {error}") from error
    except RecursionError as error:
        raise StoreRefused(f"{label}: {_FINAL[_REDIRECTED]}") from error
    except (ResponseParserError, LookupError, ValueError, TypeError, ArithmeticError, RuntimeError) as error:
        # boto3 reads answers without mercy: a missing header, a date of nonsense, a length of letters. The next answer may be whole.
        raise StoreUnavailable(f"{label}: the store's answer makes no sense ({type(error).__name__})") from error


def _status(error: ClientError) -> int:
    return error.response["ResponseMetadata"]["HTTPStatusCode"]


def _code(error: ClientError) -> str:
    code = error.response.get("Error", {}).get("Code", "")
    return code if isinstance(code, str) else ""  # of two codes boto3 makes a dictionary


def _length(length: int) -> int:
    """Raises ValueError where it is none."""
    if length < 0:
        raise ValueError("a negative length")
    return length


def _us(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)
