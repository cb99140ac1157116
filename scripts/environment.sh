# Sourced by the other scripts: leaves $PYTHON pointing at an interpreter that has what sdic needs.
# Uses the active virtual environment, or makes .venv in the repository once. Arguments: extras to install ("dev").

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$ROOT"

prepare_environment() {
    local extras="${1:-}" stamp
    if [ -n "${VIRTUAL_ENV:-}" ]; then
        PYTHON="$VIRTUAL_ENV/bin/python"
    else
        PYTHON="$ROOT/.venv/bin/python"
        if [ ! -x "$PYTHON" ]; then
            echo "Making a virtual environment in .venv (once) ..."
            "${BASE_PYTHON:-python3}" -m venv "$ROOT/.venv"
        fi
    fi
    # Installed again only when what is asked for has changed.
    stamp="$(dirname "$(dirname "$PYTHON")")/.sdic-${extras:-runtime}-$(cat setup.py requirements.txt | cksum | cut -d' ' -f1)"
    if [ ! -e "$stamp" ]; then
        echo "Installing what sdic needs (torch is large; this takes a minute or two) ..."
        "$PYTHON" -m pip install --quiet --disable-pip-version-check -e "$ROOT${extras:+[$extras]}"
        touch "$stamp"
    fi
}
