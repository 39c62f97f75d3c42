"""Every column name, once: what frames, Parquet files, exports and documents call their fields."""


class Columns:
    """Names of columns, grouped by the table they first appear in.

    A name that two tables share (``user_id``) means the same thing in both.
    """

    # one event, as it arrived
    EVENT_ID = "event_id"
    USER_ID = "user_id"
    PRODUCT_ID = "product_id"
    QUANTITY = "quantity"
    RATING = "rating"
    OCCURRED_AT = "occurred_at"
    INGESTED_AT = "ingested_at"

    # where a message stood on its topic
    TOPIC = "topic"
    TOPIC_ID = "topic_id"
    PARTITION = "partition"
    OFFSET = "offset"

    # why a message was turned away
    REASON = "reason"
    DETAIL = "detail"
    RAW = "raw"

    # one line of a file of reviews
    REVIEW_ID = "review_id"
    TEXT = "text"
    REVIEWED_AT = "reviewed_at"
    HELPFUL_VOTES = "helpful_votes"
    VERIFIED = "verified"
    VARIANT = "variant"
    SOURCE_FORMAT = "source_format"
    FILE_ID = "file_id"
    FILE = "file"
    LINE = "line"
    LOADED_AT = "loaded_at"
    CLEAN_TITLE = "clean_title"
    CLEAN_TEXT = "clean_text"

    # a sample of reviews
    N_REVIEWS = "n_reviews"
    MEAN_RATING = "mean_rating"
    STRATUM = "stratum"
    GROUP = "group"

    # one interaction, and the dense ids
    ITEM_ID = "item_id"
    USER_INDEX = "user_index"
    ITEM_INDEX = "item_index"
    LAST_AT = "last_at"
    N_EVENTS = "n_events"
    IS_BOUGHT = "is_bought"
    RECENT_RATING = "recent_rating"
    REPEAT_RATING = "repeat_rating"
    EARLY_RATING = "early_rating"

    # factors and lists
    INDEX = "index"
    FACTORS = "factors"
    RANK = "rank"
    SCORE = "score"
    ALS = "als"
    WALK = "walk"
    REPEAT = "repeat"
    CONTENT = "content"
    SOURCE = "source"
    SEGMENT = "segment"

    # the walk: which items lead where, and what led to a recommendation
    NEIGHBOUR_INDEX = "neighbour_index"
    WEIGHT = "weight"
    BECAUSE = "because"
    SHARE = "share"
    SIMILAR = "similar"

    # the graph
    ID = "id"
    SRC = "src"
    DST = "dst"
    KIND = "kind"
    EXTERNAL_ID = "external_id"
    BOUGHT_DEGREE = "bought_degree"
    RECOMMENDED_DEGREE = "recommended_degree"
    PAGERANK = "pagerank"

    # the catalogue
    TITLE = "title"
    DEPARTMENT = "department"
    BRAND = "brand"
    CATEGORY = "category"
    PRICE = "price"
    IMAGE_URL = "image_url"

    # neighbour lists of the published profiles
    BOUGHT = "bought"
    RECOMMENDED = "recommended"
    BUYERS = "buyers"
    RECOMMENDED_TO = "recommended_to"
