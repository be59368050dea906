"""What the API server can answer instead of doing what was asked.

ApiError                  any refusal; the base of all
├── Unauthorized          401: the token is not taken (any more)
├── NotFound              404: no such object (or no such kind)
├── AlreadyExists         409: a create met an object of that name
├── Conflict              409: the object is not the one that the request named: another resourceVersion, another uid
├── Forbidden             403: RBAC, a quota, an admission policy, or a namespace that is going away
├── Invalid               422: validation; `causes` name the fields
├── Gone                  410: the resourceVersion or the continue token is too old
├── TooManyRequests       429: `retry_after` seconds
└── Unavailable           no usable answer: connection, timeout, 5xx; the write may or may not have happened

A Conflict asks for fresh data, Unavailable and TooManyRequests for time; Invalid and Forbidden need somebody to change
something. The queue retries all of them; the reconciler says on the object what a person has to do.

A request that carries the uid of an object that was deleted and made again is refused by the API server in three ways,
depending on the verb: 409 for delete, 409 for an apply that meets no object, and 422 "metadata.uid: field is immutable"
for patches. All three are Conflict here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Cause:
    """One field that the API server refused."""

    field: str
    """Dotted path, e.g. spec.variants[0].source.sha256; empty when the cause names none."""
    reason: str
    """The API's word, e.g. FieldValueInvalid, NamespaceTerminating."""
    message: str


class ApiError(Exception):
    """A request that the API server refused. `str()` says what was asked, the HTTP status and the server's sentence."""

    def __init__(
        self,
        request: str,
        message: str,
        *,
        status: int = 0,
        reason: str = "",
        causes: Sequence[Cause] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{request}: {message}")
        self.request = request
        """Verb and object, e.g. "apply deployments plant/reader"."""
        self.message = message
        self.status = status
        """HTTP status; 0 when there was no answer."""
        self.reason = reason
        """metav1.StatusReason, e.g. NotFound; empty when the answer was no Status."""
        self.causes = tuple(causes)
        self.retry_after = retry_after
        """Seconds that the server asked to wait, if it did."""

    @property
    def namespace_terminating(self) -> bool:
        """Whether the write was refused because its namespace is being deleted: there is nothing to retry for."""
        return any(cause.reason == "NamespaceTerminating" for cause in self.causes)

    @classmethod
    def from_answer(cls, request: str, status: int, body: Any, retry_after: float | None = None) -> "ApiError":
        """Build the error for an answer: `body` is a metav1.Status, or whatever a proxy in between sent."""
        answer = body if isinstance(body, Mapping) and body.get("kind") == "Status" else {}
        details = answer.get("details") or {}
        causes = tuple(
            Cause(str(cause.get("field", "")), str(cause.get("reason", "")), str(cause.get("message", "")))
            for cause in details.get("causes") or ()
        )
        reason = str(answer.get("reason", ""))
        if retry_after is None and details.get("retryAfterSeconds"):
            retry_after = float(details["retryAfterSeconds"])
        message = str(answer.get("message") or f"HTTP {status} with no explanation")
        if status == 422 and any(cause.field == "metadata.uid" for cause in causes):
            kind: type[ApiError] = Conflict
            message = f"the object was deleted and made again ({message})"
        else:
            kind = _class_for(status, reason)
        return kind(
            request,
            message,
            status=status,
            reason=reason,
            causes=causes,
            retry_after=retry_after,
        )


class Unauthorized(ApiError):  # noqa: N818 - named as the API names its reasons, here and below
    """401."""


class NotFound(ApiError):  # noqa: N818
    """404."""


class AlreadyExists(ApiError):  # noqa: N818
    """409, reason AlreadyExists."""


class Conflict(ApiError):  # noqa: N818
    """The object changed, or is another one of the same name; nothing was written."""


class Forbidden(ApiError):  # noqa: N818
    """403."""


class Invalid(ApiError):  # noqa: N818
    """422."""


class Gone(ApiError):  # noqa: N818
    """410."""


class TooManyRequests(ApiError):  # noqa: N818
    """429, also after the client's own retries."""


class Unavailable(ApiError):  # noqa: N818
    """No usable answer; a write may have happened all the same."""


_BY_STATUS: Mapping[int, type[ApiError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    422: Invalid,
    429: TooManyRequests,
}


def _class_for(status: int, reason: str) -> type[ApiError]:
    if reason == "AlreadyExists":
        return AlreadyExists
    return Unavailable if status >= 500 else _BY_STATUS.get(status, ApiError)
