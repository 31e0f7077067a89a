"""Keys that seal the secrets of authenticator apps: a key ring (infra/security/key_ring.py) of `totp-<key id>.key`.

A secret is sealed again, with the current key, by each event of its account's second factor. Deleting a key makes the
codes of accounts that were not used since the rotation useless; their recovery codes still work.
"""

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from infra.security.key_ring import KeyFiles, KeyRing

# AES-256-GCM.
FILES = KeyFiles(name="totp", length=32, cipher=AESGCM, command="rotate-totp")
TotpKeys = KeyRing[AESGCM]
