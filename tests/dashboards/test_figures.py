import numpy as np
import plotly.io
import pytest

from dashboards.figures import (
    binned,
    ccdf,
    ccdf_figure,
    histogram_figure,
    ranking_figure,
    top_figure,
)
from recgraph.generations import Metrics, RankingMetrics
from recgraph.ports import ItemProfile

DISTRIBUTION = [(0, 5), (1, 3), (2, 1), (7, 1)]


def item(item_id: str, title: str | None, recommended: int) -> ItemProfile:
    return ItemProfile(item_id, title, None, None, None, 1, recommended, 1.0)


def row(task: str, recommender: str, recall: float) -> RankingMetrics:
    return RankingMetrics(task, recommender, 10, 5, 0.1, recall, 0.5)  # type: ignore[arg-type]


def test_ccdf_is_the_share_of_all_with_at_least_so_many() -> None:
    degrees, shares = ccdf(DISTRIBUTION)
    assert degrees.tolist() == [1, 2, 7]
    assert shares == pytest.approx([0.5, 0.2, 0.1])


def test_ccdf_of_nothing_is_empty() -> None:
    assert [part.tolist() for part in ccdf([])] == [[], []]
    assert [part.tolist() for part in ccdf([(0, 4)])] == [[], []]


def test_bins_double_and_keep_every_product() -> None:
    labels, counts = binned(DISTRIBUTION, longest=9)
    assert labels == ["0", "1", "2–3", "4–7", "8–15"]  # noqa: RUF001
    assert counts.tolist() == [5, 3, 1, 1, 0]


def test_bins_of_nothing_recommended() -> None:
    labels, counts = binned([(0, 4)], longest=0)
    assert (labels, counts.tolist()) == (["0"], [4])


def test_degree_figures_show_both_kinds_told_apart_without_colour() -> None:
    curve = ccdf_figure(DISTRIBUTION, DISTRIBUTION)
    assert [trace.name for trace in curve.data] == ["Bought", "Recommended"]
    assert [trace.line.dash for trace in curve.data] == ["solid", "dash"]
    bars = histogram_figure(DISTRIBUTION, DISTRIBUTION)
    assert [trace.marker.pattern.shape for trace in bars.data] == [None, "/"]


@pytest.mark.parametrize("figure", [ccdf_figure([], []), histogram_figure([], [])])
def test_degree_figures_of_nothing_can_be_drawn(figure: object) -> None:
    assert plotly.io.to_json(figure)


def test_figures_hold_arrays_not_lists() -> None:
    figure = ccdf_figure(DISTRIBUTION, DISTRIBUTION)
    assert isinstance(figure.data[0].x, np.ndarray)
    assert '"bdata"' in plotly.io.to_json(figure)


def test_ranking_figure_has_a_panel_a_task_and_the_best_on_top() -> None:
    rows = [
        row("next_basket", "als+walk", 0.2),
        row("next_basket", "popular", 0.1),
        row("next_basket", "repeats", 0.3),
        row("new_items", "als+walk", 0.05),
    ]
    figure = ranking_figure(Metrics(None, 28.0, rows, [], model="als+walk"))
    assert [note.text for note in figure.layout.annotations] == ["Next basket", "New products"]
    assert list(figure.data[0].y) == ["Most popular", "ALS + graph walk", "Bought before"]
    assert figure.data[0].x.tolist() == pytest.approx([10, 20, 30])
    colours = figure.data[0].marker.color
    assert colours[1] not in (colours[0], colours[2])


def test_top_figure_shows_a_title_as_text() -> None:
    figure = top_figure([item("1", "<b>a</b><img src=x onerror=alert(1)>", 3), item("2", None, 2)])
    first, second = figure.layout.yaxis.ticktext
    assert first.startswith("&lt;b&gt;a&lt;/b&gt;")
    assert second == "Product 2"
    assert figure.data[0].x.tolist() == [3, 2]


def test_two_products_of_one_title_keep_their_own_bars() -> None:
    figure = top_figure([item("1", "Milk", 3), item("2", "Milk", 2)])
    assert figure.data[0].y.tolist() == [0, 1]
