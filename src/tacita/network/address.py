"""Where a daemon listens, or is reached: host and port."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tacita.errors import ConfigError

HIGHEST_PORT = 65535
BRACKETED = re.compile(r"\[([^\[\]]+)\]:([0-9]{1,5})", re.ASCII)
PLAIN = re.compile(r"([^\s:\[\]/]+):([0-9]{1,5})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Address:
    """host: a name, an IPv4 address, or an IPv6 address without brackets. port: 0 lets the system
    choose one (for listening only)."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> Address:
        """`host:port`, an IPv6 host in brackets: `[::1]:8442`.

        Raises ConfigError for anything else.
        """
        match = BRACKETED.fullmatch(text) if text.startswith("[") else PLAIN.fullmatch(text)
        if match is None:
            raise ConfigError(
                f"{text!r} is no address; write host:port, an IPv6 host in brackets: [::1]:8442"
            )
        port = int(match[2])
        if port > HIGHEST_PORT:
            raise ConfigError(f"{text!r}: the port is {port}; the highest is {HIGHEST_PORT}")
        return cls(match[1], port)
