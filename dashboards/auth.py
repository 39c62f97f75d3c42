"""One-time links, and the key that signs the cookies of sessions.

A link carries a token of 192 random bits. On disk lies only its SHA-256, as the name of an empty
file: removing that file is how the link is used, so of two readers with one link exactly one gets
in, in whichever process they arrive. docs/adr/0006-token.md has the reasons.
"""

import hashlib
import os
import secrets
import time
from contextlib import suppress
from pathlib import Path

LINK_LIFETIME_S = 24 * 3600
"""Seconds that an unused link stays good."""


class Links:
    """The unused one-time links of one data folder, shared by all processes that open it.

    Parameters
    ----------
    folder
        Made with access for its owner only; holds one empty file an unused link.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)

    def new_token(self) -> str:
        """Return a token that `use` accepts once, within a day."""
        self._remove_expired()
        token = secrets.token_urlsafe(24)
        os.close(os.open(self._path(token), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        return token

    def use(self, token: str) -> bool:
        """Return whether the token was good; from now on it is not.

        Looking the digest up as a file name leaks no timing that helps: whoever does not know the
        token cannot choose its digest.
        """
        path = self._path(token)
        try:
            is_fresh = path.stat().st_mtime > time.time() - LINK_LIFETIME_S
            path.unlink()
        except FileNotFoundError:
            return False
        return is_fresh

    def _path(self, token: str) -> Path:
        # surrogates can arrive in a form field; they must be wrong, not an error
        digest = hashlib.sha256(token.encode(errors="surrogatepass"))
        return self._folder / digest.hexdigest()

    def _remove_expired(self) -> None:
        oldest = time.time() - LINK_LIFETIME_S
        for path in self._folder.iterdir():
            with suppress(FileNotFoundError):  # used in this very moment
                if path.stat().st_mtime <= oldest:
                    path.unlink()


def read_secret_key(path: Path) -> bytes:
    """Return the key that signs the sessions, made at the first call; only its owner can read it.

    Whoever removes the file signs everybody out.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    descriptor = os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.token_bytes(32))
    try:
        os.link(unfinished, path)  # two processes that start at once agree on the first one's key
    except FileExistsError:
        path.chmod(0o600)
    finally:
        unfinished.unlink()
    return path.read_bytes()
