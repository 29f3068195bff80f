"""`python -m coreselect.cli`: the same as `python -m coreselect`."""

from coreselect.cli.app import main

if __name__ == "__main__":
    main()
