#!/usr/bin/env bash
# Set up (once) and run style checks, type checks and tests. `bash scripts/test.sh -k name` passes words on to pytest.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
prepare_environment dev

if [ $# -eq 0 ]; then
    "$PYTHON" -m ruff check .
    "$PYTHON" -m ruff format --check .
    "$PYTHON" -m mypy
fi
exec "$PYTHON" -m pytest -n auto "$@"
