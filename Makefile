# Everything runs from a virtual environment in .venv, which each target sets up itself.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow lint bench-sentiment bench-speech bench-forecasting bench-listening bench-recurrent bench-serving bench-tuning bench-video bench-gain results check-results clean

help:            ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

setup: $(STAMP)  ## build .venv from the pinned requirements

$(STAMP): requirements.txt requirements-speech.txt requirements-forecasting.txt \
  requirements-video.txt requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 11) <= v <= (3, 13) or sys.exit( \
	  "SeqZoo needs Python 3.11 to 3.13, and $(PYTHON) is %d.%d: try make PYTHON=python3.12" % v)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  -r requirements.txt -r requirements-speech.txt -r requirements-forecasting.txt \
	  -r requirements-video.txt -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

demo: setup      ## train, export, serve and ask a sentiment model
	$(BIN)/python -m recipes sentiment train --run-dir runs/demo
	$(BIN)/python -m recipes sentiment export --run-dir runs/demo --out models
	$(BIN)/python -m serving ask models/sentiment "A slow start, but what a finish!"
	$(BIN)/python -m serving parity models/sentiment

test: setup      ## the test suite, without the slow tests
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile --no-loadscope-reorder

test-slow: setup ## the slow tests alone
	$(BIN)/python -m pytest -m slow

lint: setup      ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench-sentiment: setup  ## train sentiment with three seeds and record the scores
	$(BIN)/python -m benchmarks.quality sentiment --seeds 0 1 2 --name movie-snippets

bench-speech: setup  ## train speech with three seeds and record the scores
	$(BIN)/python -m benchmarks.quality speech --seeds 0 1 2 --name spoken-digits

bench-forecasting: setup  ## train forecasting with three seeds and record the scores
	$(BIN)/python -m benchmarks.quality forecasting --seeds 0 1 2 --name m3-monthly

bench-listening: setup  ## what speech costs on one core, beside the same model in PyTorch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-bench.txt
	$(BIN)/python -m benchmarks.speech --json benchmarks/results/speed/speech.json

bench-recurrent: setup  ## recurrent layers beside Keras, PyTorch and ONNX Runtime (ARGS=--plain: the main table alone)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-bench.txt
	$(BIN)/python -m benchmarks.recurrent --json benchmarks/results/speed/recurrent.json $(ARGS)

bench-serving: setup  ## calls per second and their times, gRPC and REST, with and without batches
	$(BIN)/python -m recipes sentiment train --run-dir runs/quality/sentiment-movie-snippets-0 --seed 0
	$(BIN)/python -m benchmarks.serving runs/quality/sentiment-movie-snippets-0 \
	  --json benchmarks/results/speed/serving.json

bench-tuning: setup  ## trials per hour with one worker and with two
	$(BIN)/python -m benchmarks.tuning_speed --json benchmarks/results/speed/tuning.json

bench-video: setup  ## a training step of the video recipe beside Keras and PyTorch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-bench.txt
	$(BIN)/python -m benchmarks.video --json benchmarks/results/speed/video.json

bench-gain: setup  ## what searches for sentiment and forecasting find, over three seeds
	$(BIN)/python -m benchmarks.tuning_gain sentiment -- --validation-fraction 0.25
	$(BIN)/python -m benchmarks.tuning_gain forecasting --trials 18 --finalists 1

results: setup   ## write the README's result table from benchmarks/results/
	$(BIN)/python -m benchmarks.results

check-results: setup  ## check that records and README agree with the code
	$(BIN)/python -m benchmarks.results --check

clean:           ## remove .venv and caches, not runs/
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache build *.egg-info
