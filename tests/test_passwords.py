"""Passwords: what is good enough, and what is kept of them."""

import statistics
import time

import pytest

from recgraph.errors import InputError
from recgraph.passwords import (
    MAX_LENGTH,
    MIN_LENGTH,
    check_password,
    hash_password,
    verify_password,
)

ANN = "ann.smith@example.com"
GOOD = "nine purple tram stops"


@pytest.mark.parametrize(
    "password", [GOOD, "Grüße aus Ottensheim 🍉", "x7$Kq!mZ2p&W", "鳥と魚と木と空と石と川と雲"]
)
def test_good_password_is_taken(password: str) -> None:
    check_password(password, email=ANN)


@pytest.mark.parametrize(
    ("password", "problem"),
    [
        ("", "of 0 characters"),
        ("x7$Kq!mZ2p&", "of 11 characters; expected 12 to 256"),
        ("ab" * MAX_LENGTH, "of 512 characters"),
        ("password1234", "too easy"),
        ("aaaaaaaaaaaaaaaa", "too easy"),
        ("qwertyuiop12", "too easy"),
        ("recgraphrecgraph", "too easy"),
        (ANN, "too easy"),
        ("ann.smith2026", "too easy"),
    ],
)
def test_bad_password_is_refused_without_being_quoted(password: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem) as caught:
        check_password(password, email=ANN)
    assert not password or password not in str(caught.value)


def test_hash_is_argon2id_with_a_salt_of_its_own() -> None:
    first, second = hash_password(GOOD), hash_password(GOOD)
    assert first.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert first != second
    assert GOOD not in first
    assert verify_password(GOOD, first)
    assert verify_password(GOOD, second)


@pytest.mark.parametrize("password", ["", GOOD + " ", GOOD.upper(), "x" * 10_000, "\ud800"])
def test_other_passwords_do_not_fit(password: str) -> None:
    assert not verify_password(password, hash_password(GOOD))


def test_password_is_the_same_from_every_keyboard() -> None:
    composed, decomposed = "Müsli über Öl 2026", "Mu\u0308sli u\u0308ber O\u0308l 2026"
    assert verify_password(decomposed, hash_password(composed))


def test_nobody_has_no_password() -> None:
    assert not verify_password("", None)
    assert not verify_password(GOOD, None)


def test_damaged_hash_lets_nobody_in() -> None:
    assert not verify_password(GOOD, "no hash")


def test_nobody_takes_as_long_as_somebody() -> None:
    kept = hash_password(GOOD)

    def seconds(password_hash: str | None) -> float:
        started = time.process_time()
        verify_password("wrong", password_hash)
        return time.process_time() - started

    times = [(seconds(kept), seconds(None)) for _ in range(15)]
    somebody, nobody = (statistics.median(each) for each in zip(*times, strict=True))
    assert 0.5 < nobody / somebody < 2.0


def test_shortest_password_is_long_enough() -> None:
    assert MIN_LENGTH >= 12
