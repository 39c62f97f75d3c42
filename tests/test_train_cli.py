"""What `recgraph train` says of the gate, to a person and to a script."""

from io import StringIO
from pathlib import Path

import msgspec
from rich.console import Console

from recgraph.cli.train import render_training
from recgraph.generations import Check, Manifest, Verdict, read_manifest
from recgraph.jobs.training import training_summary
from tests.sample import write_sample_generation

PASSED = Check("ndcg", "new_items", 10, "popular", 0.06, 0.05, 0.0475, passed=True)


def with_verdict(folder: Path, verdict: Verdict) -> Manifest:
    return msgspec.structs.replace(
        read_manifest(folder),
        status="complete" if verdict.passed else "rejected",
        reason="; ".join(verdict.reasons) or None,
        verdict=verdict,
    )


def rendered(manifest: Manifest) -> str:
    console = Console(width=200, file=StringIO(), record=True)
    console.print(render_training(training_summary(manifest)))
    return console.export_text()


def test_a_rejected_generation_is_one_line_with_its_reason(tmp_path: Path) -> None:
    reasons = ["new_items nDCG@10 0.041 is below popular 0.05 by more than 5.0%", "RMSE is bad"]
    manifest = with_verdict(write_sample_generation(tmp_path), Verdict(False, reasons))
    (line,) = (line for line in rendered(manifest).splitlines() if "rejected" in line)
    assert line.startswith(f"rejected: {reasons[0]}; {reasons[1]}. Even so: recgraph publish ")
    summary = msgspec.to_builtins(training_summary(manifest))
    assert (summary["status"], summary["verdict"]["reasons"]) == ("rejected", reasons)


def test_a_passed_one_says_what_it_kept_up_with(tmp_path: Path) -> None:
    folder = write_sample_generation(tmp_path)
    verdict = Verdict(True, [], [PASSED], notes=["the settings are the same"])
    shown = rendered(with_verdict(folder, verdict))
    assert "passed: not worse than popular; the settings are the same" in shown
    verdict = Verdict(True, [], notes=["not measured: one moment"])
    assert "passed; not measured: one moment" in rendered(with_verdict(folder, verdict))
