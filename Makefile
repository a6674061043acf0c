# make quickstart    set-up, people found on photographs and followed through a clip, then a training on synthetic people
#                    with COCO table, images and a video (output/quickstart)
# make test          set-up, then the tests, then "make check"
# make check         set-up, then linter, formatter, type checker, documentation, and the wheel used in an environment of its own
#                    (each alone: make lint, make types, make docs, make wheel)
# make test-kills    set-up, then trainings that are killed in every phase and resumed
# make test-lowest   the tests, with the lowest versions that pyproject.toml allows (.venv-lowest; PYTHON=python3.10 has the oldest Python too)
# make test-devices  the files of ExecuTorch, Core ML and LiteRT (.venv-devices and .venv-litert)
# make fuzz          set-up, then 2,000 mutations of each kind of input (FUZZ=tests/fuzz/test_fuzz_images.py: of one kind)
#
# PYTHON=python3.11  the Python to make the environment with (3.10 or later)
# VENV=folder        the environment, .venv unless told; empty ("make test VENV=") uses the active one
# DETECTRON2=        empty: an installed one of 0.5 or later, else a pure-Python build of 0.5; "upstream": the main branch
#                    from its repository; a path: a checkout or wheel
# DEVICE=cuda        what the quick start computes on (default: a GPU where there is one)
# TEST_PROCESSES=2   processes of "make test"
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

# Asked when a recipe begins, so that torch is installed.
DEVICE ?= $(shell $(PY) -c "import torch; print('cuda' if torch.cuda.is_available() else 'cpu')" 2>/dev/null || echo cpu)

TEST_PROCESSES ?= 2
# A file of tests stays in one process: its tests may share what is slow to make.
PYTEST := -m pytest -n $(TEST_PROCESSES) --dist loadfile

FUZZ ?= $(sort $(wildcard tests/fuzz/test_*.py))

OUT := output/quickstart
IMAGES := $(OUT)/data/synthetic/val
EXAMPLES := datasets/examples
# A score estimates OKS, which is low after a training of minutes.
DRAWN := --confidence-threshold 0.2

.PHONY: help install quickstart test check lint types docs wheel test-slow test-kills test-lowest test-devices fuzz clean

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile
	@echo "targets: install, quickstart, test, check, lint, types, docs, wheel, test-slow, test-kills, test-lowest, test-devices, fuzz, clean"

install: $(ENVIRONMENT)
	@$(PY) tools/install.py --source "$(DETECTRON2)"

quickstart: install
	$(PY) -m rle_onestage.cli demo --input $(EXAMPLES) --output $(OUT)/people --opts MODEL.DEVICE $(DEVICE)
	$(PY) -m rle_onestage.cli demo --video-input $(EXAMPLES)/handover.mp4 --output $(OUT)/people/handover.mp4 --smooth \
		--opts MODEL.DEVICE $(DEVICE)
	$(PY) datasets/make_synthetic.py --preset quickstart --output $(OUT)/data/synthetic
	DETECTRON2_DATASETS=$(OUT)/data $(PY) -m rle_onestage.cli train --config-file configs/quickstart.yaml \
		--num-gpus $(PROCESSES) MODEL.DEVICE $(DEVICE)
	DETECTRON2_DATASETS=$(OUT)/data $(PY) -m rle_onestage.cli demo --config-file configs/quickstart.yaml $(DRAWN) \
		--input $$(ls $(IMAGES)/* | head -n 24) --output $(OUT)/pictures \
		--opts MODEL.WEIGHTS $(OUT)/model_final.pth MODEL.DEVICE $(DEVICE)
	DETECTRON2_DATASETS=$(OUT)/data $(PY) -m rle_onestage.cli demo --config-file configs/quickstart.yaml $(DRAWN) \
		--video-input $$(ls $(OUT)/data/synthetic/videos/*.mp4 | head -n 1) --output $(OUT)/video.mp4 \
		--smooth --json $(OUT)/video.jsonl \
		--opts MODEL.WEIGHTS $(OUT)/model_final.pth MODEL.DEVICE $(DEVICE)
	@$(PY) tools/quickstart_summary.py $(OUT)

test: install
	@echo "Thousands of tests are collected first, which takes a minute."
	$(PY) $(PYTEST)
	@$(MAKE) --no-print-directory check

check: lint types docs wheel

test-slow: install
	$(PY) -m pytest -m ""

# Trainings that are killed in every phase and resumed, torchrun's restarts, machines that die and join: minutes.
test-kills: install
	$(PY) -m pytest -m "" tests/engine/test_engine_kills.py tests/engine/test_engine_elastic.py

# torch of that time comes with CUDA: 3 GB.
test-lowest:
	$(MAKE) --no-print-directory .venv-lowest/bin/python VENV=.venv-lowest
	.venv-lowest/bin/python -m pip install -q "uv>=0.9"
	.venv-lowest/bin/uv pip install -q --python .venv-lowest/bin/python --resolution lowest-direct -e ".[opencv-headless,test,export]"
	$(MAKE) --no-print-directory install VENV=.venv-lowest
	.venv-lowest/bin/python $(PYTEST)

# LiteRT's converter brings an earlier torch, so each has its own environment: 6 GB.
test-devices:
	$(MAKE) --no-print-directory install VENV=.venv-devices
	.venv-devices/bin/python -m pip install -q -e ".[executorch,coreml,test]"
	TEST_DEVICES=executorch,coreml .venv-devices/bin/python -m pytest tests/export/test_export_devices.py
	$(MAKE) --no-print-directory install VENV=.venv-litert
	.venv-litert/bin/python -m pip install -q -e ".[litert,test]"
	TEST_DEVICES=litert .venv-litert/bin/python -m pytest tests/export/test_export_devices.py

fuzz: install
	RLE_ONESTAGE_FUZZ=1 $(PY) -m pytest $(FUZZ)

lint: install
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: install
	$(PY) -m mypy

docs: install
	$(PY) -m sphinx -q -W -b html docs output/docs

# The source archive and the wheel stay in output/wheel.
wheel: install
	rm -rf output/wheel
	$(PY) tools/check_wheel.py --output output/wheel

clean:
	rm -rf build *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -not -path "./.venv/*" -prune -exec rm -rf {} +
