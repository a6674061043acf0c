# make quickstart    set-up, people found on photographs and followed through a clip, then a training on synthetic people
#                    with COCO table, pictures and a video (output/quickstart)
# make test          set-up, then the tests
# make test-kills    set-up, then trainings that are killed in every phase and resumed
# make fuzz          set-up, then 2,000 mutations of each kind of input (FUZZ=tests/fuzz/test_fuzz_images.py: of one kind)
#
# PYTHON=python3.11  the Python to make the environment with (3.10 or later)
# VENV=folder        the environment, .venv unless told; empty ("make test VENV=") uses the active one
# DETECTRON2=        empty: an installed one of 0.5 or later, else a pure-Python build of 0.5; "upstream": the main branch
#                    from its repository; a path: a checkout or wheel
# DEVICE=cuda        what the quick start computes on; without a GPU that is the CPU
# PROCESSES=2        processes that train in the quick start; one a GPU at most

PYTHON ?= python3
VENV ?= .venv
DETECTRON2 ?=
.DEFAULT_GOAL := help

ifeq ($(strip $(VENV)),)
PY := $(PYTHON)
ENVIRONMENT :=
else
PY := $(VENV)/bin/python
ENVIRONMENT := $(PY)

# Without the failed interpreter, so that the next call does not take half an environment for a whole one.
$(PY):
	@$(PYTHON) tools/install.py --check-python
	$(PYTHON) -m venv "$(VENV)" || { rm -f "$(VENV)/bin/python"; exit 1; }
endif

# Two processes of one thread train faster than one of two.
PROCESSES ?= $(shell $(PYTHON) -c "import os; print(min(2, os.cpu_count() or 1))")

DEVICE ?= cuda

FUZZ ?= $(sort $(wildcard tests/fuzz/test_*.py))

OUT := output/quickstart
PICTURES := $(OUT)/data/synthetic/val
EXAMPLES := datasets/examples
# A score estimates OKS, which is low after a training of minutes.
DRAWN := --confidence-threshold 0.2

.PHONY: help install quickstart test test-slow test-kills fuzz lint clean

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile
	@echo "targets: install, quickstart, test, test-slow, test-kills, fuzz, lint, clean"

install: $(ENVIRONMENT)
	@$(PY) tools/install.py --source "$(DETECTRON2)"

quickstart: install
	$(PY) tools/demo.py --input $(EXAMPLES) --output $(OUT)/people --opts MODEL.DEVICE $(DEVICE)
	$(PY) tools/demo.py --video-input $(EXAMPLES)/handover.mp4 --output $(OUT)/people/handover.mp4 --smooth \
		--opts MODEL.DEVICE $(DEVICE)
	$(PY) datasets/make_synthetic.py --preset quickstart --output $(OUT)/data/synthetic
	DETECTRON2_DATASETS=$(OUT)/data $(PY) tools/train_net.py --config-file configs/quickstart.yaml \
		--num-gpus $(PROCESSES) MODEL.DEVICE $(DEVICE)
	DETECTRON2_DATASETS=$(OUT)/data $(PY) tools/demo.py --config-file configs/quickstart.yaml $(DRAWN) \
		--input $$(ls $(PICTURES)/* | head -n 24) --output $(OUT)/pictures \
		--opts MODEL.WEIGHTS $(OUT)/model_final.pth MODEL.DEVICE $(DEVICE)
	DETECTRON2_DATASETS=$(OUT)/data $(PY) tools/demo.py --config-file configs/quickstart.yaml $(DRAWN) \
		--video-input $$(ls $(OUT)/data/synthetic/videos/*.mp4 | head -n 1) --output $(OUT)/video.mp4 \
		--smooth --json $(OUT)/video.jsonl \
		--opts MODEL.WEIGHTS $(OUT)/model_final.pth MODEL.DEVICE $(DEVICE)

test: install
	$(PY) -m pytest

test-slow: install
	$(PY) -m pytest -m ""

# Trainings that are killed in every phase and resumed, and torchrun's restarts: minutes.
test-kills: install
	$(PY) -m pytest -m "" tests/engine/test_engine_kills.py

fuzz: install
	RLE_ONESTAGE_FUZZ=1 $(PY) -m pytest $(FUZZ)

lint: install
	$(PY) -m pip install -q "ruff>=0.5"
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

# The site, in output/docs; a warning is an error.
.PHONY: docs
docs: install
	$(PY) -m pip install -q "sphinx>=8" "furo>=2024.8" "myst-parser>=4"
	$(PY) -m sphinx -W -q -b html docs output/docs

clean:
	rm -rf build *.egg-info .pytest_cache
	find . -name __pycache__ -not -path "./.venv/*" -prune -exec rm -rf {} +
