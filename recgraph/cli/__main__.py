"""``python -m recgraph.cli``: the command line, for those who have no ``recgraph`` on the path."""

from recgraph.cli import main

main()
