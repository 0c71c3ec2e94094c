"""What one front takes, of everybody together and of each principal."""

from __future__ import annotations

from dataclasses import dataclass, field

from tacita.network.tensors import TensorLimits

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class FrontLimits:
    """Sizes in bytes, times in seconds.

    queries_at_once: queries beyond it are sent away, they do not wait. changes_at_once: of
    publications, removals and orders to deal. answers_at_once: of everything else that has to ask
    the engine. uploads_at_once: bodies that are being received. requests_each: of one principal,
    of any kind. query_seconds and publication_seconds: to receive such a body; answer_seconds: to
    send an answer. connection_seconds: a connection is not kept longer than this, so that a
    certificate that has run out does not live on in one.
    """

    queries_at_once: int = 8
    changes_at_once: int = 2
    answers_at_once: int = 8
    uploads_at_once: int = 16
    requests_each: int = 12
    largest_query: int = 256 * MIB
    largest_publication: int = 4096 * MIB
    query_seconds: float = 30.0
    publication_seconds: float = 900.0
    answer_seconds: float = 60.0
    head_bytes: int = 16 << 10
    head_seconds: float = 10.0
    handshake_seconds: float = 10.0
    keep_alive_seconds: float = 60.0
    connection_seconds: float = 3600.0
    connections: int = 256
    shutdown_seconds: float = 10.0
    tensors: TensorLimits = field(default_factory=TensorLimits)
