"""The command line's connection to NATS for reading events: personal data in them comes as plain text."""

from nats.aio.client import Client

from infra.runtime.connections import connect_nats
from infra.security.key_lifecycle import KeyTerms
from infra.security.secrets import Secrets
from infra.settings import Settings
from streams.personal_data.data_keys import DataKeys
from streams.personal_data.key_store import KeyStore
from streams.personal_data.reading import unseal_with
from streams.personal_data.unsealer import Unsealer


async def connect_reader(settings: Settings, name: str, *, patience: float) -> Client:
    """Connects with the master keys of personal data in the folder of secrets, which are read when one is needed.

    Raises: as `connect_nats` does.
    """
    nc = await connect_nats(settings, name, patience=patience)
    master_keys = Secrets.load(settings.secrets_path).personal_data_keys(KeyTerms.of(settings))
    unseal_with(nc, Unsealer(DataKeys(KeyStore(nc), master_keys)))
    return nc
