"""Reviews in, lists and reviews of a product out: the commands, killed once on the way."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recgraph.config import Settings
from recgraph.services.mongo import open_store
from recgraph.tables import count_rows
from tests.e2e.test_flow import run
from tests.review_files import encoded, line_2018, write_lines

pytestmark = [pytest.mark.services, pytest.mark.spark]

N_USERS, N_ITEMS = 200, 30
N_LINES = N_USERS * N_ITEMS + 2


def review_lines() -> list[bytes]:
    """Reviews of everything by everybody, whose stars item and user decide; two lines more."""
    chance = random.Random(1)
    pairs = [(user, item) for user in range(N_USERS) for item in range(N_ITEMS)]
    chance.shuffle(pairs)
    lines = [
        encoded(
            line_2018(
                reviewerID=f"A{user}",
                asin=f"B{item:09}",
                overall=float(min(5, max(1, 1 + item % 5 + user % 3 - 1))),
                reviewText=chance.randbytes(300).hex(),
                unixReviewTime=1_500_000_000 + 1000 * number,
            )
        )
        for number, (user, item) in enumerate(pairs)
    ]
    return [*lines, b"{", lines[0]]


def kill_amid_load(settings: Settings, path: Path) -> None:
    """Start a load, and kill it with all its processes as soon as some of the file is in."""
    log = settings.reviews_dir / "lines" / "_delta_log"
    variables = {"RECGRAPH_DATA_DIR": str(settings.data_dir), "RECGRAPH_REVIEW_CHUNK_MB": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "recgraph.cli", "reviews", "load", str(path)],
        env=os.environ | variables | {"RECGRAPH_DRIVER_MEMORY": "1g"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 300
    while len(list(log.glob("*.json"))) < 4:
        assert process.poll() is None, "the load ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_reviews_become_lists_and_are_found_by_product(
    service_settings: Settings, tmp_path: Path
) -> None:
    path = write_lines(tmp_path / "reviews.json.gz", review_lines())
    kill_amid_load(service_settings, path)
    n_before = count_rows(service_settings.reviews_dir / "lines")
    assert 0 < n_before < N_LINES
    loaded = run(service_settings, "reviews", "load", str(path))
    assert loaded["lines"] == count_rows(service_settings.reviews_dir / "lines") == N_LINES
    assert (loaded["loaded"], loaded["rejected"], loaded["duplicates"]) == (N_LINES - 2, 1, 1)
    assert loaded["files"][0]["was_known"] is False
    again = run(service_settings, "reviews", "load", str(path))
    assert (again["loaded"], again["duplicates"]) == (0, N_LINES - 1)

    product = {"asin": "B000000000", "title": "A lamp", "price": "$5", "main_cat": "Home"}
    meta = write_lines(tmp_path / "meta.json.gz", [encoded(product)])
    assert run(service_settings, "catalogue", "load", str(meta))["loaded"] == 1

    trained = run(service_settings, "train", "--on", "reviews")
    assert (trained["feedback"], trained["events"]) == ("explicit", loaded["loaded"])
    errors = {row["predictor"]: row["rmse"] for row in trained["metrics"]["errors"]}
    assert errors["als"] < 0.8 * errors["constant"]
    assert run(service_settings, "export")["generation"] == trained["generation"]
    run(service_settings, "publish")
    assert service_settings.mongo_uri is not None
    uri, database = service_settings.mongo_uri.get_secret_value(), service_settings.mongo_database
    with open_store(uri, database) as store:
        assert store.current().manifest.id == trained["generation"]
        lamp = store.item("B000000000")
        assert lamp is not None
        assert lamp.title == "A lamp"

    published = run(service_settings, "reviews", "publish")
    assert published["written"] == published["held"] == loaded["loaded"]
    assert run(service_settings, "reviews", "publish")["written"] == 0
    of_lamp = run(service_settings, "reviews", "of", "B000000000", "--limit", "3")["reviews"]
    assert len(of_lamp) == 3
    plans = run(service_settings, "reviews", "explain", "B000000000")["plans"]
    assert {plan["stages"][0] for plan in plans} == {"IXSCAN"}
