"""`python -m seawall.cli`: the command, where its script is not on the path."""

from seawall.cli.main import main

main()
