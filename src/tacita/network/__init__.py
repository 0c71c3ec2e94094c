"""Roles on machines of their own: identities, TLS, frames and links between them."""
