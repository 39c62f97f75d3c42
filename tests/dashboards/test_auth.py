"""One-time links and the key of the sessions: files, and who may read them."""

import os
import stat
import threading
import time
from pathlib import Path

from dashboards.auth import LINK_LIFETIME_S, Links, read_secret_key


def test_link_opened_by_many_at_once_lets_one_in(links: Links) -> None:
    token = links.new_token()
    start, outcomes = threading.Barrier(8), []

    def race() -> None:
        start.wait()
        outcomes.append(links.use(token))

    threads = [threading.Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [False] * 7 + [True]


def test_link_made_by_another_process_is_good(links: Links, tmp_path: Path) -> None:
    assert links.use(Links(tmp_path / "links").new_token())


def test_link_older_than_a_day_is_refused_and_removed(links: Links, tmp_path: Path) -> None:
    token = links.new_token()
    (path,) = (tmp_path / "links").iterdir()
    long_ago = time.time() - LINK_LIFETIME_S - 1
    os.utime(path, (long_ago, long_ago))
    assert not links.use(token)
    os.utime(_only_file_after(links, tmp_path), (long_ago, long_ago))
    links.new_token()
    assert len(list((tmp_path / "links").iterdir())) == 1


def _only_file_after(links: Links, tmp_path: Path) -> Path:
    links.new_token()
    (path,) = (tmp_path / "links").iterdir()
    return path


def test_secrets_are_kept_for_their_owner_only(links: Links, tmp_path: Path) -> None:
    token = links.new_token()
    key = read_secret_key(tmp_path / "session.key")
    assert stat.S_IMODE((tmp_path / "session.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "links").stat().st_mode) == 0o700
    (path,) = (tmp_path / "links").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert token not in path.name
    assert len(key) == 32
    assert {entry.name for entry in tmp_path.iterdir()} == {"session.key", "links"}


def test_secret_key_is_the_same_for_all_who_ask(tmp_path: Path) -> None:
    path = tmp_path / "session.key"
    start, keys = threading.Barrier(8), []

    def ask() -> None:
        start.wait()
        keys.append(read_secret_key(path))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 8
    assert set(keys) == {path.read_bytes()}
    path.chmod(0o644)
    assert read_secret_key(path) == keys[0]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
