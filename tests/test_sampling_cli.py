"""`recgraph reviews sample`: what is refused before Spark starts, and how a proof is shown."""

from pathlib import Path

import msgspec
import pytest
from rich.console import Console
from typer.testing import CliRunner

from recgraph.cli import app
from recgraph.cli.sampling import _write, render_sample
from recgraph.config import Settings
from recgraph.errors import InputError, NoInteractionsError
from recgraph.proof import Check, Distribution, Report, Stratum

REPORT = Report(
    verdict="not faithful",
    sentence="Not faithful: rating (chi-square).",
    n_reviews=2972,
    n_sample_reviews=1284,
    n_unknown_products=0,
    p_value=0.003,
    level=0.01,
    tolerance=0.1,
    n_replicates=1999,
    checks=[Check("rating", "chi-square", 38.3, 8.4, 0.0005, passed=False, naive_p_value=1e-7)],
    distributions=[
        Distribution("rating", ["4", "5"], [0.2, 0.8], [0.1, 0.9], [0.15, 0.75], [0.25, 0.85])
    ],
    strata=[Stratum("<b>1 review</b>", 148, 74, 2.0)],
)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--output FILE to make a sample"),
        (["--output", "a", "--check", "b"], "--output FILE to make a sample"),
        (["--check", "b", "--fraction", "0.1"], "--output FILE to make a sample"),
        (["--output", "a", "--fraction", "0.1", "--size", "9"], "not both"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    settings: Settings, arguments: list[str], said: str
) -> None:
    result = CliRunner().invoke(app, ["reviews", "sample", *arguments])
    assert isinstance(result.exception, InputError)
    assert said in str(result.exception)


def test_a_sample_of_nothing_says_what_to_do(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECGRAPH_DATA_DIR", str(settings.data_dir))
    result = CliRunner().invoke(app, ["reviews", "sample", "--output", "a"])
    assert isinstance(result.exception, NoInteractionsError)
    assert "recgraph reviews load" in str(result.exception)


def test_a_proof_is_shown_with_its_verdict_and_what_failed() -> None:
    console = Console(record=True, width=120)
    console.print(render_sample(msgspec.to_builtins(REPORT)))
    text = console.export_text()
    assert "1,284 reviews of 2,972" in text
    assert "failed" in text
    assert "Not faithful: rating (chi-square)." in text


def test_a_proof_is_written_as_its_name_says(tmp_path: Path) -> None:
    _write(REPORT, tmp_path / "proof", "A <sample>")
    page = (tmp_path / "proof" / "report.html").read_text()
    assert "A &lt;sample&gt;" in page
    assert "&lt;b&gt;1 review" in page
    # nothing is loaded: the script is in the page, and no tag names another one
    assert "<script src" not in page
    assert "<link" not in page
    assert (
        msgspec.json.decode((tmp_path / "proof" / "report.json").read_bytes(), type=Report)
        == REPORT
    )
    _write(REPORT, tmp_path / "only.json", "x")
    assert not (tmp_path / "only.html").exists()
