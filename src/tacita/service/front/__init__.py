"""The HTTPS front of a party: an application over an `Engine`, and what serves it."""
