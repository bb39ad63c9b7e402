"""`python -m service` is `toco`: how the supervisor starts its parts, installed or not."""

from service.cli.main import main

if __name__ == "__main__":
    main()
