"""A generation's files -> lists, similar items and reasons for one user or basket, in milliseconds.

A `Serving` is opened from the folder of a generation and never changes; threads may share it. What
it answers for a user's whole history is what the training wrote for that user, to rounding: the
user's factors are folded in (`recgraph.model.fold_in_users`) and blended as the batch does.

Memory: item factors and histories are mapped from the disk and shared by all processes; held are 8
bytes for each neighbour of each item, about 300 bytes an item for ids and attributes, and 4 bytes
an item for each list that is being made. Nothing grows with the number of users but their ids.

::

    serving = open_serving(folder)                     # a generation's folder
    history = serving.history("1364")                  # what the generation knows of a user
    serving.recommend(history, Wish(k=10)).rows        # list[recgraph.ports.Recommended]
    serving.basket(["995242", "no such id"])           # .rows, and .ignored == ["no such id"]
    serving.what_if(history, ["995242"], Wish(hidden=["1082185"]))   # minus out of stock
    serving.similar("995242", 10)                      # list[recgraph.ports.Similar]
    serving.because(history, "1082185", 3)             # list[Because], the largest share first

Ids that the generation does not know are ignored and named, never an error.
"""

from recgraph.serving.answers import AS_TRAINED, Answer, Because, Purchases, Wish
from recgraph.serving.generation import Serving
from recgraph.serving.opening import open_serving

__all__ = ["AS_TRAINED", "Answer", "Because", "Purchases", "Serving", "Wish", "open_serving"]
