"""What others may ask of MongoDB and Kafka: protocols, and the documents that pass through them.

`recgraph.services` implements the protocols; the dashboard and the tests know only these.
"""

from recgraph.ports.accounts import Accounts, Attempts, Keys, People, Sessions
from recgraph.ports.feed import NewList, News, RecommendationFeed
from recgraph.ports.feedback import Feedback, FeedbackEntry, FeedbackKind
from recgraph.ports.sink import Accepted, EventSink, Outcome, Unconfirmed
from recgraph.ports.store import (
    Bought,
    Buyer,
    Freshness,
    Hit,
    ItemProfile,
    Kind,
    Product,
    Progress,
    Published,
    Reason,
    Recommendations,
    Recommended,
    RecommendedTo,
    Similar,
    Store,
    UserProfile,
)

__all__ = [
    "Accepted",
    "Accounts",
    "Attempts",
    "Bought",
    "Buyer",
    "EventSink",
    "Feedback",
    "FeedbackEntry",
    "FeedbackKind",
    "Freshness",
    "Hit",
    "ItemProfile",
    "Keys",
    "Kind",
    "NewList",
    "News",
    "Outcome",
    "People",
    "Product",
    "Progress",
    "Published",
    "Reason",
    "RecommendationFeed",
    "Recommendations",
    "Recommended",
    "RecommendedTo",
    "Sessions",
    "Similar",
    "Store",
    "Unconfirmed",
    "UserProfile",
]
