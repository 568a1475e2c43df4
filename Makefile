# Every target sets up its own environment. A fresh machine needs Python 3.11, 3.12 or 3.13, pip and make.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo demo-quick ablations-demo test test-slow test-browser test-beam bench bench-quick scaling field-install
.PHONY: tpu-check tpu-check-quick lint lock clean

demo: .venv/done
	$(BIN)/python demo.py

demo-quick: .venv/done
	$(BIN)/python demo.py --quick --folder=demo/quick

# Six ablations on simulated clips of many sites: demo/ablations/runs/ablation.html and .csv.
ablations-demo: .venv/done
	$(BIN)/python -m data_prep.simulate --size=sites --out=demo/ablations/clips
	$(BIN)/python -m data_prep.build --tables=demo/ablations/clips --clips_down demo/ablations/clips/down \
	  --clips_full demo/ablations/clips/full --out=demo/ablations/data --n_folds=2
	$(BIN)/python -m chimp_jax.ablate --config=configs/ablations_demo.py --workdir=demo/ablations/runs

test: .venv/done
	$(BIN)/python -m pytest tests -n 2 --dist worksteal -q

# Whole jobs that the default suite leaves out: trainings and builds killed with -9, two processes over a network, full
# disks, an S3 server, trainings with regions on a frozen backbone.
test-slow: .venv/done
	$(BIN)/python -m pytest tests -m slow -n 2 --dist worksteal -q

# The pages in a real browser, by keyboard, on a phone and a desktop. Requires Chromium and its driver (Debian: chromium,
# chromium-driver); without them the tests are skipped.
test-browser: .venv/done
	CHIMP_JAX_BROWSER=1 $(BIN)/python -m pytest tests/chimp_jax/field/label/test_label_browser.py -q -rs || [ $$? -eq 5 ]  # 5: all skipped, told

# Apache Beam requires older versions of some packages, so it has its own lock and its own environment.
test-beam: .venv-beam/done
	.venv-beam/bin/python -m pytest tests/data_prep/workers/test_beam.py \
	  tests/chimp_jax/engines/test_beam_scoring.py tests/chimp_jax/engines/test_dask_scoring.py -q

# Compiles the training steps with the TPU compiler, on a machine without a TPU: all variants (more than half an hour),
# or the same steps on small pictures (minutes).
tpu-check: .venv-tpu/done
	.venv-tpu/bin/python -m bench.tpu_check

tpu-check-quick: .venv-tpu/done
	.venv-tpu/bin/python -m bench.tpu_check --quick

# Measures speed on this machine beside the peers in requirements/bench.lock: docs/performance.md, bench/results.json.
bench: .venv-bench/done
	.venv-bench/bin/python -m bench.suite

bench-quick: .venv-bench/done
	.venv-bench/bin/python -m bench.suite --quick

# Measures how time and memory grow: docs/scaling.png and bench/scaling.json.
scaling: .venv-bench/done
	.venv-bench/bin/python -m bench.scaling

# Measures an installation without TensorFlow beside the whole one: megabytes, and seconds to the first distances.
field-install: .venv-bench/done
	.venv-bench/bin/python -m bench.field_install

lint: .venv/done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.venv/done: requirements/base.lock setup.cfg
.venv-beam/done: requirements/beam.lock setup.cfg
.venv-tpu/done: requirements/tpu.lock setup.cfg
.venv-bench/done: requirements/bench.lock setup.cfg
%/done:
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and "make: requires Python 3.11, 3.12 or 3.13 (TensorFlow has no wheels for others); set PYTHON=...")'
	$(PYTHON) -m venv $*
	$*/bin/pip install --disable-pip-version-check -q -r $<
	$*/bin/pip install --disable-pip-version-check -q --no-deps -e .
	touch $@

# Rewrites the locks: one file per purpose, for every platform and every Python from 3.11. Python 3.11 has entries of its
# own where the newest version of a package requires 3.12. Requires uv (pip install uv). Existing pins are kept;
# `make lock UPGRADE=--upgrade` or `UPGRADE='-P jax -P jaxlib'` takes newer versions.
LOCK := uv pip compile -q --universal --fork-strategy requires-python --python-version 3.11 \
  --custom-compile-command "make lock" setup.cfg
lock:
	$(LOCK) $(UPGRADE) --extra test --extra browser --extra pretrained --extra onnx --extra s3 --extra s3_test -o requirements/base.lock
	$(LOCK) $(UPGRADE) --extra test --extra tpu -o requirements/tpu.lock
	$(LOCK) $(UPGRADE) --extra test --extra beam --extra dask -o requirements/beam.lock
	$(LOCK) $(UPGRADE) --extra bench --extra pretrained -o requirements/bench.lock
	$(LOCK) --override requirements/field.overrides -c requirements/base.lock -o requirements/field.lock

clean:
	rm -rf .venv .venv-beam .venv-tpu .venv-bench demo
