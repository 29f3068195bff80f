"""`python -m coreselect`: the command line without its entry point."""

from coreselect.cli.app import main

if __name__ == "__main__":
    main()
