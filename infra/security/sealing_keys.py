"""Rings of keys that seal data of the events (infra/security/key_ring.py): AES-256-GCM, one ring per purpose.

`totp-<key id>.key` seals the secrets of authenticator apps. A secret is sealed again, with the current key, by each
event of its account's second factor. Deleting a key makes the codes of accounts that were not used since the rotation
useless; their recovery codes still work.

`personal-data-<key id>.key` wraps the keys of persons, which seal personal data (streams/personal_data). `vestnik keys
rewrap` wraps those of an older key with the current one; until then, deleting the older one makes the personal data of
these persons unreadable.
"""

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from infra.security.key_ring import KeyFiles, KeyRing

TOTP = KeyFiles(name="totp", length=32, cipher=AESGCM, command="rotate-totp")
PERSONAL_DATA = KeyFiles(name="personal-data", length=32, cipher=AESGCM, command="rotate-personal-data")
SealingKeys = KeyRing[AESGCM]
