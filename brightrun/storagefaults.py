"""What kind of storage trouble an exception is: one pure function for pod and control plane.

Temporary faults are waited out while training goes on. Lasting ones (full, expired, denied, gone)
need a person: they are told at once, tried again for a few minutes, and then end the pod.
"""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass

from brightrun.errors import StorageError, chain
from brightrun.faults import FAULTS

# Their names in brightrun.faults, which says what they mean and how they are mended.
AWAY = "storage_away"
FULL = "disk_full"
EXPIRED = "storage_expired"
DENIED = "storage_denied"
READ_ONLY = "storage_read_only"
GONE = "storage_gone"

# errno -> name; every other errno of an OSError is temporary.
ERRNO: dict[int, str] = {
    errno.ENOSPC: FULL, errno.EDQUOT: FULL, errno.EFBIG: FULL, errno.EMSGSIZE: FULL,
    errno.EACCES: DENIED, errno.EPERM: DENIED, errno.EROFS: READ_ONLY,
    errno.ENOENT: GONE, errno.ENOTDIR: GONE,
}  # fmt: skip
# Error codes of S3 and of those who speak it.
CODES: dict[str, str] = {
    **dict.fromkeys(("QuotaExceeded", "XMinioStorageFull", "InsufficientStorage", "507"), FULL),
    **dict.fromkeys(
        ("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired",
         "InvalidToken"), EXPIRED),
    **dict.fromkeys(
        ("AccessDenied", "AllAccessDisabled", "AccountProblem", "InvalidAccessKeyId",
         "InvalidSecurity", "SignatureDoesNotMatch", "NotSignedUp", "Forbidden", "403",
         "MethodNotAllowed", "RequestTimeTooSkewed"), DENIED),
    **dict.fromkeys(("NoSuchBucket", "404"), GONE),
}  # fmt: skip
# botocore's exceptions that are no answer of the server, by name: it is not imported here.
NAMES: dict[str, str] = {
    "NoCredentialsError": DENIED,
    "PartialCredentialsError": DENIED,
    "CredentialRetrievalError": DENIED,
    "TokenRetrievalError": EXPIRED,
    "UnauthorizedSSOTokenError": EXPIRED,
    **dict.fromkeys(
        ("EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "HTTPClientError",
         "ConnectionClosedError", "ProxyConnectionError", "SSLError", "ResponseStreamingError",
         "ClientError", "BotoCoreError", "FSTimeoutError"), AWAY),
}  # fmt: skip
OS_ERROR = re.compile(r"os error (\d+)")
ARCHIVE_WORDS = ("PytorchStreamWriter", "inline_container", "unexpected pos")
NEARLY_FULL_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Trouble:
    """One kind of trouble by its `name`, with the exception's own words as `detail`."""

    name: str
    detail: str

    @property
    def lasting(self) -> bool:
        """Whether waiting alone will not mend it."""
        return self.name != AWAY

    def error(self, what: str, tail: str = "") -> StorageError:
        """As an exception: `what` could not be done."""
        happened = FAULTS[self.name].title
        said = f"{what}: {happened[0].lower()}{happened[1:]} ({self.detail}){tail}"
        return StorageError(said, fault=self.name)


def is_outage(error: BaseException) -> bool:
    """Whether storage (or a ledger on it) failed, not the program that asked."""
    return isinstance(error, StorageError) or classify(error) is not None


def classify(error: BaseException) -> Trouble | None:
    """The storage trouble behind an exception, or None when it is no trouble of the storage.

    The server's own code says most, then botocore's exceptions by name, then the errno.
    """
    behind = list(chain(error))
    for found in behind:
        code = _code(found)
        if code in CODES:
            return Trouble(CODES[code], f"{code}: {_words(found)}")
    for found in behind:
        names = [kind.__name__ for kind in type(found).__mro__]
        kind = next((NAMES[name] for name in names if name in NAMES), None)
        if kind is not None:
            return Trouble(kind, _words(found))
    for found in behind:
        if isinstance(found, OSError):
            return Trouble(_of_os_error(found), _words(found))
    return None


def told_by_storage(error: BaseException) -> bool:
    """Whether an S3 server, its client or a disk speaks, and not just any OSError of a program."""
    return any(
        _code(found) in CODES
        or any(kind.__name__ in NAMES for kind in type(found).__mro__)
        or getattr(found, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
        for found in chain(error)
    )


def local_fault(error: BaseException, free_bytes: int) -> Trouble | None:
    """Like `classify`, for a checkpoint written to the pod's own disk.

    safetensors names the errno in its text; torch's archive writer says only that a write failed,
    and the free space has to tell why.
    """
    number = OS_ERROR.search(str(error))
    if number is not None and not isinstance(error, OSError):
        return Trouble(ERRNO.get(int(number[1]), AWAY), _words(error))
    if isinstance(error, RuntimeError) and any(word in str(error) for word in ARCHIVE_WORDS):
        return Trouble(FULL if free_bytes < NEARLY_FULL_BYTES else AWAY, _words(error))
    return classify(error)


def _of_os_error(error: OSError) -> str:
    if error.errno in ERRNO:
        return ERRNO[error.errno]
    # fsspec's adapters raise these classes without an errno.
    if isinstance(error, PermissionError):
        return DENIED
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return GONE
    return AWAY


def _code(error: BaseException) -> str:
    """Code in the answer of an S3 server (botocore's ClientError), or nothing."""
    response = getattr(error, "response", None)
    answer = response.get("Error") if isinstance(response, dict) else None
    return str(answer.get("Code", "")) if isinstance(answer, dict) else ""


def _words(error: BaseException) -> str:
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return text[:200]
