"""The client's side: publishing models at a network of parties, and querying them.

from tacita.client import Client

with Client("client.toml") as client:
    scores = client.predict("mnist", images)
"""

from tacita.client.async_client import AsyncClient, PartyStatus
from tacita.client.client import Client
from tacita.client.published import Field, PublishedModel

__all__ = ["AsyncClient", "Client", "Field", "PartyStatus", "PublishedModel"]
