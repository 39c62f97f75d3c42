"""New lists to everybody who listens: server-sent events, in a process of their own.

One thread follows the feed; one event loop holds the open streams. Nothing here touches Dash, so
that however many listen, pages and API answer as before.
"""
