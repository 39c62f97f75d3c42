"""Sales events in, recommendations out, as a graph you can see and walk."""

__version__ = "0.1.0"
