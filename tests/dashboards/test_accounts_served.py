"""Accounts as people use them: `recgraph users` in one process, `recgraph serve` in others."""

import http.cookiejar
import json
import re
import stat
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from recgraph.config import Settings
from recgraph.services.mongo import MongoStore
from tests.dashboards.sending import OTHER_PASSWORD, PASSWORD
from tests.dashboards.test_serve import (
    COMMAND,
    PATIENCE_S,
    environment,  # noqa: F401  a fixture
    serving,
)

pytestmark = pytest.mark.services

ANN = "ann@example.com"


def run(environment: dict[str, str], *arguments: str, typed: str = "") -> str:  # noqa: F811
    done = subprocess.run(
        [*COMMAND, *arguments], env=environment, input=typed, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


class Visitor:
    """A browser without scripts."""

    def __init__(self, url: str) -> None:
        self._url = url
        jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._opener = urllib.request.build_opener(jar)

    def get(self, path: str, **headers: str) -> tuple[int, str]:
        return self._open(urllib.request.Request(self._url + path, headers=headers))

    def sign_in(self, email: str, password: str) -> int:
        _, page = self.get("/sign-in")
        token = re.findall(r'name="csrf_token" value="([^"]+)"', page)[0]
        form = {"csrf_token": token, "email": email, "password": password}
        data = urllib.parse.urlencode(form).encode()
        return self._open(urllib.request.Request(self._url + "/sign-in", data=data))[0]

    def _open(self, request: urllib.request.Request) -> tuple[int, str]:
        try:
            with self._opener.open(request, timeout=PATIENCE_S) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


def test_account_and_key_work_in_every_process_until_they_are_ended(
    environment: dict[str, str],  # noqa: F811
    settings: Settings,
    store: MongoStore,
    tmp_path: Path,
) -> None:
    environment |= {"RECGRAPH_WORKERS": "2"}
    run(environment, "users", "add", ANN, "--password-stdin", typed=PASSWORD)
    key = json.loads(run(environment, "keys", "add", "till", "--json"))
    with serving(environment, tmp_path / "log") as (process, link):
        visitor = Visitor(link.partition("/sign-in")[0])
        assert visitor.sign_in(ANN, "wrong") == 401
        assert visitor.sign_in(ANN, PASSWORD) == 200
        signing_key = settings.data_dir / "dashboard" / "session.key"
        assert stat.S_IMODE(signing_key.stat().st_mode) == 0o600
        header = {"Authorization": f"Bearer {key['key']}"}
        for _ in range(20):  # whichever process answers
            assert visitor.get("/_dash-layout")[0] == 200
            assert visitor.get("/api/v1/popular?k=1", **header)[0] == 200
        assert visitor.get("/_dash-layout", **header)[0] == 403
        listed = json.loads(run(environment, "keys", "list", "--json"))["keys"]
        last_used = {each["prefix"]: each["last_used_at"] for each in listed}
        assert last_used[key["prefix"]] is not None
        run(environment, "users", "passwd", ANN, "--password-stdin", typed=OTHER_PASSWORD)
        time.sleep(1.1)
        for _ in range(20):
            assert visitor.get("/_dash-layout")[0] == 401
        assert visitor.sign_in(ANN, PASSWORD) == 401
        assert visitor.sign_in(ANN, OTHER_PASSWORD) == 200
        run(environment, "users", "disable", ANN)
        run(environment, "keys", "revoke", key["prefix"])
        time.sleep(1.1)
        for _ in range(20):
            assert visitor.get("/_dash-layout")[0] == 401
            assert visitor.get("/api/v1/popular?k=1", **header)[0] == 401
        process.terminate()
        process.wait(timeout=20)
    for name in ("accounts", "keys", "sessions", "attempts"):
        store.database.drop_collection(name)
    assert PASSWORD not in (tmp_path / "log").read_text()
