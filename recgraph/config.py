"""Every setting with its sentence, unit and range.

A setting comes from the environment (``RECGRAPH_K=20``) or from ``recgraph.toml`` in the folder
where the command runs (``k = 20``); the environment wins. A name that no setting has is refused,
so that a typing error cannot pass for the default.
"""

import difflib
import os
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from recgraph.errors import ConfigError

PREFIX = "RECGRAPH_"
TOML_FILE = "recgraph.toml"

TrainOn = Literal["sales", "reviews"]
"""What a training learns from."""

AbsolutePath = Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())]


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        message = "no time zone has this name; expected one such as UTC or Europe/Vienna"
        raise ValueError(message) from None
    return name


def _default_cache_dir() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "recgraph"


class Settings(BaseSettings):
    """All settings of recgraph; read them with `load_settings`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        toml_file=TOML_FILE,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
    )

    # where things are kept
    data_dir: AbsolutePath = Field(default=Path("data"), validate_default=True)
    """Folder of everything recgraph keeps: event tables, generations, service data and logs."""
    exports_dir: AbsolutePath = Field(default=Path("exports"), validate_default=True)
    """Folder that `recgraph export` writes its CSV files into."""
    cache_dir: AbsolutePath = Field(default_factory=_default_cache_dir, validate_default=True)
    """Folder of downloaded jars and of the archive of Spark's classes; several checkouts may share
    it."""

    # services
    kafka_bootstrap: str | None = None
    """Your own broker, as ``host:port[,host:port]``; unset, the embedded one is used."""
    topic: str = Field(default="sales", pattern=r"^[A-Za-z0-9._-]{1,249}$")
    """Topic that sale events arrive on."""
    topic_partitions: int = Field(default=2, ge=1, le=10_000)
    """Partitions of the topic when recgraph makes it."""
    mongo_uri: SecretStr | None = None
    """Your own MongoDB, as ``mongodb://...``; unset, the embedded server is used."""
    mongo_database: str = Field(default="recgraph", pattern=r"^[A-Za-z0-9_-]{1,60}$")
    """Database that generations are published to."""
    service_timeout_s: float = Field(default=60.0, gt=0)
    """Seconds an embedded service may take to come up, or a server to answer at first."""

    # Spark
    spark_master: str = "local[*]"
    """Spark master URL."""
    driver_memory: str = Field(default="2g", pattern=r"^[1-9][0-9]*[mg]$")
    """Heap of the Spark driver, such as ``2g``; with a local master it does all the work."""
    shuffle_partitions: int = Field(default=4, ge=1)
    """Partitions after a Spark shuffle; two per core is a good start."""
    graphframes_source: Literal["sedona-shaded", "official"] = "sedona-shaded"
    """Artifact that carries the GraphFrames 0.9.2 classes (docs/adr/0001): ``sedona-shaded``
    resolves on every mirror of the central repository, ``official`` needs one that has
    io.graphframes."""

    # events
    max_message_bytes: int = Field(default=65_536, ge=256)
    """A message larger than this is rejected, in bytes."""
    max_id_length: int = Field(default=256, ge=1, le=1024)
    """Longest user, product or event id, in characters."""
    earliest_year: int = Field(default=1990, ge=1970)
    """An event that occurred before this year is rejected: such clocks were never set."""
    max_future_days: float = Field(default=2.0, ge=0)
    """An event further in the future than this is rejected, in days after its arrival."""
    field_event_id: str = Field(default="event_id", min_length=1)
    """Where a message has its id: a dotted path (``payload.id``), or a constant (``=x``)."""
    field_user_id: str = Field(default="user_id", min_length=1)
    """Where a message has the user's id."""
    field_product_id: str = Field(default="product_id", min_length=1)
    """Where a message has the product's id."""
    field_quantity: str = Field(default="quantity", min_length=1)
    """Where a message has the quantity; ``=1`` where each message counts one."""
    field_rating: str = Field(default="rating", min_length=1)
    """Where a message has a rating, if it has one."""
    field_kind: str = Field(default="kind", min_length=1)
    """Where a message says what happened; without it, a purchase."""
    field_occurred_at: str = Field(default="occurred_at", min_length=1)
    """Where a message has its time."""
    time_unit: Literal["iso", "s", "ms"] = "iso"
    """How times are written: ISO 8601 text, or a number of seconds or milliseconds since 1970."""
    time_zone: Annotated[str, AfterValidator(_known_zone)] = "UTC"
    """Zone of times that name none, such as ``Europe/Vienna``."""
    send_rejected: bool = True
    """Send rejected messages to the topic ``<topic>.rejected`` as well, which is made if need be;
    the table of rejected messages has them either way."""
    max_events_per_batch: int = Field(default=500_000, ge=1)
    """Messages that one micro-batch of ingest reads at most."""
    batch_seconds: int = Field(default=2, ge=1, le=3600)
    """Least time between the starts of two micro-batches of continuous ingest, in seconds."""
    accept_loss: bool = False
    """Go on when the broker has dropped messages before they were read; else ingest stops, and
    says so."""
    compact_every_batches: int = Field(default=200, ge=1)
    """After so many micro-batches the small files of the event tables are made into large ones."""

    # reviews
    max_review_bytes: int = Field(default=1_048_576, ge=256)
    """A line of a file of reviews that is larger is rejected, in bytes."""
    review_chunk_mb: int = Field(default=256, ge=1, le=4096)
    """Text of a file of reviews that one commit takes in, in MiB: what is read again after a
    crash, and twice as much of which lies in the data folder meanwhile."""

    # training
    train_on: TrainOn = "sales"
    """What a training learns from: the event table, or the table of reviews. Reviews are explicit
    feedback unless ``feedback`` is set."""
    feedback: Literal["implicit", "explicit"] = "implicit"
    """``implicit``: purchases, a count is a confidence. ``explicit``: ratings, to be predicted."""
    kind_weights: dict[str, float] = {
        "purchase": 1.0,
        "rating": 1.0,
        "cart": 0.3,
        "view": 0.1,
        "return": -1.0,
    }
    """What one event of each kind counts in an interaction; a kind not named is rejected."""
    half_life_days: float | None = Field(default=60.0, gt=0)
    """After so many days an event counts half for ALS; unset, old events count as much as new
    ones."""
    max_user_events: int = Field(default=10_000, ge=1)
    """Events of one user that training looks at, the newest; whoever has more (a bot, a till) is
    named, and would otherwise outweigh everybody."""
    transform: Literal["count", "log", "binary", "cap", "bm25"] = "count"
    """What ALS is given of a rating r of implicit feedback: r, log(1 + r), min(r, 1), min(r,
    ``rating_cap``), or r saturated and weighed as BM25 does (docs/settings.md)."""
    rating_cap: float = Field(default=0.95, gt=0)
    """The most that ``transform = "cap"`` leaves of a rating; below 1, their quantile."""
    n_factors: int = Field(default=64, ge=1, le=1024)
    """Latent dimension of ALS."""
    n_iterations: int = Field(default=7, ge=1, le=1000)
    """Sweeps of ALS over users and items; on purchases more of them change nothing that can be
    measured (docs/metrics.md)."""
    regularization: float | None = Field(default=None, gt=0)
    """Penalty on the factors, times the number of ratings (ALS-WR). Unset: 0.03 for purchases; for
    ratings by how many a user or a product has, whichever are more (0.1 for 170, 0.4 for 10)."""
    engine: Literal["spark", "local"] = "spark"
    """Who solves ALS: ``spark`` at any size, ``local`` in the memory of the driver and faster there
    (needs ``pip install 'recgraph[local]'``)."""
    local_regularization: float = Field(default=10.0, gt=0)
    """Penalty of the local engine for implicit feedback, times the number of ratings to the power
    of ``local_exponent``."""
    local_exponent: float = Field(default=0.0, ge=0, le=1)
    """How the penalty of the local engine grows with the number of ratings: 0 not at all, which is
    fastest; 1 as Spark's, so that ``local_regularization`` means what ``regularization`` does."""
    alpha: float = Field(default=1.0, gt=0)
    """Implicit feedback: confidence = 1 + alpha * rating."""
    bias_damping: float = Field(default=5.0, ge=0)
    """Explicit feedback: so many ratings draw the bias of a user or an item towards 0."""
    als_weight: float = Field(default=1.0, ge=0)
    """How much ALS counts in the score of implicit feedback, beside the walk; 0 leaves it out."""
    walk_weight: float = Field(default=1.0, ge=0)
    """How much the graph walk counts beside ALS, both of the same size; 0 switches it off."""
    walk_neighbours: int = Field(default=100, ge=1, le=10_000)
    """Neighbours of each item that the walk keeps, the strongest."""
    walk_exponent: float = Field(default=0.0, ge=0, le=1)
    """How much the walk holds popular items back, 0 (not at all) to 1."""
    walk_half_life_days: float | None = Field(default=14.0, gt=0)
    """After so many days a first purchase counts half in the last step of the walk, so that it ends
    at what users discover now; unset, all purchases count alike, first or not."""
    repeat_weight: float = Field(default=60.0, ge=0)
    """How much the user's own purchases count where lists may hold them (``exclude_seen`` off)."""
    repeat_half_life_days: float | None = Field(default=120.0, gt=0)
    """After so many days an own purchase counts half; unset, all count alike, and silence says
    nothing."""
    content_weight: float = Field(default=0.0, ge=0)
    """How much it counts that a product resembles the user's purchases by its attributes, for
    products with sales; 0 leaves it out (docs/adr/0011)."""
    cold_weight: float = Field(default=0.05, ge=0)
    """The same for products of the catalogue without sales, which have nothing else; at 0.5 they
    take half of all places (docs/metrics.md)."""
    max_cold_items: int = Field(default=2_000, ge=0)
    """Products without sales that can be recommended, those last loaded into the catalogue; 0
    leaves them all out."""
    content_neighbours: int = Field(default=50, ge=1, le=10_000)
    """Products that each product resembles most, by the catalogue."""
    seed: int = 42
    """Seed of everything random: the same events give the same recommendations."""
    min_user_items: int = Field(default=1, ge=1)
    """A user with fewer distinct items is left out of training."""
    min_item_users: int = Field(default=1, ge=1)
    """An item with fewer distinct users is left out of training."""
    test_days: float = Field(default=28.0, gt=0)
    """Length of the held-out period in days; never more than a quarter of the whole span."""
    test_share: float = Field(default=0.1, gt=0, le=0.5)
    """Of reviews the last so many are held out, as a share; years of them have no last days."""
    recent_days: float = Field(default=28.0, gt=0)
    """What is popular lately is what was bought in so many days before the held-out period."""
    rating_prior: float = Field(default=10.0, ge=0)
    """Explicit feedback: popular is what has the best average, as if each product had so many
    ratings more, all of them the mean of all: five stars of one user are no popularity."""
    k: int = Field(default=10, ge=1, le=1000)
    """Length of each list of recommendations, and the k of the metrics."""
    exclude_seen: bool = True
    """Leave out of the lists what the user bought already."""
    max_per_category: int | None = Field(default=None, ge=1)
    """At most so many products of one category in a list; unset, any number."""
    popularity_discount: float = Field(default=0.0, ge=0, le=1)
    """The whole score of a product is divided by its buyers plus one to this power, so that lists
    show more of the assortment; 0 leaves it as it is."""
    hidden_path: AbsolutePath | None = None
    """Text file of product ids, one a line, that no list holds: out of stock, say, or recalled."""
    hidden_departments: list[str] = []
    """Departments that no list holds, as a JSON list in the environment."""
    hidden_categories: list[str] = []
    """Categories that no list holds."""
    gate_margin: float = Field(default=0.05, ge=0, lt=1)
    """How much worse than the current settings' model, and than the popular lists, a new model may
    be and still be published, as a share."""
    gate_min_measured: int = Field(default=30, ge=1)
    """Test users (explicit feedback: test ratings) that it takes to refuse a generation."""
    max_listed_items: int = Field(default=100_000, ge=1)
    """Explicit feedback: lists are chosen from so many items, those with most ratings; with all the
    work would grow as users times items, and what few have rated is predicted by chance."""
    max_ranked_users: int = Field(default=10_000, ge=2)
    """Users of the test period whose lists are measured, at most, drawn at random; errors are those
    of all users."""
    max_score_block_mb: int = Field(default=128, ge=1)
    """Memory one Spark task may use for a block of scores, in MiB."""
    max_neighbours: int = Field(default=500, ge=1, le=10_000)
    """Neighbours of each kind that a published profile lists; the degrees still count all."""
    keep_generations: int = Field(default=3, ge=1)
    """Generations kept on disk and in MongoDB, the current one among them."""

    # running for days
    train_after_events: int = Field(default=50_000, ge=1)
    """`recgraph run` trains when so many new events are in since the last training."""
    train_after_minutes: float = Field(default=60.0, gt=0)
    """`recgraph run` trains when the last training began so many minutes ago and there is at least
    one new event."""
    metrics_port: int | None = Field(default=None, ge=0, le=65_535)
    """Port of 127.0.0.1 on which `ingest` and `run` answer Prometheus, such as 9400; 0 takes a free
    one, unset there is none."""
    train_timeout_minutes: float = Field(default=360.0, gt=0)
    """`recgraph run` ends a training, or the publishing of one, that takes longer than so many
    minutes, and tries it again later."""

    # live
    live_topic: str = Field(default="recommendations", pattern=r"^[A-Za-z0-9._-]{1,249}$")
    """Topic that `live` sends each new list to; it is made if need be."""
    live_metrics_port: int | None = Field(default=None, ge=0, le=65_535)
    """Port of 127.0.0.1 on which `live` answers Prometheus, such as 9402; 0 takes a free one, unset
    there is none."""

    # dashboard
    host: str = "127.0.0.1"
    """Address that the dashboard listens on."""
    port: int = Field(default=8050, ge=0, le=65_535)
    """Port of the dashboard; 0 takes a free one."""
    workers: int = Field(default_factory=lambda: min(4, os.cpu_count() or 1), ge=1, le=64)
    """Processes of `serve` that answer requests; one a core, at most 4, is the default."""
    serve_metrics_port: int | None = Field(default=None, ge=0, le=65_535)
    """Port of 127.0.0.1 on which `serve` answers Prometheus, such as 9401; 0 takes a free one,
    unset there is none."""
    stream_port: int | None = Field(default=None, ge=0, le=65_535)
    """Port of `recgraph stream`, which sends new lists to browsers; 0 takes a free one, unset it is
    the one after the dashboard's."""
    stream_metrics_port: int | None = Field(default=None, ge=0, le=65_535)
    """Port of 127.0.0.1 on which the stream answers Prometheus, such as 9403; 0 takes a free one,
    unset there is none."""
    stream_clients: int = Field(default=500, ge=1, le=20_000)
    """Streams that may be open at the same time; further ones are answered with 503."""
    requests_per_minute: int = Field(default=60_000, ge=1)
    """Requests to the API that one key or account may send in a minute; each process of `serve`
    lets its part of them pass, so that together they never let more."""
    show_images: bool = False
    """Show the pictures of products that the catalogue names; browsers then load them from the
    servers of ``image_hosts``, which learn who looks at what. Off, pages load nothing from outside.
    """
    image_hosts: list[Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]+$")]] = [
        "m.media-amazon.com",
        "images-na.ssl-images-amazon.com",
        "ecx.images-amazon.com",
    ]
    """Servers that pictures may come from, over HTTPS; those of others are not shown."""
    public_url: str | None = Field(default=None, pattern=r"^https?://[A-Za-z0-9.:\[\]-]+$")
    """Where browsers find the proxy with TLS in front of the dashboard, such as
    ``https://shop.example``; its ``X-Forwarded-*`` headers are believed then, and cookies are
    Secure where this says https."""

    @field_validator("walk_weight")
    @classmethod
    def _something_is_left(cls, weight: float, info: ValidationInfo) -> float:
        if weight == 0 and info.data.get("als_weight") == 0:
            message = "als_weight and walk_weight are both 0: nothing is left to score by"
            raise ValueError(message)
        return weight

    @property
    def generations_dir(self) -> Path:
        """Folder of the generations, one folder each."""
        return self.data_dir / "generations"

    @property
    def tuned_path(self) -> Path:
        """What `recgraph tune` found, for the next training."""
        return self.data_dir / "tuned.json"

    @property
    def events_dir(self) -> Path:
        """Delta table of accepted events."""
        return self.data_dir / "events"

    @property
    def rejected_dir(self) -> Path:
        """Delta table of rejected messages."""
        return self.data_dir / "rejected"

    @property
    def rejected_topic(self) -> str:
        """Topic that rejected messages are sent to."""
        return f"{self.topic}.rejected"

    @property
    def reviews_dir(self) -> Path:
        """Folder of product reviews: their Delta table, and what is known of the files loaded."""
        return self.data_dir / "reviews"

    @property
    def features_path(self) -> Path:
        """Folder of the pipeline that makes vectors of reviewed products."""
        return self.reviews_dir / "features"

    @property
    def exploration_path(self) -> Path:
        """JSON file of what all reviews together say."""
        return self.reviews_dir / "exploration.json"

    @property
    def catalogue_path(self) -> Path:
        """Parquet file of product attributes."""
        return self.data_dir / "catalogue.parquet"

    @property
    def status_path(self) -> Path:
        """What `ingest` or `run` says of itself, for all others to read."""
        return self.data_dir / "run" / "status.json"

    @property
    def live_status_dir(self) -> Path:
        """What each `live` says of itself, a file a process."""
        return self.data_dir / "run" / "live"

    @property
    def services_dir(self) -> Path:
        """Data, logs and pid files of the embedded services."""
        return self.data_dir / "services"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order of the sources: arguments, environment, ``recgraph.toml``."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def load_settings(**overrides: object) -> Settings:
    """Settings from the arguments given, the environment and ``recgraph.toml``.

    Raises
    ------
    ConfigError
        A value is out of range, or a name is not a setting.
    """
    _refuse_unknown_variables()
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        settings = Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = "_".join(str(part) for part in first["loc"])
        found = "" if "uri" in name else f", found {first.get('input')!r}"
        raise ConfigError(PREFIX + name.upper(), f"{first['msg']}{found}") from None
    except ValueError as error:  # a TOML file that cannot be parsed
        raise ConfigError(TOML_FILE, str(error)) from None
    if settings.train_on == "reviews" and "feedback" not in settings.model_fields_set:
        return settings.model_copy(update={"feedback": "explicit"})
    return settings


def _refuse_unknown_variables() -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    for variable in sorted(os.environ):
        if variable.startswith(PREFIX) and variable.upper() not in known:
            close = difflib.get_close_matches(variable, known, n=1)
            hint = f"did you mean {close[0]}?" if close else "unset it."
            message = f"no setting has this name; {hint}"
            raise ConfigError(variable, message)
