"""Keys of the server: a file of salted hashes, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from lineup.documents import DocumentFormat
from lineup.errors import UsageError
from lineup.files import state_from_file, write_atomic

KEY_BYTES = 32
SALT_BYTES = 16

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Key:
    """Who holds a key; the key itself is not kept.

    Attributes:
        name: For people and logs.
        salt: Hex digits in front of the key when it is hashed.
        sha256: Hex digest of both. The key is random and long, so one round is enough.
        may_enroll: Whether it may change the gallery.
    """

    name: Annotated[str, Meta(min_length=1, max_length=80)]
    salt: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$")]
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
    may_enroll: bool = False


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of a file."""

    keys: tuple[Key, ...] = ()

    def key_of(self, token: bytes) -> Key | None:
        """Return whose key this is; takes as long whether it is one or not."""
        found = None
        for key in self.keys:
            if hmac.compare_digest(_digest(key.salt, token), key.sha256):
                found = key
        return found


KEYS = DocumentFormat(
    Keys, UsageError, hint="Make keys with: lineup serve --keys FILE --make-key NAME"
)


class KeyFile:
    """The keys of a file as it is now: what is added or taken away counts from the next request.

    Args:
        path: Made by `make_key`.

    Raises:
        UsageError: It cannot be read. Where that is so later, nobody's key is one until it can.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._state = state_from_file(path)
        self._keys = KEYS.read(path)

    def key_of(self, token: bytes) -> Key | None:
        """See `Keys.key_of`."""
        state = state_from_file(self._path)
        if state != self._state:
            self._state = state
            try:
                self._keys = KEYS.read(self._path)
            except UsageError as error:
                logger.error("the keys cannot be read: %s", error)
                self._keys = Keys()
        return self._keys.key_of(token)


def _digest(salt: str, token: bytes) -> str:
    return hashlib.sha256(bytes.fromhex(salt) + token).hexdigest()


def make_key(path: Path, name: str, *, may_enroll: bool) -> str:
    """Add a key to a file, which is made if need be, readable by its owner alone.

    Returns:
        The key, which nobody can read again.

    Raises:
        UsageError: The file is no file of keys or cannot be written, or has a key of this name.
    """
    keys = KEYS.read(path).keys if path.exists() else ()
    if any(key.name == name for key in keys):
        raise UsageError(f"{path} has a key {name!r} already.", hint="Choose another name.")
    token = secrets.token_urlsafe(KEY_BYTES)
    salt = secrets.token_hex(SALT_BYTES)
    key = Key(name, salt, _digest(salt, token.encode()), may_enroll)
    if not path.exists():
        path.touch(mode=0o600)
    write_atomic(path, KEYS.to_bytes(Keys((*keys, key))))
    return token
