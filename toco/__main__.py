"""`python -m toco` is `toco`: how the supervisor starts its parts, installed or not."""

from toco.service.cli.main import main

main()
