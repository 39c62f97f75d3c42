"""Roles, scopes, names of accounts and keys."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recgraph.accounts import (
    KEY_SCOPES,
    ROLES,
    SCOPES_OF_ROLE,
    Account,
    ApiKey,
    digest_of,
    fold_email,
    network_of,
    new_key_secret,
    parse_email,
    parse_key_name,
    parse_key_scopes,
    parse_role,
    prefix_of,
    principal_from_account,
    principal_from_key,
    principal_of_this_machine,
)
from recgraph.errors import InputError

NOW = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ann@Example.COM", "ann@example.com"),
        (" ann@example.com\n", "ann@example.com"),
        ("ANN.SMITH+x@shop.test", "ann.smith+x@shop.test"),
        ("Straße@exämple.com", "strasse@exämple.com"),
    ],
)
def test_email_is_folded(text: str, expected: str) -> None:
    assert parse_email(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "ann", "ann@", "@x.com", "a b@x.com", "ann@x..com", "a" * 300 + "@x.com", "a@\x00.c"],
)
def test_what_is_no_email_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="no e-mail address"):
        parse_email(text)


@given(st.text())
def test_any_text_can_be_looked_for(text: str) -> None:
    assert fold_email(fold_email(text)) == fold_email(text)
    assert len(fold_email(text)) <= 3 * 254


@given(st.emails())
def test_email_is_found_under_its_folded_name(email: str) -> None:
    try:
        parsed = parse_email(email)
    except InputError:
        return
    assert fold_email(parsed) == parsed


def test_each_role_may_what_the_one_before_may() -> None:
    scopes = [SCOPES_OF_ROLE[role] for role in ROLES]
    assert scopes[0] < scopes[1] < scopes[2]
    assert scopes[0] == {"read"}


def test_principal_may_what_role_or_key_says() -> None:
    account = Account("id", "ann@example.com", "operator", is_active=True, created_at=NOW)
    ann = principal_from_account(account)
    assert (ann.kind, ann.name, ann.role) == ("account", "ann@example.com", "operator")
    assert [ann.may("read"), ann.may("operate"), ann.may("admin")] == [True, True, False]
    till = principal_from_key(ApiKey("rg_1", "till", ("write",), NOW))
    assert [till.may("read"), till.may("write"), till.may("operate")] == [False, True, False]
    both = principal_from_key(ApiKey("rg_1", "till", ("read", "write"), NOW))
    assert both.scopes == {"read", "write"}
    assert principal_of_this_machine().may("admin")


def test_role_that_is_none_is_refused() -> None:
    assert [parse_role(role) for role in ROLES] == list(ROLES)
    for text in ("", "king", "Admin"):
        with pytest.raises(InputError, match="viewer, operator, admin"):
            parse_role(text)


def test_scopes_of_a_key_are_named_ones_without_repeats() -> None:
    assert parse_key_scopes(["write", "read", "write"]) == ("read", "write")
    assert parse_key_scopes(list(KEY_SCOPES)) == KEY_SCOPES
    for texts in ([], ["operate"], ["read", "$gt"]):
        with pytest.raises(InputError, match="expected one or more of read, write, admin"):
            parse_key_scopes(texts)


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 101, "\x1b[31mred"])
def test_name_of_a_key_is_one_line(name: str) -> None:
    assert parse_key_name(" till 3 ") == "till 3"
    with pytest.raises(InputError, match="key name"):
        parse_key_name(name)


def test_secrets_differ_and_show_only_their_prefix() -> None:
    secrets = [new_key_secret() for _ in range(100)]
    assert len(set(secrets)) == 100
    for secret in secrets:
        assert re.fullmatch(r"rg_[0-9a-f]{8}_[\w-]{43}", secret)
        assert prefix_of(secret) == secret[:11]
        assert secret[12:] not in digest_of(secret)


def test_key_expires_when_its_time_is_over() -> None:
    now = datetime.now(UTC)
    ages = [None, now + timedelta(minutes=1), now - timedelta(seconds=1)]
    keys = [ApiKey("rg_1", "till", ("read",), NOW, expires_at) for expires_at in ages]
    assert [key.is_expired() for key in keys] == [False, False, True]


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7/32"),
        ("192.0.2.7:51034", "192.0.2.7/32"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::9]:443", "2001:db8:1:2::/64"),
        ("unknown", "unknown"),
        ("[::1", "[::1"),
    ],
)
def test_an_address_is_of_a_network_whatever_a_proxy_writes(address: str, network: str) -> None:
    assert network_of(address) == network
