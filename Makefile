# make demo | test | lint | bench | clean. The first four set up .venv by themselves; only Python 3.11 or newer is needed.
#   PYTHON=python3.12       another interpreter
#   PIP_FLAGS="..."         passed to pip, for example the index of PyTorch's CPU builds (plain pip on Linux takes CUDA builds)

PYTHON ?= python3
PIP_FLAGS ?=
OUTPUT ?= demo_output
FLAIR ?= Resources/SampleData/synthetic_ct_5mm_flair.nii.gz

PIP := .venv/bin/python -m pip --disable-pip-version-check --quiet
READY := .venv/.ready
SLICER := .venv/.slicer
BENCH := .venv-bench/.ready

.PHONY: demo test lint bench clean

demo: $(READY)
	@.venv/bin/csvd wmh $(FLAIR) -o $(OUTPUT)

test: $(READY) $(SLICER)
	@.venv/bin/python -m pytest

lint: $(READY)
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .

bench: $(READY) $(BENCH)
	@.venv/bin/python benchmarks/bench.py
	@.venv/bin/python benchmarks/bench_burden.py
	@.venv-bench/bin/python benchmarks/bench_ct.py

clean:
	rm -rf .venv .venv-bench demo_output build *.egg-info .pytest_cache .ruff_cache benchmarks/last.json
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Slicer's own nodes and a Qt for the panels: only the tests need them, and where there is no wheel they are skipped.
$(SLICER): $(READY) Testing/requirements.txt
	@$(PIP) install $(PIP_FLAGS) -r Testing/requirements.txt && touch $@ || \
		echo "slicer-core or PySide6 cannot be installed here: the tests of nodes and panels are skipped."

# nnU-Net, which ours is compared with, brings much that nothing else needs.
$(BENCH): $(READY) benchmarks/requirements.txt
	@$(PYTHON) -m venv .venv-bench
	@.venv-bench/bin/python -m pip --disable-pip-version-check --quiet install $(PIP_FLAGS) -r requirements.txt -r benchmarks/requirements.txt
	@.venv-bench/bin/python -m pip --disable-pip-version-check --quiet install --no-deps --no-build-isolation -e .
	@touch $@

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed, and '$(PYTHON)' is not; name one, such as: make PYTHON=python3.12"; exit 1; }
	@echo "Setting up .venv; the first time this takes some minutes ..."
	@rm -rf .venv
	@$(PYTHON) -m venv .venv || \
		{ echo "'$(PYTHON)' cannot make virtual environments; on Debian and Ubuntu install the package python3-venv"; exit 1; }
	@$(PIP) install $(PIP_FLAGS) -r requirements.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@
