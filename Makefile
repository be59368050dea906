# Littoral. `make` lists the targets. Written for make 3.81 and a POSIX shell; the logic is in Python (dev/rig).
PYTHON = python3
VENV = .venv
PY = PYTHONPATH=dev $(VENV)/bin/python
STAMP = $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help venv cluster cluster-down

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile

venv: $(STAMP) ## the Python environment, from requirements.lock

$(STAMP): requirements.lock pyproject.toml
	@echo "making $(VENV) from requirements.lock (usually 1 to 2 minutes)"
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --require-hashes -r requirements.lock
	$(VENV)/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

cluster: $(STAMP) ## bring up the local cluster: two real nodes with emulated devices
	@$(PY) -m rig cluster

cluster-down: $(STAMP) ## take the local cluster down and remove all it left on this machine
	@$(PY) -m rig cluster-down
