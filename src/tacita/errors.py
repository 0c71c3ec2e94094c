"""Every error that Tacita raises, as one tree.

    TacitaError
    ├── UsageError            the caller's mistake; nothing was sent, every party is usable
    │   ├── EncodingError         a value has no fixed-point form (non-finite, too large, …)
    │   ├── HoldersError          who holds the shares: too few, twice the same, or mixed
    │   ├── PrecisionError        operands of different fixed precision
    │   ├── ShapeError            shapes that do not fit the operation
    │   ├── MissingDealerError    the operation needs a crypto provider and has none
    │   ├── UnsupportedOperation  an operation that has no protocol
    │   ├── PrivateValueError     a private value where Python needs a public one
    │   ├── DataError             a data file that is missing, cut or altered
    │   ├── UnknownModel          no model of this name is there, or not for this principal
    │   ├── AlreadyUsed           an id or a name that was used before
    │   ├── Unauthenticated       a request without a certificate that names a principal
    │   ├── BodyTooLarge          a request with more in it than its kind may have
    │   ├── BodyTooSlow           a request that did not arrive within its limit
    │   ├── ConfigError           a configuration or policy that cannot be used
    │   ├── CredentialError       a certificate or key that is missing, expired or foreign
    │   └── ProgramError          a program that is malformed, cut, altered or of another version
    ├── Refused               a party's policy does not allow what was asked for
    │   └── RateExceeded          it would, but not so often, or not so much at once
    │       └── ComeBack              and says when it will again
    ├── NotReady              a party, or a model of it, cannot answer now; later it may
    │   └── Busy                  it works on as many requests as its limits allow
    ├── AuditFailed           what was to be recorded could not be, and so did not happen
    ├── BoundExceeded         checked mode found a value outside its declared bound
    ├── PeerError             another role of the session
    │   ├── PeerTimeout           it did not answer within the limit
    │   ├── PeerFailed            it stopped with an error of its own, or cannot be reached
    │   │   └── FrameError            it sent what the frame format does not allow
    │   └── SessionClosed         the session has ended; share the data again
    └── MaterialError         dealt correlated randomness
        ├── MaskReused            a one-time mask or stream was asked for twice
        ├── StockEmpty            no dealt batch is left, and none came within the limit
        └── MaterialMismatch      what was dealt does not fit the instruction

Messages carry names, shapes, indices and ids, never values, shares or keys.
"""

from __future__ import annotations


class TacitaError(Exception):
    """The root of the tree."""


class UsageError(TacitaError):
    """The caller's mistake; nothing was sent to any party."""


class EncodingError(UsageError, ValueError):
    """A value has no fixed-point form at the wanted precision."""


class HoldersError(UsageError, ValueError):
    """The holders of shares are too few, repeated, or differ between operands."""


class PrecisionError(UsageError, ValueError):
    """Operands were encoded with different fixed precisions."""


class ShapeError(UsageError, ValueError):
    """Shapes that do not fit the operation."""


class MissingDealerError(UsageError):
    """The operation needs correlated randomness and the tensor has no crypto provider."""


class UnsupportedOperation(UsageError, NotImplementedError):
    """The operation has no protocol."""


class PrivateValueError(UsageError, TypeError):
    """A private value was used where Python needs to see the value itself."""


class DataError(UsageError):
    """A data file is missing, cut, altered or cannot be fetched."""


class UnknownModel(UsageError):
    """No model of this name is published at a party, or not for this principal."""


class AlreadyUsed(UsageError):
    """A query's id, a model's id or a model's name was used before."""


class Unauthenticated(UsageError):
    """A request came without a certificate that names a principal."""


class BodyTooLarge(UsageError):
    """A request's body is over the limit of its endpoint."""


class BodyTooSlow(UsageError):
    """A request's body did not arrive within the limit of its endpoint."""


class ConfigError(UsageError):
    """A configuration or policy file has a field that is missing or cannot be used."""


class CredentialError(UsageError):
    """A certificate, key or authority is missing, expired, foreign or open to others."""


class ProgramError(UsageError, ValueError):
    """A program, or a file of one, is malformed, cut, altered or of another version."""


class Refused(TacitaError):
    """A party's policy does not allow this principal what it asked for."""


class RateExceeded(Refused):
    """A principal asks more often, or for more at once, than a party's policy allows it."""


class ComeBack(RateExceeded):
    """Too often, or too much at once. `retry_after`: in how many seconds to try again."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class NotReady(TacitaError):
    """A party, or a model of it, cannot answer now; later it may."""


class Busy(NotReady):
    """As many requests of this kind as a party's limits allow are being worked on."""


class AuditFailed(TacitaError):
    """A record could not be written; what it was to be a record of must not happen."""


class BoundExceeded(TacitaError):
    """Checked mode found a value outside the bound that a protocol relies on."""


class PeerError(TacitaError):
    """Another role of the session failed."""


class PeerTimeout(PeerError):
    """A role did not answer within the limit."""


class PeerFailed(PeerError):
    """A role stopped with an error of its own."""


class FrameError(PeerFailed):
    """A peer sent bytes that the frame format does not allow; its connection is gone."""


class SessionClosed(PeerError):
    """The session has ended."""


class MaterialError(TacitaError):
    """Dealt correlated randomness was misused or does not fit."""


class MaskReused(MaterialError):
    """A one-time mask or pseudo-random stream was asked for twice."""


class StockEmpty(MaterialError):
    """A run needs a dealt batch, none is left, and none came within the limit."""


class MaterialMismatch(MaterialError):
    """What the dealer sent does not fit the instruction at hand."""
