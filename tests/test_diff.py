"""What changed between two generations: lists against tables made by hand, then whole folders."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from recgraph import generations
from recgraph.cli import app
from recgraph.config import Settings
from recgraph.diff import compare
from recgraph.errors import GenerationError
from recgraph.generations import read_manifest
from recgraph.likeness import jaccard, overlaps, rank_biased_overlap
from tests.sample import write_sample_generation

FIRST, SECOND = "20260101-120000-5a3e", "20260102-120000-5a3e"


def compared(before: str, after: str, *, p: float = 0.9) -> tuple[float, float]:
    """Jaccard and rank-biased overlap of two lists, a letter an item."""
    k = max(len(before), len(after))
    one, other = (
        np.array([[ord(letter) for letter in items] + [filler] * (k - len(items))])
        for items, filler in ((before, -1), (after, -2))
    )
    overlap = overlaps(one, other)
    lengths = np.array([len(before)]), np.array([len(after)])
    rbo = rank_biased_overlap(overlap, *lengths, persistence=p)
    return float(jaccard(overlap, *lengths)[0]), float(rbo[0])


def test_overlaps_count_what_the_first_places_share() -> None:
    before = np.array([[1, 2, 3, 4], [1, 2, 3, 4], [1, 2, -1, -1]])
    after = np.array([[2, 1, 9, 3], [5, 6, 7, 8], [1, -2, -2, -2]])
    assert overlaps(before, after).tolist() == [[0, 2, 2, 3], [0, 0, 0, 0], [1, 1, 1, 1]]


@pytest.mark.parametrize(
    ("before", "after", "p", "shares", "rbo"),
    [
        # 1/9 * (0/1 * .9 + 2/2 * .81 + 2/3 * .729) + 2/3 * .729
        ("abc", "bad", 0.9, 2 / 4, 0.63),
        # 1 * (1/1 * .5 + 1/2 * .25) + 1 * 1 / (1 * 2) * .25 + 1 * .25
        ("a", "ab", 0.5, 1 / 2, 1.0),
        # 1 * (0/1 * .5 + 1/2 * .25) + (1 - 0) / 2 * .25
        ("b", "ab", 0.5, 1 / 2, 0.25),
        ("ab", "b", 0.5, 1 / 2, 0.25),
        ("abc", "abc", 0.9, 1.0, 1.0),
        ("abc", "def", 0.9, 0.0, 0.0),
    ],
)
def test_likeness_by_hand(before: str, after: str, p: float, shares: float, rbo: float) -> None:
    assert compared(before, after, p=p) == pytest.approx((shares, rbo))


def test_the_first_places_count_most() -> None:
    assert compared("abcdef", "bacdef")[1] < compared("abcdef", "abcdfe")[1] < 1


lists = st.lists(st.sampled_from("abcdefghijkl"), min_size=1, unique=True).map("".join)


@given(lists, lists)
def test_likeness_is_a_symmetric_share(before: str, after: str) -> None:
    shares, rbo = compared(before, after)
    assert 0 <= shares <= 1
    assert -1e-12 <= rbo <= 1 + 1e-12
    assert compared(after, before) == pytest.approx((shares, rbo))
    assert shares == pytest.approx(len({*before} & {*after}) / len({*before} | {*after}))


@given(lists)
def test_a_list_is_like_itself_and_unlike_a_disjoint_one(items: str) -> None:
    assert compared(items, items) == pytest.approx((1.0, 1.0))
    assert compared(items, items.upper()) == (0.0, 0.0)


@given(st.randoms(use_true_random=False))
def test_of_long_lists_it_is_the_infinite_sum(random: Any) -> None:
    before = list(range(300))
    after = random.sample(before, 300)
    agreement = [len({*before[:d]} & {*after[:d]}) / d for d in range(1, 301)]
    infinite = 0.1 * sum(0.9**depth * share for depth, share in enumerate(agreement))
    n = np.array([300])
    overlap = overlaps(np.array([before]), np.array([after]))
    assert rank_biased_overlap(overlap, n, n)[0] == pytest.approx(infinite, abs=1e-9)


# --- whole generations --------------------------------------------------------------------------


@pytest.fixture
def root(settings: Settings) -> Path:
    """Two generations of the same shop: other lists, other settings, two more users."""
    folder = settings.generations_dir
    write_sample_generation(folder, generation_id=FIRST)
    write_sample_generation(folder, generation_id=SECOND, n_users=42, n_factors=9, seed=8)
    return folder


def lists_of(folder: Path) -> dict[str, list[str]]:
    edges = pads.dataset(folder / generations.EDGES).to_table().to_pylist()
    found: dict[str, list[str]] = {}
    for edge in sorted((e for e in edges if e["kind"] == "recommended"), key=lambda e: e["rank"]):
        found.setdefault(edge["src"][2:], []).append(edge["dst"][2:])
    return found


def test_a_generation_is_the_same_as_itself(root: Path) -> None:
    same = compare(root / FIRST, root / FIRST)
    assert (same.lists, same.changed, same.jaccard) == (40, 0.0, 1.0)
    assert same.rbo == pytest.approx(1.0)
    assert same.most_changed_users == same.most_changed_items == same.settings == []
    assert (same.new_users, same.gone_users, same.new_items, same.gone_items) == (0, 0, 0, 0)
    assert all(figure.before == figure.after for figure in same.metrics + same.degrees)


def test_lists_are_compared_user_by_user(root: Path) -> None:
    found = compare(root / FIRST, root / SECOND)
    before, after = lists_of(root / FIRST), lists_of(root / SECOND)
    common = before.keys() & after.keys()
    assert (found.k, found.lists) == (5, len(common))
    assert (found.new_lists, found.gone_lists) == (len(after.keys() - common), 0)
    shares = [len({*before[u]} & {*after[u]}) / len({*before[u]} | {*after[u]}) for u in common]
    assert found.jaccard == pytest.approx(np.mean(shares))
    assert found.changed == pytest.approx(np.mean([before[u] != after[u] for u in common]))
    assert found.rbo is not None
    assert 0 < found.rbo < 1
    overlaps = [user.rbo for user in found.most_changed_users]
    assert overlaps == sorted(overlaps)
    assert len(overlaps) == 10
    first = found.most_changed_users[0]
    assert len(first.came) == len({*after[first.user_id]} - {*before[first.user_id]})


def test_users_products_and_figures_before_and_after(root: Path) -> None:
    found = compare(root / FIRST, root / SECOND)
    back = compare(root / SECOND, root / FIRST)
    assert (found.new_users, found.gone_users) == (back.gone_users, back.new_users) == (2, 0)
    assert (found.new_items, found.gone_items) == (0, 0)
    changes = [abs(item.after - item.before) for item in found.most_changed_items]
    assert changes == sorted(changes, reverse=True)
    assert len(changes) == 10
    degrees = {
        row["external_id"]: row
        for row in pads.dataset(root / SECOND / generations.VERTICES).to_table().to_pylist()
        if row["kind"] == "item"
    }
    for item in found.most_changed_items:
        row = degrees[item.item_id]
        assert (item.after, item.title) == (row["recommended_degree"], row["title"])
    assert [(f.name, f.before, f.after) for f in found.settings] == [("n_factors", 8, 9)]
    coverage = next(figure for figure in found.degrees if figure.name == "coverage")
    assert coverage.before == read_manifest(root / FIRST).degrees.coverage
    ndcg = next(figure for figure in found.metrics if figure.name == "new_items als nDCG@5")
    assert (ndcg.before, ndcg.after) == (0.058, 0.058)


def test_lists_of_other_lengths_are_compared_down_to_the_shorter(settings: Settings) -> None:
    root = settings.generations_dir
    write_sample_generation(root, generation_id=FIRST, k=5)
    write_sample_generation(root, generation_id=SECOND, k=3)
    found = compare(root / FIRST, root / SECOND)
    assert found.k == 3
    assert all(len(user.came) <= 3 for user in found.most_changed_users)
    assert [figure.name for figure in found.settings] == ["k"]


def test_nobody_in_common_is_no_division_by_zero(root: Path) -> None:
    edges = root / SECOND / generations.EDGES
    table = pads.dataset(edges).to_table()
    rewrite(edges, table.filter(pa.compute.equal(table["kind"], "bought")))
    found = compare(root / FIRST, root / SECOND)
    assert (found.lists, found.changed, found.jaccard, found.rbo) == (0, None, None, None)
    assert found.gone_lists == 40


def rewrite(folder: Path, table: pa.Table) -> None:
    shutil.rmtree(folder)
    folder.mkdir()
    pq.write_table(table, folder / "part-00000.parquet")


def test_edges_that_are_not_sorted_are_refused(root: Path) -> None:
    edges = root / SECOND / generations.EDGES
    rewrite(edges, pads.dataset(edges).to_table().sort_by([("src", "descending")]))
    with pytest.raises(GenerationError, match="is not sorted by src"):
        compare(root / FIRST, root / SECOND)


def test_files_that_are_broken_or_gone_are_one_line(root: Path) -> None:
    (root / SECOND / generations.EDGES / "part-00000-sample.snappy.parquet").write_bytes(b"PAR1")
    with pytest.raises(GenerationError, match="cannot be read"):
        compare(root / FIRST, root / SECOND)
    shutil.rmtree(root / FIRST / generations.VERTICES)
    with pytest.raises(GenerationError, match="cannot be read"):
        compare(root / FIRST, root / FIRST)


# --- the command --------------------------------------------------------------------------------


@pytest.fixture
def _data(settings: Settings, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert root == settings.generations_dir
    monkeypatch.setenv("RECGRAPH_DATA_DIR", str(settings.data_dir))


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["generations", "diff", *arguments], env={"COLUMNS": "160"})
    if result.exception is not None:
        raise result.exception
    return result.stdout


@pytest.mark.usefixtures("_data")
def test_diff_says_what_changed() -> None:
    printed = json.loads(run(FIRST, SECOND, "--json"))
    assert (printed["before"], printed["after"], printed["lists"]) == (FIRST, SECOND, 40)
    assert printed["settings"] == [{"name": "n_factors", "before": 8, "after": 9}]
    shown = run(FIRST, SECOND)
    assert f"{printed['changed']:.1%} of 40 lists changed" in shown
    assert "users: 2 new, 0 gone" in shown
    assert "<img src=x onerror=alert(1)>" in shown
    assert "settings that differ" in shown
    assert "settings that differ" not in run(FIRST, FIRST)


@pytest.mark.usefixtures("_data")
def test_diff_with_an_unknown_generation_is_one_line() -> None:
    with pytest.raises(GenerationError, match="is no generation id"):
        run(FIRST, "nope")
    with pytest.raises(GenerationError, match="no complete generation"):
        run("20260103-120000-5a3e", FIRST)
