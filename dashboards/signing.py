"""Signing in and out, and the page of one's own account.

A password or a one-time link -> a session in the store and a cookie with its token. Each form
carries a token against forgery; the answer to a wrong sign-in says nothing of whether there is such
an account, in words or in time.
"""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import flask_login
from flask import Flask, Response, redirect, render_template, request, session
from flask_wtf.csrf import generate_csrf, validate_csrf
from werkzeug.wrappers import Response as BaseResponse
from wtforms import ValidationError

from dashboards.access import (
    RETRY_AFTER_S,
    SignedIn,
    is_signed_in,
    needs,
    principal,
    sign_in_page,
    to_next_page,
)
from dashboards.auth import Links
from dashboards.text import span
from recgraph.accounts import (
    Account,
    Role,
    network_of,
    principal_from_account,
    principal_of_this_machine,
)
from recgraph.errors import InputError, StoreUnavailable
from recgraph.passwords import MIN_LENGTH, check_password, hash_password, verify_password
from recgraph.ports import Accounts

MAY_DO: Mapping[Role | None, str] = {
    "viewer": "You see all pages.",
    "operator": "You see all pages, choose the current generation and hide products.",
    "admin": "You may do everything.",
}
"""What each role means, in words."""

MAX_AT_ONCE = 4
"""Sign-ins that one process looks at at the same time: one hashes a password, the others wait for
it. A flood of them is told to come again, or it would hold every thread."""
MAX_AN_ADDRESS = 2
"""Of these from one address: a double click, and a flood that leaves room for other addresses."""

_LONGEST_SHOWN = 254
_BUSY = "Many people sign in at this moment. Nothing was checked; try again in a second."
_AWAY = f"MongoDB does not answer. Nothing was checked; try again in {RETRY_AFTER_S} seconds."
_OLD_FORM = "This page was open for too long. Please try again."


def add_signing(server: Flask, accounts: Accounts, links: Links) -> None:
    """Add the sign-in page, signing out, the account page and ``/healthz`` to ``server``."""
    views = Signing(accounts, links)
    server.add_url_rule("/sign-in", view_func=views.sign_in, methods=["GET", "POST"])
    server.add_url_rule("/sign-out", view_func=views.sign_out, methods=["POST"])
    server.add_url_rule("/account", view_func=views.account, methods=["GET", "POST"])
    server.add_url_rule("/healthz", view_func=_healthz)


class Places:
    """Room for so many sign-ins at once, and for fewer of one address."""

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def taken(self, address: str) -> Iterator[bool]:
        """Take a place until the block ends, and say whether there was one."""
        with self._lock:
            is_free = self._taken[address] < MAX_AN_ADDRESS and self._taken.total() < MAX_AT_ONCE
            self._taken[address] += is_free
        try:
            yield is_free
        finally:
            with self._lock:
                self._taken[address] -= is_free
                self._taken += Counter()  # who has none is forgotten


class Signing:
    """The views, over the accounts and the one-time links."""

    def __init__(self, accounts: Accounts, links: Links) -> None:
        self._accounts = accounts
        self._links = links
        self._places = Places()

    def sign_in(self) -> BaseResponse:
        """Answer the sign-in page, a one-time link and both its forms."""
        try:
            if is_signed_in():  # a reload, or a prefetch before it: the link was ours already
                return to_next_page()
            token = request.values.get("token", "").strip()
            if token and request.method != "HEAD":
                return self._with_link(token)
            if request.method == "POST":
                return self._with_password()
        except StoreUnavailable:
            return _later(503, _AWAY, RETRY_AFTER_S)
        return sign_in_page(200)

    def _with_link(self, token: str) -> BaseResponse:
        if request.method == "POST" and not _is_our_form():
            return sign_in_page(400, _OLD_FORM)
        wait_s = self._accounts.attempts.begin(None, _address())
        if wait_s:
            return _too_many(wait_s)
        if not self._links.use(token):
            problem = "This link was used already, is older than a day, or is wrong."
            return sign_in_page(401, problem)
        self._accounts.attempts.succeed(None, _address())
        self._begin(None)
        return to_next_page()

    def _with_password(self) -> BaseResponse:
        email, password = request.form.get("email", ""), request.form.get("password", "")
        if not _is_our_form():
            return sign_in_page(400, _OLD_FORM)
        with self._places.taken(network_of(_address())) as is_free:
            return self._checked(email, password) if is_free else _later(503, _BUSY, 1.0)

    def _checked(self, email: str, password: str) -> BaseResponse:
        wait_s = self._accounts.attempts.begin(email, _address())
        if wait_s:
            return _too_many(wait_s)
        account = self._account_with(email, password)
        if account is None:
            problem = "This e-mail address and password do not go together."
            return sign_in_page(401, problem, email=email[:_LONGEST_SHOWN])
        self._accounts.attempts.succeed(email, _address())
        self._begin(account)
        return to_next_page()

    def _account_with(self, email: str, password: str) -> Account | None:
        """Return the account if the password is its; it takes as long where there is none."""
        account, password_hash = self._accounts.people.credentials(email) or (None, None)
        is_right = verify_password(password, password_hash)
        return account if account is not None and is_right and account.is_active else None

    def _begin(self, account: Account | None) -> None:
        token = self._accounts.sessions.begin(account)
        signed_in = principal_from_account(account) if account else principal_of_this_machine()
        session.clear()
        session.permanent = True
        flask_login.login_user(SignedIn(signed_in, token))

    @needs("read", people_only=True)
    def sign_out(self) -> BaseResponse:
        """End the session in the store, and take its cookie away."""
        if not _is_our_form():
            return redirect("/account")  # where a fresh form is
        token = flask_login.current_user.id
        session.clear()
        try:
            self._accounts.sessions.end(token)
        except StoreUnavailable:
            problem = (
                "This browser is signed out. MongoDB does not answer, so a copy of its cookie "
                "would still be good: to end the session everywhere, change the password later."
            )
            return sign_in_page(503, problem)
        return redirect("/sign-in")

    @needs("read", people_only=True)
    def account(self) -> BaseResponse:
        """Answer the page that says who is signed in, and its form for a new password."""
        if request.method != "POST":
            return _account_page(200)
        if not _is_our_form():
            return _account_page(400, _OLD_FORM)
        try:
            return self._change_password(principal().name)
        except InputError as error:
            return _account_page(422, str(error))
        except StoreUnavailable:
            return _account_page(503, _AWAY)

    def _change_password(self, email: str) -> BaseResponse:
        new = request.form.get("new", "")
        if new != request.form.get("again", ""):
            return _account_page(422, "The new password and its repetition differ.")
        wait_s = self._accounts.attempts.begin(email, _address())
        if wait_s:
            return _account_page(429, _wait(wait_s))
        if self._account_with(email, request.form.get("current", "")) is None:
            return _account_page(422, "The current password is another one.")
        self._accounts.attempts.succeed(email, _address())
        check_password(new, email=email)
        self._begin(self._accounts.people.set_password(email, hash_password(new)))
        return redirect("/account?changed=1")


def _account_page(status: int, problem: str | None = None) -> BaseResponse:
    who = principal()
    text = render_template(
        "account.html",
        who=who,
        may_do=MAY_DO[who.role],
        min_length=MIN_LENGTH,
        problem=problem,
        has_changed=problem is None and "changed" in request.args,
        csrf_token=generate_csrf(),
    )
    return Response(text, status, mimetype="text/html")


def _too_many(wait_s: float) -> BaseResponse:
    return _later(429, _wait(wait_s), wait_s)


def _wait(wait_s: float) -> str:
    return f"Too many wrong sign-ins. Wait {span(wait_s)}, then try again."


def _later(status: int, problem: str, wait_s: float) -> BaseResponse:
    answer = sign_in_page(status, problem)
    answer.headers["Retry-After"] = str(max(1, round(wait_s)))
    return answer


def _is_our_form() -> bool:
    """Return whether the form was written for this browser: another site cannot know its token."""
    try:
        validate_csrf(request.form.get("csrf_token"))
    except ValidationError:
        return False
    return True


def _address() -> str:
    return request.remote_addr or "0.0.0.0"


def _healthz() -> Response:
    return Response(status=204)
