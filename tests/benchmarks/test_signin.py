"""The flood of sign-ins in short: `tests.benchmarks.bench_signin` sends 10,000."""

from pathlib import Path

import pytest

from recgraph.config import load_settings
from recgraph.services.embedded import stop_all
from tests.benchmarks.bench_api import opened, serving
from tests.benchmarks.bench_signin import PROXY, add_people, measure
from tests.sample import write_sample_generation

pytestmark = pytest.mark.services


def test_a_flood_of_sign_ins_lets_nobody_in_and_keeps_nobody_out(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path, public_url=PROXY)
    write_sample_generation(settings.generations_dir)
    try:
        with opened(settings) as (store, key):
            add_people(store)
            with serving(settings, 2) as (server, pid):
                found = measure(server, pid, key, n_attempts=400, rate=50, quiet_s=1)
    finally:
        stop_all(settings)
    for name in ("one_address", "many_addresses"):
        seen = found[name]
        assert seen["flood"]["statuses"].keys() <= {"401", "429", "503"}
        assert seen["list_meanwhile"]["statuses"].keys() == {"200"}
        assert seen["flood"]["unanswered"] == seen["list_meanwhile"]["unanswered"] == 0
        assert seen["right_password_of_another"]["statuses"]["302"] == 1
        assert seen["rss_mb"] - found["rss_mb_before"] < 100  # a hash takes 19, in each process
    # A stranger makes the account of the first flood wait, 2 s at first and 4 amid the flood, and
    # its owner is told for how long.
    status, wait_s = found["one_address"]["right_password_of_the_attacked"]
    assert status == 429
    assert wait_s >= 1
