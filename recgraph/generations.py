"""The folder of a generation: everything one training made, whole or not there at all.

``generations/<id>/`` holds

=====================  ==========================================================================
``generation.json``    the `Manifest`; written last, so that a folder with one is complete
``vertices/``          Parquet: id (``u:<user id>``, ``i:<item id>``), kind, external_id, title,
                       department, brand, category, bought_degree, recommended_degree, pagerank
``edges/``             Parquet: src, dst, kind, rank, score, its parts als, walk, repeat and
                       content, rating, source; sorted by src, kind, rank, dst
``users/``             Parquet: `recgraph.ports.UserProfile` and user_index, a row a user
``items/``             Parquet: `recgraph.ports.ItemProfile` and item_index, a row an item
``user_factors/``      Parquet: index int32, factors list<float32>
``item_factors.npy``   float32 ``(n_items, n_factors)``, to be memory-mapped
``item_neighbours.npz`` SciPy CSR, float32 ``(n_items, n_items)``: where a step of the walk leads
``item_sums.npy``      float32 ``(n_items,)``: what `recgraph.walk.user_steps` divides by
``transform.npz``      what ALS is given of a rating: `recgraph.transforms.read_fitted`
``item_content.npz``   SciPy CSR, float32 ``(n_items, n_items)``: where a step by content leads, as
                       the part ``content`` counts it (`recgraph.content`); only with a catalogue.
                       Cold items come last by index; their rows lead to what they resemble
``item_again.npy``     float32 ``(n_items,)``: what each item adds to the repeats of its buyers
                       (`recgraph.repeats`); only where the part ``repeat`` counts
``item_discount.npy``  float32 ``(n_items,)``: what whole scores are multiplied by; only with
                       ``popularity_discount``
``popular.parquet``    segment (a department; null for all), rank from 1, item_index, item_id: what
                       fills lists that nothing else does (`recgraph.fallback`)
``histories/``         every user's events and every item's buyers, to be memory-mapped:
                       `recgraph.histories`
=====================  ==========================================================================

It is written under a temporary name and renamed, so that readers never see half of one.
"""

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from recgraph import claims
from recgraph.errors import GenerationError

MANIFEST = "generation.json"
VERTICES = "vertices"
EDGES = "edges"
USERS = "users"
ITEMS = "items"
USER_FACTORS = "user_factors"
ITEM_FACTORS = "item_factors.npy"
ITEM_NEIGHBOURS = "item_neighbours.npz"
ITEM_CONTENT = "item_content.npz"
ITEM_DISCOUNT = "item_discount.npy"
ITEM_AGAIN = "item_again.npy"
ITEM_SUMS = "item_sums.npy"
TRANSFORM = "transform.npz"
POPULAR = "popular.parquet"

KEEP_REJECTED = 2
"""Rejected generations that pruning leaves on disk."""

_UNFINISHED = ".unfinished-"
_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{4}")


class Counts(msgspec.Struct, frozen=True):
    """How much went into a generation and how much came out."""

    events: int
    """Events read, each identity once."""
    duplicates: int
    """Further events with an identity that was there before."""
    conflicts: int
    """Those of the duplicates whose content differs from the first."""
    users: int
    items: int
    """Items that can be recommended: those with interactions, and ``cold_items``."""
    interactions: int
    """Distinct (user, item) with a positive rating; those that are purchases are bought edges."""
    density: float
    """interactions / (users * items with interactions)."""
    recommendations: int
    """Rows of all lists together: the recommended edges."""
    vertices: int
    edges: int
    cold_items: int = 0
    """Items of the catalogue without interactions, the last ones by index. They have content only;
    in degrees, coverage and tests they count as any other."""


class RankingMetrics(msgspec.Struct, frozen=True):
    """One recommender on one task, over the users of the test period.

    Defined in docs/metrics.md. What has a default is missing from older manifests.
    """

    task: Literal["next_basket", "new_items"]
    recommender: str
    """A name of `recgraph.evaluation.recommenders`, such as ``als+walk`` or ``popular``."""
    k: int
    n_users: int
    ndcg: float
    recall: float
    coverage: float
    """Distinct items recommended / items that can be, cold ones among them."""
    ndcg_low: float | None = None
    """Lower end of the 95 % bootstrap interval of ``ndcg`` over users."""
    ndcg_high: float | None = None
    """Its upper end."""
    precision: float | None = None
    map: float | None = None
    """Mean average precision, normalised by min(relevant items, k)."""
    mrr: float | None = None
    """Mean reciprocal rank of the first hit."""
    hit_rate: float | None = None
    """Share of the users with a hit."""
    novelty: float | None = None
    """Mean self-information of the recommended items, in bits."""
    gini: float | None = None
    """Gini coefficient of how often each item is recommended, 0 (even) to 1."""
    top_share: float | None = None
    """Share of all recommended places that go to the most recommended 1 % of the items."""


class ErrorMetrics(msgspec.Struct, frozen=True):
    """One predictor's errors over the pairs of the test period."""

    predictor: str
    """``als``, or ``constant``: the best constant, or the training mean for explicit data."""
    n_pairs: int
    rmse: float
    mae: float
    n_known: int | None = None
    """Those of the pairs whose user and item were both in training; of an unknown one the bias is
    0. What has a default is missing from older manifests."""
    rmse_low: float | None = None
    """Lower end of the 95 % interval of ``rmse`` over users; None of one user."""
    rmse_high: float | None = None
    mae_low: float | None = None
    mae_high: float | None = None


class Metrics(msgspec.Struct, frozen=True):
    """What the evaluation model, trained on events before ``cut_at``, did on those after it."""

    cut_at: datetime | None
    """None when there was too little to hold anything back."""
    test_days: float
    ranking: list[RankingMetrics]
    errors: list[ErrorMetrics]
    note: str | None = None
    """Why nothing was measured, when nothing was."""
    model: str = "als"
    """The recommender whose lists are published; the others stand beside it for comparison."""


class Check(msgspec.Struct, frozen=True):
    """One comparison that the quality gate made."""

    measure: Literal["ndcg", "rmse"]
    task: Literal["next_basket", "new_items"] | None
    """None for an error, which has no task."""
    k: int | None
    against: str | None
    """A baseline, or ``current``: the model with the settings of the current generation; None when
    the figure was refused by itself."""
    value: float | None
    """What the new model reached; None when it was no finite number."""
    reference: float | None
    """What ``against`` reached."""
    limit: float | None
    """The worst value that passes."""
    passed: bool


class Verdict(msgspec.Struct, frozen=True):
    """What the quality gate says of a new generation."""

    passed: bool
    reasons: list[str]
    """A line for each check that failed, for a person."""
    checks: list[Check] = []
    """Every comparison made, for a program."""
    compared_with: str | None = None
    """The generation that was current; None when there was none to compare with."""
    notes: list[str] = []
    """What could not be compared, and why."""


class Degrees(msgspec.Struct, frozen=True):
    """Degree distributions over all items: ascending ``[degree, n_items]``, zero included."""

    bought: list[tuple[int, int]]
    recommended: list[tuple[int, int]]
    coverage: float
    """Share of the items that stand in at least one list."""
    top_share: float
    """Share of all recommended places that go to the most recommended 1 % of the items."""
    gini: float
    """Gini coefficient of the recommended degrees, 0 (even) to 1."""


class Manifest(msgspec.Struct, frozen=True):
    """What a generation says of itself."""

    id: str
    created_at: datetime
    status: Literal["complete", "rejected"]
    feedback: Literal["implicit", "explicit"]
    settings: dict[str, object]
    """The training settings that made it."""
    seen: dict[str, dict[str, int]]
    """Which events it has seen: topic id -> partition -> next offset."""
    events_version: int
    """Version of the event table that it read."""
    counts: Counts
    metrics: Metrics
    degrees: Degrees
    departments: list[str]
    """Departments of the recommended items, alphabetically."""
    seconds: dict[str, float]
    """Stage of the training -> seconds it took."""
    reason: str | None = None
    """Why it was rejected, in one line."""
    verdict: Verdict | None = None
    """What the quality gate said; None for a generation older than the gate."""
    coefficients: dict[str, float] = {}
    """Part of the score -> what it is multiplied by; a part that is off is not there."""
    mean_rating: float | None = None
    """Explicit feedback: the mean of the ratings it was trained on."""
    regularization: float | None = None
    """The penalty of its ALS, where the setting may leave it open."""
    capped_users: dict[str, int] = {}
    """Users with more events than ``max_user_events`` -> how many they have; only the newest of
    theirs were looked at. The hundred with most."""


def new_id(now: datetime | None = None) -> str:
    """Return a generation id that sorts by time, such as ``20261121-091500-3fa2``."""
    now = now or datetime.now(UTC)
    return f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


@contextmanager
def open_new(root: Path, generation_id: str) -> Iterator[Path]:
    """Give a folder to write a generation into; it gets its name when the block ends well.

    The block must end by calling `write_manifest`. A block that fails leaves nothing behind; a
    process that is killed leaves an unfinished folder that the next call removes.
    """
    claims.remove_abandoned(root, f"{_UNFINISHED}*")
    with claims.claimed(root / f"{_UNFINISHED}{generation_id}") as unfinished:
        yield unfinished
        read_manifest(unfinished)
        claims.release(unfinished)
        unfinished.rename(root / generation_id)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``generation.json`` and force it to disk."""
    with (folder / MANIFEST).open("wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(manifest), indent=2))
        file.flush()
        os.fsync(file.fileno())


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a generation's folder.

    Raises
    ------
    GenerationError
        The folder has no manifest, or one that cannot be read.
    """
    try:
        return msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except FileNotFoundError:
        message = (
            f"{folder} is no complete generation: it has no {MANIFEST}. "
            "`recgraph generations list` shows the complete ones."
        )
        raise GenerationError(message) from None
    except (OSError, msgspec.ValidationError, msgspec.DecodeError) as error:
        message = f"{folder / MANIFEST} cannot be read: {error}. Remove {folder} and train again."
        raise GenerationError(message) from None


def list_generations(root: Path) -> list[Manifest]:
    """Return the manifests of all complete and rejected generations on disk, newest first."""
    folders = (path.parent for path in root.glob(f"[!.]*/{MANIFEST}"))
    return sorted(map(read_manifest, folders), key=lambda manifest: manifest.id, reverse=True)


def resolve(root: Path, generation_id: str | None) -> Path:
    """Return the folder of a generation, or of the newest complete one when none is named.

    Raises
    ------
    GenerationError
        There is no such generation.
    """
    if generation_id is not None:
        if not _ID.fullmatch(generation_id):
            message = f"{generation_id!r} is no generation id; it looks like 20261121-091500-3fa2."
            raise GenerationError(message)
        read_manifest(root / generation_id)
        return root / generation_id
    for manifest in list_generations(root):
        if manifest.status == "complete":
            return root / manifest.id
    message = f"no complete generation in {root}. Make one: `recgraph train`."
    raise GenerationError(message)


def prune(root: Path, keep: int, *, current: str | None) -> list[str]:
    """Remove all but the current and the newest generations; return the ids of those removed.

    Complete ones are counted with the current one. Rejected ones are counted apart, so that a
    row of them pushes out nothing good: the newest `KEEP_REJECTED` stay, to be looked at.
    """
    manifests = list_generations(root)
    complete = [m.id for m in manifests if m.status == "complete" and m.id != current]
    rejected = [m.id for m in manifests if m.status == "rejected" and m.id != current]
    n_complete = max(keep - (current is not None), 0)
    kept = {*complete[:n_complete], *rejected[:KEEP_REJECTED], current}
    old = [m.id for m in manifests if m.id not in kept]
    for generation_id in old:
        doomed = root / f"{_UNFINISHED}{generation_id}-{os.getpid()}"
        (root / generation_id).rename(doomed)  # gone at once, even if what follows is killed
        shutil.rmtree(doomed)
    return old
