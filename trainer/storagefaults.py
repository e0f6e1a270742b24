"""What kind of storage trouble an exception is: a pure function, so that the rest can decide.

Temporary faults are waited out while training goes on. Lasting ones (full, expired, denied, gone)
need a person: they are told at once, tried again for a few minutes, and then end the pod.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from brightrun.errors import StorageError

Kind = Literal["away", "full", "expired", "denied", "read_only", "gone"]
# errno -> kind; every other errno of an OSError is temporary.
ERRNO: dict[int, Kind] = {
    errno.ENOSPC: "full", errno.EDQUOT: "full", errno.EFBIG: "full", errno.EMSGSIZE: "full",
    errno.EACCES: "denied", errno.EPERM: "denied", errno.EROFS: "read_only",
    errno.ENOENT: "gone", errno.ENOTDIR: "gone",
}  # fmt: skip
# Error codes of S3 and of those who speak it.
CODES: dict[str, Kind] = {
    **dict.fromkeys(("QuotaExceeded", "XMinioStorageFull", "InsufficientStorage", "507"), "full"),
    **dict.fromkeys(
        ("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired",
         "InvalidToken"), "expired"),
    **dict.fromkeys(
        ("AccessDenied", "AllAccessDisabled", "AccountProblem", "InvalidAccessKeyId",
         "InvalidSecurity", "SignatureDoesNotMatch", "NotSignedUp", "Forbidden", "403",
         "MethodNotAllowed", "RequestTimeTooSkewed"), "denied"),
    **dict.fromkeys(("NoSuchBucket", "404"), "gone"),
}  # fmt: skip
# botocore's exceptions that are no answer of the server, by name: it is not imported here.
NAMES: dict[str, Kind] = {
    "NoCredentialsError": "denied",
    "PartialCredentialsError": "denied",
    "CredentialRetrievalError": "denied",
    "TokenRetrievalError": "expired",
    "UnauthorizedSSOTokenError": "expired",
    **dict.fromkeys(
        ("EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "HTTPClientError",
         "ConnectionClosedError", "ProxyConnectionError", "SSLError", "ResponseStreamingError",
         "ClientError", "FSTimeoutError"), "away"),
}  # fmt: skip
OS_ERROR = re.compile(r"os error (\d+)")
ARCHIVE_WORDS = ("PytorchStreamWriter", "inline_container", "unexpected pos")
NEARLY_FULL_BYTES = 64 << 20
NAMED: dict[Kind, str] = {
    "away": "storage_away",
    "full": "disk_full",
    "expired": "storage_denied",
    "denied": "storage_denied",
    "read_only": "storage_denied",
    "gone": "storage_gone",
}
# Kind -> what happened, its likely cause, its mend.
TEXTS: dict[Kind, tuple[str, str, str]] = {
    "away": ("the storage cannot be reached", "the network or the storage service is down",
             "nothing if it comes back; else check the storage, then resume the job"),
    "full": ("the disk or the storage is full", "no space or quota is left for a checkpoint",
             "free space or raise the quota, then resume the job"),
    "expired": ("the storage credentials have expired", "the job outlived its session token",
                "give the pod fresh credentials, then resume the job"),
    "denied": ("the storage refuses access",
               "wrong or withdrawn credentials, or permissions that do not cover this folder",
               "allow the pod to read, write and delete under its run folder, then resume the job"),
    "read_only": ("the storage is read-only", "it was mounted so, or the disk has errors",
                  "mount it writable or replace the disk, then resume the job"),
    "gone": ("the bucket or folder of the run does not exist any more",
             "it was deleted, renamed or unmounted",
             "restore it; without its checkpoints the job starts from step 0"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of trouble, with the exception's own words as `detail`."""

    kind: Kind
    detail: str

    @property
    def lasting(self) -> bool:
        """Whether waiting alone will not mend it."""
        return self.kind != "away"

    @property
    def name(self) -> str:
        """Its name in brightrun.faults, also the code of the warning event."""
        return NAMED[self.kind]

    def error(self, what: str, tail: str = "") -> StorageError:
        """As an exception: `what` could not be done."""
        happened, cause, fix = TEXTS[self.kind]
        said = f"{what}: {happened} ({self.detail}){tail}"
        return StorageError(said, cause=cause, fix=fix, fault=self.name)


def classify(error: BaseException) -> Fault | None:
    """The storage trouble behind an exception, or None when it is no trouble of the storage.

    The server's own code says most, then botocore's exceptions by name, then the errno.
    """
    chain = list(_chain(error))
    for found in chain:
        code = _code(found)
        if code in CODES:
            return Fault(CODES[code], f"{code}: {_words(found)}")
    for found in chain:
        names = [kind.__name__ for kind in type(found).__mro__]
        kind = next((NAMES[name] for name in names if name in NAMES), None)
        if kind is not None:
            return Fault(kind, _words(found))
    for found in chain:
        if isinstance(found, OSError):
            return Fault(_of_os_error(found), _words(found))
    return None


def local_fault(error: BaseException, free_bytes: int) -> Fault | None:
    """Like `classify`, for a checkpoint written to the pod's own disk.

    safetensors names the errno in its text; torch's archive writer says only that a write failed,
    and the free space has to tell why.
    """
    number = OS_ERROR.search(str(error))
    if number is not None and not isinstance(error, OSError):
        return Fault(ERRNO.get(int(number[1]), "away"), _words(error))
    if isinstance(error, RuntimeError) and any(word in str(error) for word in ARCHIVE_WORDS):
        return Fault("full" if free_bytes < NEARLY_FULL_BYTES else "away", _words(error))
    return classify(error)


def _of_os_error(error: OSError) -> Kind:
    if error.errno in ERRNO:
        return ERRNO[error.errno]
    # fsspec's adapters raise these classes without an errno.
    if isinstance(error, PermissionError):
        return "denied"
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return "gone"
    return "away"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The exception and what it was raised from."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _code(error: BaseException) -> str:
    """Code in the answer of an S3 server (botocore's ClientError), or nothing."""
    response = getattr(error, "response", None)
    answer = response.get("Error") if isinstance(response, dict) else None
    return str(answer.get("Code", "")) if isinstance(answer, dict) else ""


def _words(error: BaseException) -> str:
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return text[:200]
