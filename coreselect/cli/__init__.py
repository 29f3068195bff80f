"""The command line: `select.py` has the options of `coreselect select`, `select_run.py` does its work, and so on."""
