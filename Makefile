# Everything a fresh machine needs: Python >= 3.11, pip and make.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo demo-quick test lint lock clean

demo: .venv/done
	$(BIN)/python demo.py

demo-quick: .venv/done
	$(BIN)/python demo.py --quick --folder=demo/quick

test: .venv/done
	$(BIN)/python -m pytest tests -n 2 --dist worksteal -q

lint: .venv/done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.venv/done: requirements.lock setup.cfg
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=...")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --disable-pip-version-check -q -r requirements.lock
	$(BIN)/pip install --disable-pip-version-check -q --no-deps -e .
	touch $@

# Pins all dependencies anew for every platform and Python (needs uv: pip install uv).
lock:
	uv pip compile -q --universal --fork-strategy fewest --python-version 3.11 --extra test --extra pretrained \
	  --custom-compile-command "make lock" setup.cfg -o requirements.lock

clean:
	rm -rf .venv demo
