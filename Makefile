# Every target sets up what it needs by itself: with uv where it is installed, with venv and pip where not.
# ARGS goes to the command behind it: make run ARGS="--port 0", make test ARGS="-k resume".

.PHONY: run test test-all test-real check bench clean

run:
	@scripts/install
	@exec .venv/bin/headrace serve $(ARGS)

test:
	@scripts/test -m "not slow" $(ARGS)

test-all:
	@scripts/test -m "slow or not slow" $(ARGS)

test-real:
	@scripts/test-real $(ARGS)

check:
	@scripts/check

bench:
	@scripts/install dev
	@exec benchmarks/run $(ARGS)

clean:
	rm -rf .venv dist build benchmarks/build .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage .coverage.*
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
