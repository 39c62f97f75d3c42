"""Ratings -> factors, in this process: what Spark's ALS does for any size, for what fits in memory.

Needs about ``8 * n_ratings`` bytes for the ratings twice, and the factors.
"""
