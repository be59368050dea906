# Littoral. `make` lists the targets. Written for make 3.81 and a POSIX shell; the logic is in Python (dev/rig).
PYTHON = python3
VENV = .venv
PY = PYTHONPATH=dev $(VENV)/bin/python
STAMP = $(VENV)/.installed
# Programs, images and, after demo-cache-load, wheels: kept between runs.
CACHE = $${LITTORAL_CACHE:-$${XDG_CACHE_HOME:-$$HOME/.cache}/littoral}
FILE = littoral-cache.tgz

.DEFAULT_GOAL := help
.PHONY: help venv cluster cluster-down demo demo-cache demo-cache-load crds lint test test-long bench bench-plan bench-fetch

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile

venv: $(STAMP) ## the Python environment, from requirements.lock

$(STAMP): requirements.lock pyproject.toml
	@echo "making $(VENV) from requirements.lock (usually 1 to 2 minutes)"
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@wheels="$(CACHE)/wheels"; if test -d "$$wheels"; then offline="--no-index --find-links=$$wheels"; fi; \
	  $(VENV)/bin/python -m pip install --quiet $$offline --require-hashes -r requirements.lock
	$(VENV)/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

cluster: $(STAMP) ## bring up the local cluster: two real nodes with emulated devices
	@$(PY) -m rig cluster

cluster-down: $(STAMP) ## take the local cluster down and remove all it left on this machine
	@$(PY) -m rig cluster-down

demo: $(STAMP) ## serve a model on two unlike nodes and read a photograph; IMAGE=my.jpg for one of yours
	@$(PY) -m rig demo $(if $(IMAGE),--image "$(IMAGE)")

demo-cache: $(STAMP) ## pack FILE with all the cluster is made of, for a machine without internet
	@$(PY) -m rig demo-cache "$(FILE)"

demo-cache-load: ## unpack FILE into the cache, on that machine
	mkdir -p "$(CACHE)" && tar -xzf "$(FILE)" -C "$(CACHE)"

crds: $(STAMP) ## generate crds/ from the API's models
	@$(VENV)/bin/littoral crds -d crds

lint: $(STAMP) ## style, types, layers, generated files
	@$(PY) -m rig lint

test: $(STAMP) ## all tests but the long ones; ARGS="--tier pure -k name" narrows them
	@$(PY) -m rig test $(ARGS)

test-long: $(STAMP) ## the tests that take minutes each
	@$(PY) -m rig test --tier long $(ARGS)

bench: $(STAMP) ## what models cost on a KWOK fleet: requests, CPU, memory, seconds; ARGS="--sizes 100"
	@$(PY) -m rig bench $(ARGS)

bench-plan: $(VENV)/.bench ## what a plan costs on large fleets, and how well it packs; ARGS="--fleet field --instances 0"
	@$(PY) -m rig bench-plan $(ARGS)

bench-fetch: $(STAMP) ## what fetching a model costs beside curl and sha256sum; ARGS="--mib 256 --rounds 3"
	@$(PY) -m rig bench-fetch $(ARGS)

# The solver that packing is measured against: no test and no part of the operator needs it.
$(VENV)/.bench: $(STAMP) requirements-bench.lock
	$(VENV)/bin/python -m pip install --quiet --require-hashes -r requirements-bench.lock
	@touch $@
