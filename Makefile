# Everything a fresh machine needs: Python >= 3.11, pip and make.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo demo-quick test test-beam bench bench-quick scaling tpu-check tpu-check-quick lint lock clean

demo: .venv/done
	$(BIN)/python demo.py

demo-quick: .venv/done
	$(BIN)/python demo.py --quick --folder=demo/quick

test: .venv/done
	$(BIN)/python -m pytest tests -n 2 --dist worksteal -q

# Apache Beam wants older versions of some packages than we do: it has a lock and an environment of its own.
test-beam: .venv-beam/done
	.venv-beam/bin/python -m pytest tests/test_beam.py -q

# What the TPU's compiler says of the training step, on a machine without a TPU: all variants (more than half an hour),
# or the real steps on small pictures (minutes).
tpu-check: .venv-tpu/done
	.venv-tpu/bin/python -m bench.tpu_check

tpu-check-quick: .venv-tpu/done
	.venv-tpu/bin/python -m bench.tpu_check --quick

# Speed against the peers of requirements-bench.lock, on this machine: docs/performance.md and bench/results.json.
bench: .venv-bench/done
	.venv-bench/bin/python -m bench.suite

bench-quick: .venv-bench/done
	.venv-bench/bin/python -m bench.suite --quick

# How time and memory grow: docs/scaling.png and bench/scaling.json.
scaling: .venv-bench/done
	.venv-bench/bin/python -m bench.scaling

lint: .venv/done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.venv/done: requirements.lock setup.cfg
.venv-beam/done: requirements-beam.lock setup.cfg
.venv-tpu/done: requirements-tpu.lock setup.cfg
.venv-bench/done: requirements-bench.lock setup.cfg
%/done:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=...")'
	$(PYTHON) -m venv $*
	$*/bin/pip install --disable-pip-version-check -q -r $<
	$*/bin/pip install --disable-pip-version-check -q --no-deps -e .
	touch $@

# Pins all dependencies anew for every platform and Python (needs uv: pip install uv).
lock:
	uv pip compile -q --universal --fork-strategy fewest --python-version 3.11 --extra test --extra pretrained --extra onnx \
	  --custom-compile-command "make lock" setup.cfg -o requirements.lock
	cp requirements.lock requirements-tpu.lock
	uv pip compile -q --universal --fork-strategy fewest --python-version 3.11 --extra test --extra tpu \
	  --custom-compile-command "make lock" setup.cfg -o requirements-tpu.lock
	cp requirements.lock requirements-bench.lock
	uv pip compile -q --universal --fork-strategy fewest --python-version 3.11 --extra bench --extra pretrained \
	  --custom-compile-command "make lock" setup.cfg -o requirements-bench.lock
	cp requirements.lock requirements-beam.lock  # uv keeps the versions that it finds there where it can
	uv pip compile -q --universal --fork-strategy fewest --python-version 3.11 --extra test --extra beam \
	  --custom-compile-command "make lock" setup.cfg -o requirements-beam.lock

clean:
	rm -rf .venv .venv-beam .venv-tpu .venv-bench demo
