"""Why a model did not arrive.

::

    FetchError
    ├── TransientError          heals: the same fetch may succeed later, so the container is simply run again
    │   ├── SourceUnreachable   nobody answers, or not with the artifact (connect, timeout, 5xx, 404, no such file)
    │   ├── SourceForbidden     the source asks for other credentials (401, 403)
    │   ├── NodeClockWrong      the source's certificate is not valid yet: the node's clock is behind
    │   ├── DiskFull            the node lacks room for it
    │   ├── CacheFull           the namespace's quota on the node is used up by what is in use
    │   ├── KeysMissing         a signature is to be verified and there is no trusted key
    │   ├── CacheUnusable       the cache cannot be read or written (permissions, read-only, I/O error)
    │   └── InternalError       a defect of this program
    └── PermanentError          does not heal: another spec or another artifact is needed
        ├── RequestInvalid      LITTORAL_FETCH is not what this version understands
        ├── UnsupportedSource   a URI or a kind of file that is not supported, or a path that may not be read
        ├── TooLarge            more bytes than spec.source.size declares
        ├── DigestMismatch      not the promised bytes
        ├── SignatureInvalid    not signed, or not by a trusted key
        ├── ArchiveUnsafe       an archive that would write or point outside itself, or swell beyond bounds
        └── LayoutInvalid       not the content of a Triton model directory

The class name is the reason (CamelCase) that conditions and Events show; the message is one sentence for people.
"""

import errno
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Final


class FetchError(Exception):
    """A model did not arrive. `reason` names the class in conditions, `heals` says whether trying again may help."""

    heals: ClassVar[bool] = True

    @property
    def reason(self) -> str:
        """CamelCase reason, as in metav1.Condition."""
        return type(self).__name__


class TransientError(FetchError):
    """The same fetch may succeed later."""


class PermanentError(FetchError):
    """The same fetch fails for ever: the spec or the artifact must change."""

    heals = False


class SourceUnreachable(TransientError):  # noqa: N818 - the class name is the reason shown in conditions
    """The source does not hand out the artifact now.

    `retry` says that another attempt within this process makes sense (a cut connection, not a 404); `retry_after` is
    the number of seconds that the server asked for, if it did.
    """

    def __init__(self, message: str, *, retry: bool = False, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry = retry
        self.retry_after = retry_after


class SourceForbidden(TransientError):  # noqa: N818 - see SourceUnreachable
    """The source does not hand out the artifact to whom it takes us for."""


class NodeClockWrong(TransientError):  # noqa: N818 - see SourceUnreachable
    """A certificate is not valid yet by the node's clock."""


class CacheFull(TransientError):  # noqa: N818 - see SourceUnreachable
    """The namespace's quota on this node leaves no room for the artifact."""


class KeysMissing(TransientError):  # noqa: N818 - see SourceUnreachable
    """No trusted key is at hand by which a signature could be verified."""


class DiskFull(TransientError):  # noqa: N818 - see SourceUnreachable
    """The cache's file system has no room for the artifact."""


class CacheUnusable(TransientError):  # noqa: N818 - see SourceUnreachable
    """The cache or the repository cannot be read or written."""


class InternalError(TransientError):
    """A defect of this program: shown as what it is, tried again."""


class RequestInvalid(PermanentError):  # noqa: N818 - see SourceUnreachable
    """The container's input is malformed."""


class UnsupportedSource(PermanentError):  # noqa: N818 - see SourceUnreachable
    """The URI names something that cannot or may not be read."""


class TooLarge(PermanentError):  # noqa: N818 - see SourceUnreachable
    """The artifact has more bytes than declared."""


class DigestMismatch(PermanentError):  # noqa: N818 - see SourceUnreachable
    """The artifact's SHA-256 is not the promised one."""


class SignatureInvalid(PermanentError):  # noqa: N818 - see SourceUnreachable
    """The artifact is not signed, or by nobody who is trusted."""


class ArchiveUnsafe(PermanentError):  # noqa: N818 - see SourceUnreachable
    """The archive must not be unpacked."""


class LayoutInvalid(PermanentError):  # noqa: N818 - see SourceUnreachable
    """The artifact holds no Triton model."""


_CLASSES: Final[tuple[type[FetchError], ...]] = (
    SourceUnreachable,
    SourceForbidden,
    NodeClockWrong,
    DiskFull,
    CacheFull,
    KeysMissing,
    CacheUnusable,
    InternalError,
    RequestInvalid,
    UnsupportedSource,
    TooLarge,
    DigestMismatch,
    SignatureInvalid,
    ArchiveUnsafe,
    LayoutInvalid,
)

REASONS: Final[Mapping[str, bool]] = MappingProxyType({cls.__name__: cls.heals for cls in _CLASSES})
"""Every reason a report can carry, and whether it may heal by itself."""


def from_os_error(error: OSError, doing: str) -> FetchError:
    """Return the storage failure that `error` is; `doing` completes the sentence "... failed"."""
    detail = error.strerror or str(error)
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return DiskFull(f"{doing} failed, the node's disk or quota is full ({detail}); free space on the node")
    where = f" ({error.filename})" if isinstance(error.filename, str) else ""
    return CacheUnusable(f"{doing} failed: {detail}{where}")
