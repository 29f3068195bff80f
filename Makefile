# Two commands do everything: `make demo` and `make test`. Before a commit, `make lint` too.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --constraint constraints.txt

.PHONY: demo test slow lint docs wheel-test package-check versions bench clean

demo: .venv/.demo
	$(BIN)/coreselect demo --out out/demo

test: .venv/.test
	$(BIN)/python -m pytest -q -n 2

slow: .venv/.test
	$(BIN)/python -m pytest -q -m slow

lint: .venv/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

# The site, in build/site; a warning is an error.
docs: .venv/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "the site is in build/site; its search needs a server: python3 -m http.server --directory build/site"

# The artefact that ships: build the wheel, install it into an environment of its own, run the tests against it.
wheel-test: .venv/.test
	rm -rf build/wheel dist
	$(BIN)/python -m build --wheel --no-isolation --outdir dist
	$(PYTHON) -m venv build/wheel
	build/wheel/bin/python -m pip install --quiet --constraint constraints.txt "$$(ls dist/*.whl)[cpu,data,ot,plot,train,frameworks,dev]"
	cp -r tests build/wheel/tests && cp pyproject.toml build/wheel/
	cd build/wheel && env -u PYTHONPATH COLUMNS=80 bin/python -m pytest -q -n 2 -c pyproject.toml --rootdir . --ignore tests/benchmarks --ignore tests/test_layers.py tests

# The wheel and the source archive: their descriptions, and what they hold.
package-check: .venv/.test
	rm -rf build/package
	$(BIN)/python -m build --no-isolation --outdir build/package
	$(BIN)/python -m twine check --strict build/package/*
	$(BIN)/python tests/package_contents.py build/package

# The lowest and the highest supported versions of what we need, each in an environment of its own, as far as they can be had.
versions:
	$(PYTHON) tests/versions.py

bench: .venv/.test
	$(BIN)/python -m benchmarks.run --case small

# The environment; its marks are newer than what they were made from.
.venv/bin/python:
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed"'
	$(PYTHON) -m venv .venv

.venv/.demo: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) --editable ".[cpu,data,plot,train]"
	touch $@

.venv/.test: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) --editable ".[cpu,data,ot,plot,train,frameworks,dev]"
	touch $@

.venv/.docs: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) --editable ".[docs]"
	touch $@

clean:
	rm -rf .venv build dist out
