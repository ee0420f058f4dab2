PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

export OMP_NUM_THREADS ?= 1

.PHONY: train test models-test kernel-test cluster-test install-test soak lint docs bench demo system-packages clean

train: $(STAMP)  ## train on the simulated TX2 and judge, three to four minutes
	$(BIN)/python train.py

test: $(STAMP) system-packages .prometheus  ## all tests but those of a Ray cluster
	$(BIN)/python -m pytest -n 2 --ignore tests/cluster

kernel-test: $(STAMP)  ## the same drivers over a real kernel, in a virtual machine
	$(BIN)/python -m tests.kernel.run

models-test: $(STAMP)  ## real networks out of packages, cut, served and damaged, to results/models.md
	$(BIN)/python -m benchmarks.models

cluster-test: $(STAMP)  ## Ray nodes on shaped links and shares of a core; as root, a quarter of an hour
	$(BIN)/python -m pytest tests/cluster
	$(BIN)/python -m benchmarks.placement_run

install-test:  ## install.sh in roots of Debian and Ubuntu, amd64 and arm64; as root, needs a network
	$(PYTHON) -m tests.installed.roots

soak: $(STAMP)  ## the daemon under faults for half an hour, then a thousand signals; as root, all faults
	$(BIN)/python -m benchmarks.soak

lint: $(STAMP)  ## format, lint, types, import directions
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(STAMP)  ## the documentation site, build/docs/docs/index.html; a broken link ends it
	$(BIN)/sphinx-build --fresh-env --quiet --fail-on-warning --keep-going --conf-dir docs . build/docs

bench: $(STAMP)  ## measure every bar and write results/
	$(BIN)/python -m benchmarks.bars

demo: $(STAMP)  ## server, link at two rates, frozen policy: the cut changes
	$(BIN)/python demo.py

# torch comes first and with its exact version: a wider request may pull several GB of CUDA.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

# Debian's: pictures with labels for the attention tests, links for the tests of the client, and a
# reader of install.sh; and a browser for the page of a board, which Ubuntu does not package.
PACKAGES := dataset-fashion-mnist iproute2 shellcheck
system-packages:
	@dpkg -s $(PACKAGES) >/dev/null 2>&1 || if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; \
	then apt-get update && apt-get install --yes --no-install-recommends $(PACKAGES); \
	else echo "without $(PACKAGES) some tests are skipped: sudo make system-packages (Debian, Ubuntu)"; fi
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	{ apt-get install --yes --no-install-recommends chromium || { apt-get update && \
	apt-get install --yes --no-install-recommends chromium; }; }; } || \
	echo "without Chromium the tests of a board's page are skipped"

# Debian's, unpacked but not installed: an installed one would start as a service.
.prometheus:
	@if command -v apt-get >/dev/null && mkdir .prometheus.new && cd .prometheus.new \
	&& { apt-get download --quiet prometheus || { apt-get update && apt-get download --quiet prometheus; }; } \
	&& dpkg-deb --extract prometheus_*.deb .; \
	then rm prometheus_*.deb; mv ../.prometheus.new ../.prometheus; \
	else rm -rf ../.prometheus.new; echo "without Prometheus a test of the metrics is skipped"; fi

clean:
	rm -rf $(VENV) .kernel .networks .prometheus models results/runs
