"""A few sales in, a recommendation out: the commands a person types, on all the real parts."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from recgraph.config import Settings
from recgraph.services.mongo import open_store

pytestmark = [pytest.mark.services, pytest.mark.spark]

# Ann and Bob both drink tea; only Bob eats cake; Carl returned all he bought. So Ann is to be
# offered cake. Nasty ids and titles go all the way through.
SALES = """\
customer,sku,n,when
"ann ""🥐"" $a.b",tea,2,2020-01-01T10:00:00Z
bob,tea,1,2020-01-02T10:00:00Z
bob,cake,1,2020-01-03T10:00:00Z
carl,cake,1,2020-01-04T10:00:00Z
carl,cake,-1,2020-01-05T10:00:00Z
dora,tea,many,2020-01-06T10:00:00Z
dora,tea,1,1970-01-01T00:00:00Z
"""
PRODUCTS = """\
sku,name,shelf
cake,<img src=x onerror=alert(1)>,=SUM(A1)
tea,Tea,DRINKS
"""
ANN = 'ann "🥐" $a.b'


SMALL = {"DRIVER_MEMORY": "1g", "N_FACTORS": "8", "N_ITERATIONS": "4", "SHUFFLE_PARTITIONS": "2"}
"""Settings of commands that take seconds: what they do is tested here, not how good it is."""


def run(settings: Settings, *arguments: str) -> dict[str, Any]:
    """What a command prints as JSON."""
    names = ("data_dir", "exports_dir", "kafka_bootstrap", "topic", "mongo_database")
    variables = {f"RECGRAPH_{name.upper()}": str(getattr(settings, name)) for name in names}
    assert settings.mongo_uri is not None
    variables["RECGRAPH_MONGO_URI"] = settings.mongo_uri.get_secret_value()
    variables |= {f"RECGRAPH_{name}": value for name, value in SMALL.items()}
    variables["TZ"] = "Europe/Vienna"  # times must not depend on where it runs
    done = subprocess.run(
        [sys.executable, "-m", "recgraph.cli", *arguments, "--json"],
        env=os.environ | variables,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_a_sale_becomes_a_recommendation(service_settings: Settings, tmp_path: Path) -> None:
    sales, products = tmp_path / "sales.csv", tmp_path / "products.csv"
    sales.write_text(SALES)
    products.write_text(PRODUCTS)
    columns = ["--user-column", "customer", "--item-column", "sku"]
    times = ["--quantity-column", "n", "--time-column", "when"]
    names = ["--item-column", "sku", "--title-column", "name", "--department-column", "shelf"]

    run(service_settings, "catalogue", "load", str(products), *names)
    sent = run(service_settings, "replay", str(sales), *columns, *times)
    assert (sent["sent"], sent["acknowledged"], sent["failed"]) == (7, 7, 0)
    run(service_settings, "replay", str(sales), *columns, *times)  # twice changes nothing

    taken = run(service_settings, "ingest", "--once")
    assert (taken["accepted"], taken["rejected"]) == (10, 4)
    assert taken["last_occurred_at"] == "2020-01-05T10:00:00Z"
    again = run(service_settings, "ingest", "--once")
    assert (again["accepted"], again["accepted_in_all"]) == (0, 10)

    trained = run(service_settings, "train")
    assert (trained["events"], trained["duplicates"], trained["conflicts"]) == (5, 5, 0)
    assert (trained["users"], trained["items"], trained["interactions"]) == (2, 2, 3)

    exported = run(service_settings, "export")
    with Path(exported["edges_path"]).open(newline="", encoding="utf-8") as file:
        edges = [(row["src"], row["dst"], row["kind"]) for row in csv.DictReader(file)]
    assert (f"u:{ANN}", "i:cake", "recommended") in edges
    assert len(edges) == trained["edges"] == 4

    published = run(service_settings, "publish")
    assert published["generation"] == trained["generation"]
    with open_store(run_uri(service_settings), service_settings.mongo_database) as store:
        ann = store.user(ANN)
        progress = store.progress()
    assert ann is not None
    assert [(each.item_id, each.rank, each.source) for each in ann.recommended] == [
        ("cake", 1, "als+walk")
    ]
    assert [each.item_id for each in ann.recommended[0].because] == ["tea"]
    assert ann.recommended[0].title == "<img src=x onerror=alert(1)>"
    assert ann.recommended[0].score == pytest.approx(sum(ann.recommended[0].parts.values()))
    assert [each.item_id for each in ann.bought] == ["tea"]
    assert progress is not None
    assert (progress.accepted, progress.rejected) == (10, 4)


def run_uri(settings: Settings) -> str:
    assert settings.mongo_uri is not None
    return settings.mongo_uri.get_secret_value()
