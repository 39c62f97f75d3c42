"""A password -> whether it is good enough, and the argon2id hash that is kept in its place.

Text in, text out; nothing is stored or logged here.

References
----------
NIST SP 800-63B-4, section 3.1.1: length and a list of bad passwords, no rules of composition.
OWASP Password Storage Cheat Sheet: argon2id with 19 MiB, two passes, one lane.
"""

import functools
import re
import unicodedata
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from recgraph.errors import InputError

MIN_LENGTH = 12
"""Letters a password has at least."""
MAX_LENGTH = 256
"""Letters a password has at most: hashing text of any length would be a way to stop a server."""
MIN_STRENGTH = 3
"""Least strength of 0 to 4 by zxcvbn: 3 takes more than 10^8 guesses."""

_ZXCVBN_READS = 72
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_ONE_BY_ONE = ThreadPoolExecutor(1)
"""Makes the hashes of a process: a flood of sign-ins takes one core of it at most. The C library
keeps 19 MiB for each thread that has ever hashed, so it is always the same one."""


def check_password(password: str, *, email: str) -> None:
    """Return if the password may be used by this account.

    Raises
    ------
    InputError
        It is too short, too long, or too easy to guess; the message never quotes it.
    """
    length = len(_normal(password))
    if not MIN_LENGTH <= length <= MAX_LENGTH:
        message = (
            f"a password of {length} characters; expected {MIN_LENGTH} to {MAX_LENGTH}. "
            "Some words that do not belong together are easy to keep in mind."
        )
        raise InputError(message)
    weakness = _weakness(password, email)
    if weakness:
        message = f"this password is too easy to guess. {weakness}"
        raise InputError(message)


def _weakness(password: str, email: str) -> str | None:
    """Return what is wrong with a password in a sentence, or None."""
    from zxcvbn import zxcvbn  # its lists of words take a tenth of a second to load

    known = [email, email.partition("@")[0], *re.split(r"\W+", email), "recgraph"]
    found = zxcvbn(_normal(password)[:_ZXCVBN_READS], user_inputs=known, max_length=_ZXCVBN_READS)
    if found["score"] >= MIN_STRENGTH:
        return None
    feedback = found["feedback"]
    sentences = [feedback["warning"], *feedback["suggestions"]]
    return " ".join(filter(None, sentences)) or "Add some words."


def hash_password(password: str) -> str:
    """Return the argon2id hash of a password, with its own salt."""
    return _ONE_BY_ONE.submit(_HASHER.hash, _normal(password)).result()


def verify_password(password: str, password_hash: str | None) -> bool:
    """Return whether the hash is of this password; without a hash, False in the same time.

    Parameters
    ----------
    password_hash
        None for an account that does not exist: the answer then takes as long, and so tells
        nobody which accounts there are.
    """
    if len(password) > MAX_LENGTH:
        password = ""
    return _ONE_BY_ONE.submit(_verify, _normal(password), password_hash).result()


def _verify(password: str, password_hash: str | None) -> bool:
    try:
        _HASHER.verify(password_hash or _hash_of_nobody(), password)
    except (VerificationError, InvalidHashError):
        return False
    return password_hash is not None


@functools.cache
def _hash_of_nobody() -> str:
    return _HASHER.hash("")


def _normal(password: str) -> str:
    """Return the password as every keyboard writes it (NFKC), half characters replaced."""
    return unicodedata.normalize("NFKC", password).encode(errors="replace").decode()
