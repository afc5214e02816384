# Sourced by the other scripts: `prepare EXTRA` makes .venv in the project's folder with hdemucs and one of its
# extras ("" for none), at the versions of constraints.txt. The second time, it only checks that this is done.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

prepare() {
    local extra="$1" python="${PYTHON:-python3}" wanted
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
        echo "$python is not Python 3.10 or newer: install one, or name it, as in PYTHON=python3.12 $0" >&2
        exit 1
    fi
    wanted="$extra $(cat pyproject.toml scripts/constraints.txt | cksum)"
    if ! grep -qxF "$wanted" .venv/installed 2>/dev/null; then
        [ -x .venv/bin/python ] || "$python" -m venv .venv
        echo "installing into .venv (PyTorch is large: the first time takes minutes)" >&2
        # torch first and alone: given a range of versions, some package indexes would choose another build.
        .venv/bin/python -m pip install --quiet --constraint scripts/constraints.txt torch
        .venv/bin/python -m pip install --quiet --constraint scripts/constraints.txt --editable ".${extra:+[$extra]}"
        echo "$wanted" >> .venv/installed
    fi
}
