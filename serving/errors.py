"""Every error that asking a model can raise, on both sides of the wire.

    ServingError
    ├── TransportError               no answer came
    │   ├── Unreachable              nobody listens, or the server is not ready
    │   └── TimedOut                 no answer within the timeout
    ├── RequestRefused               the server answered: not this request
    │   ├── InvalidArgument          a name, type, shape or value that does not fit
    │   ├── FailedPrecondition       for example a signature that the model lacks
    │   ├── OutOfRange               a value outside of what the graph accepts
    │   ├── NotFound                 no such model or version
    │   ├── AlreadyExists            what was to be made is there
    │   ├── Aborted                  given up for another call's sake
    │   ├── Cancelled                given up by the caller
    │   ├── ResourceExhausted        a queue or a quota is full
    │   ├── Unauthenticated          no credentials
    │   ├── PermissionDenied         not with these credentials
    │   └── Unimplemented            the server lacks the method or the conversion
    ├── ServerFault                  the server answered: my own failure
    │   ├── InternalFault            an invariant broke
    │   └── DataLoss                 data cannot be recovered
    └── RowError                     the call succeeded, but some rows carry a bad status

The server raises the classes that `TABLE` lists; its front ends turn them into a gRPC code
or an HTTP status, and the client's transports turn these back into the same classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np


class ServingError(Exception):
    """A model could not be asked, or did not answer as expected."""


class TransportError(ServingError):
    """No answer came back."""


class Unreachable(TransportError):
    """The address does not answer, or the server says that it is not ready."""


class TimedOut(TransportError):
    """The answer did not come within the timeout."""


class RequestRefused(ServingError):
    """The server refused the request; sent again unchanged it will be refused again."""


class InvalidArgument(RequestRefused):
    """A name, type, shape or value does not fit the signature."""


class FailedPrecondition(RequestRefused):
    """The model is not in a state for this request, for example it lacks the signature."""


class OutOfRange(RequestRefused):
    """A value lies outside of what the graph accepts."""


class NotFound(RequestRefused):
    """No such model, or no such version of it."""


class AlreadyExists(RequestRefused):
    """What was to be made is there already."""


class Aborted(RequestRefused):
    """The server gave the call up, for example for another call's sake."""


class Cancelled(RequestRefused):
    """The call was cancelled before it was answered."""


class ResourceExhausted(RequestRefused):
    """A queue, a quota or the memory is full."""


class Unauthenticated(RequestRefused):
    """The server wants credentials."""


class PermissionDenied(RequestRefused):
    """The credentials do not allow this request."""


class Unimplemented(RequestRefused):
    """The server does not have the method, or cannot convert the type."""


class ServerFault(ServingError):
    """The server failed through no fault of the request."""


class InternalFault(ServerFault):
    """An invariant broke inside the server; its log has the details."""


class DataLoss(ServerFault):
    """The server lost data that it cannot recover."""


class RowError(ServingError):
    """The call succeeded, but the model could not use some of its rows.

    Attributes:
        rows: Row index -> the reason that the model gave in its `status` output.
        answer: The full answer, in which bad rows hold neutral values.
    """

    LISTED = 3

    def __init__(self, rows: Mapping[int, str], answer: Mapping[str, np.ndarray]) -> None:
        self.rows, self.answer = dict(rows), dict(answer)
        total = len(self.answer["status"])
        shown = "; ".join(f"row {i}: {self.rows[i]}" for i in sorted(self.rows)[: self.LISTED])
        more = "; ..." if len(self.rows) > self.LISTED else ""
        super().__init__(f"{len(self.rows)} of {total} rows cannot be used: {shown}{more}")


class Row(NamedTuple):
    """One line of `TABLE`."""

    error: type[ServingError]
    code: int
    """gRPC status code, as a number."""
    name: str
    """The code's published name."""
    http: int
    """HTTP status of the REST interface."""


# The order matters in one respect: where several codes share an HTTP status, the first row
# is what a REST client makes of it.
TABLE = (
    Row(InvalidArgument, 3, "INVALID_ARGUMENT", 400),
    Row(FailedPrecondition, 9, "FAILED_PRECONDITION", 400),
    Row(OutOfRange, 11, "OUT_OF_RANGE", 400),
    Row(Unauthenticated, 16, "UNAUTHENTICATED", 401),
    Row(PermissionDenied, 7, "PERMISSION_DENIED", 403),
    Row(NotFound, 5, "NOT_FOUND", 404),
    Row(AlreadyExists, 6, "ALREADY_EXISTS", 409),
    Row(Aborted, 10, "ABORTED", 409),
    Row(ResourceExhausted, 8, "RESOURCE_EXHAUSTED", 429),
    Row(Cancelled, 1, "CANCELLED", 499),
    Row(ServerFault, 2, "UNKNOWN", 500),
    Row(InternalFault, 13, "INTERNAL", 500),
    Row(DataLoss, 15, "DATA_LOSS", 500),
    Row(Unimplemented, 12, "UNIMPLEMENTED", 501),
    Row(Unreachable, 14, "UNAVAILABLE", 503),
    Row(TimedOut, 4, "DEADLINE_EXCEEDED", 504),
)
_BY_CODE = {row.code: row for row in TABLE}
_BY_HTTP = {row.http: row for row in reversed(TABLE)}
_BY_ERROR = {row.error: row for row in TABLE}
_UNKNOWN = _BY_ERROR[ServerFault]


def row_of(error: ServingError) -> Row:
    """Return the code and the HTTP status under which a server reports an error."""
    return _BY_ERROR.get(type(error), _UNKNOWN)


def message_of(error: ServingError) -> str:
    """Return an error's message as text that can be sent: what is not Unicode becomes "?"."""
    return str(error).encode(errors="replace").decode()


def from_code(code: int, message: str) -> ServingError:
    """Return the error that stands for a gRPC code; `ServerFault` for an unknown one."""
    return _BY_CODE.get(code, _UNKNOWN).error(message)


def from_http(status: int, message: str) -> ServingError:
    """Return the error that stands for an HTTP status; by its hundreds if it is not listed."""
    row = _BY_HTTP.get(status)
    if row is None and 400 <= status < 500:
        return RequestRefused(message)
    return (row or _UNKNOWN).error(message)
