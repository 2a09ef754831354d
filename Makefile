# `make demo` and `make test` set everything up by themselves, into .venv. Python 3.11 or 3.12 and make are enough.
#
#   make demo                 install, then watch the bundled model break
#   make test                 install, then the whole test suite
#   make numeric              the numeric tests once more, with the vector instructions of an old processor
#   make long                 what takes longer than a test run: reliability, thousands of random mistakes, Ray killed
#   make reliability          kills, full disks, damaged and hostile files, load; prints one table (half an hour)
#   make site                 the documentation as a site in build/site, every link checked
#   make notebooks            run the notebooks anew and keep what they show; takes a Chromium
#   make lint                 formatting, lint, types
#   make lock                 write requirements.lock anew from constraints.txt
#
# pip's default torch on Linux brings CUDA; for the CPU alone:
#   make demo TORCH="torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu"

PYTHON ?= python3
TORCH ?= torch==2.13.0
BIN := .venv/bin

.PHONY: demo test numeric long reliability lint site notebooks format docs lock clean

demo: .venv/installed
	$(BIN)/ropediag demo

# One process more than cores, since some tests wait for a browser or another process; five at most. Each test
# file stays in one process, whose fixtures it shares.
PYTEST = $(BIN)/python -m pytest -n $$($(BIN)/python -c "import os; print(min(os.cpu_count(), 4) + 1)") --dist loadfile

test: .venv/installed-dev
	$(PYTEST)

# Processors differ in their vector instructions, and with them in the last digits of sums.
NUMERIC := tests/analysis tests/attribution tests/capture tests/evaluate tests/intervene tests/models tests/testing \
	$(wildcard tests/test_*rope*.py tests/test_*scal*.py tests/test_limits.py tests/test_prediction.py \
	tests/test_retrieval_bound.py tests/test_unseen_swing.py)
NUMERIC_NOT := not kill and not two_processes and not 16384 and not bundled and not memory and not hub and not laws
numeric: .venv/installed-dev
	NPY_DISABLE_CPU_FEATURES="$$($(BIN)/python -m tests.vector_instructions)" ATEN_CPU_CAPABILITY=default \
		OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(PYTEST) $(NUMERIC) -k "$(NUMERIC_NOT)"

# Those of these that take long are skipped by `make test`.
LONG := tests/cli/test_fuzz.py tests/study/test_study.py tests/tune/test_resume.py tests/capture/test_ranks.py \
	tests/analysis/test_bundled_model.py tests/capture/test_blocks.py tests/study/test_families.py
long: reliability
	ROPEDIAG_LONG=1 $(BIN)/python -m pytest $(LONG)

# Keep the tally as benchmarks/results/reliability.jsonl, and write its page from it:
#   python -m tests.reliability benchmarks/results/reliability.jsonl --page docs/reliability.md
reliability: .venv/installed-dev
	$(BIN)/python -m tests.reliability reliability.jsonl --run

lint: .venv/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: .venv/installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

site: .venv/installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

notebooks: .venv/installed-dev
	cd notebooks && for name in *.py; do ../$(BIN)/jupytext --quiet --to ipynb $$name; done
	cd notebooks && PLOTLY_RENDERER=plotly_mimetype+svg ../$(BIN)/jupyter execute --inplace *.ipynb

docs: .venv/installed-dev
	$(BIN)/python -m ropediag.format_doc > captures/README.md
	$(BIN)/python -m tests.supply > docs/licences.md

# Takes uv; torch brings CUDA along, which the build of torch that is used brings itself.
CUDA := cuda-bindings cuda-pathfinder cuda-toolkit triton nvidia-cublas nvidia-cuda-cupti nvidia-cuda-nvrtc \
	nvidia-cuda-runtime nvidia-cudnn-cu13 nvidia-cufft nvidia-cufile nvidia-curand nvidia-cusolver \
	nvidia-cusparse nvidia-cusparselt-cu13 nvidia-nccl-cu13 nvidia-nvjitlink nvidia-nvshmem-cu13 nvidia-nvtx
lock:
	uv pip compile pyproject.toml --extra dev --extra docs -c constraints.txt --generate-hashes --universal --quiet \
		--python-version 3.11 $(addprefix --no-emit-package ,torch $(CUDA)) --custom-compile-command "make lock" \
		-o requirements.lock

.venv/bin/python:
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'ropediag needs Python 3.11 or newer: make PYTHON=python3.11 ...')"
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install --disable-pip-version-check --quiet $(TORCH)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e .
	touch $@

# Everything but torch, whose build differs by machine, is taken only with the hash that the lock names.
.venv/installed-dev: pyproject.toml requirements.lock | .venv/bin/python
	$(BIN)/python -m pip install --disable-pip-version-check --quiet $(TORCH)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation -e .
	touch $@ .venv/installed

clean:
	rm -rf .venv build *.egg-info
