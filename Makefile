# `make demo` shows it, `make test` checks it. Both install into .venv first, once.
SHELL := bash
.DELETE_ON_ERROR:
.PHONY: demo test lint types bench install clean

BIN := .venv/bin
STAMP := .venv/.installed
EXTRAS := audio,enhance,restoration,three_d,mri,fastmri,monai,twix,nufft,lora,dev,bench
# Compared with in tests and benchmarks; what it asks for itself (wandb, CLIP, ...) is not needed for that.
PEER := k-diffusion==0.1.1.post1
# A metric of speech that every machine has to compile.
PESQ := pesq==0.0.4
# Which tests run: MARKS='not gpu' takes the slow ones too.
MARKS ?= not slow and not gpu

# Two processes that spin for the same cores slow each other down tenfold.
export OMP_NUM_THREADS ?= 2
export OMP_WAIT_POLICY ?= PASSIVE
export MPLBACKEND ?= Agg

demo: $(STAMP)
	$(BIN)/fewstep demo --out demo

test: lint types
	$(BIN)/python -m pytest -q -m "$(MARKS)"

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

types: $(STAMP)
	$(BIN)/mypy

bench: $(STAMP)
	set -e; for name in $$($(BIN)/fewstep bench | cut -f1); do $(BIN)/fewstep bench $$name --quick; done

install: $(STAMP)

# A folder of wheels in PIP_FIND_LINKS is honoured (a CPU build of torch, for example); uv separates folders by commas.
$(STAMP): pyproject.toml constraints.txt overrides.txt
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "fewstep needs Python 3.10 or newer"; exit 1; }
	test -x $(BIN)/python || python3 -m venv .venv
	test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet uv
	links="$$(echo $${PIP_FIND_LINKS:-} | tr ' ' ',')"; \
	if [ -n "$$links" ]; then export UV_FIND_LINKS="$$links"; else unset UV_FIND_LINKS; fi; \
	VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --python $(BIN)/python \
	  -c constraints.txt --override overrides.txt -e '.[$(EXTRAS)]'
	VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps '$(PEER)' || \
	  echo "$(PEER) could not be installed: comparisons with it are skipped"
	VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt '$(PESQ)' || \
	  echo "$(PESQ) could not be compiled: \`fewstep bench enhance\` leaves that column empty"
	touch $@

clean:
	rm -rf .venv build dist demo runs bench
