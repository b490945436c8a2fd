"""Run the command line with `python -m lineup`."""

from lineup.cli.main import main

if __name__ == "__main__":
    main()
