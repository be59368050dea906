"""`python -m littoral` is the `littoral` command."""

from littoral.cli.main import main

main()
