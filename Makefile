# make course   run the four notebooks on this machine's recipe, then print what they found
# make test     unit tests, then the notebooks against their stored outputs
# make serve    a chat page and an OpenAI-compatible interface on 127.0.0.1:8000
# make bench    the speed of the project beside its peers

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
REQUIREMENTS := requirements.txt requirements-dev.txt constraints.txt

.PHONY: course test serve bench notebooks adapters recording lint
.DELETE_ON_ERROR:

$(VENV)/installed: $(REQUIREMENTS)
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "error: $$($(PYTHON) --version) is here; the course needs Python 3.11 to 3.13: run make PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "error: no virtual environment could be made; on Debian and Ubuntu run: apt install python3-venv"; exit 1; }
	@echo "Installing into $(VENV) (once) ..."
	@start=$$(date +%s); \
	  $(BIN)/python -m pip install -q --disable-pip-version-check -r requirements.txt -r requirements-dev.txt -c constraints.txt && \
	  echo "Installed in $$(( $$(date +%s) - start )) s" && touch $@

$(VENV)/serving: $(VENV)/installed requirements-serve.txt
	@echo "Installing the server into $(VENV) (once) ..."
	@$(BIN)/python -m pip install -q --disable-pip-version-check -r requirements-serve.txt -c constraints.txt && touch $@

$(VENV)/testing: $(VENV)/serving requirements-test.txt
	@$(BIN)/python -m pip install -q --disable-pip-version-check -r requirements-test.txt -c constraints.txt && touch $@

course: $(VENV)/installed
	@$(BIN)/kotune notebooks run

test: $(VENV)/testing
	@$(BIN)/ruff check .
	@$(BIN)/python -m pytest --nbval

serve: $(VENV)/serving
	@$(BIN)/kotune serve $(SERVE)

bench: $(VENV)/serving
	@$(BIN)/python dev/bench/similarity.py
	@$(BIN)/python dev/bench/teacher.py
	@$(BIN)/python dev/bench/formats.py
	@$(BIN)/python dev/bench/training.py
	@$(BIN)/python dev/bench/inference.py
	@$(BIN)/python dev/bench/judging.py
	@$(BIN)/python dev/bench/serve.py
	@$(BIN)/python dev/bench/korean_checks.py

notebooks: $(VENV)/installed
	@$(BIN)/kotune notebooks store

adapters: $(VENV)/installed
	@$(BIN)/kotune notebooks adapters

recording: $(VENV)/installed
	@$(BIN)/python dev/data/build_recording.py

lint: $(VENV)/installed
	@$(BIN)/ruff check .
