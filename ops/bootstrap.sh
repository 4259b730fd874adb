#!/bin/sh
# Makes .venv with everything OrderSaga and its tests need, from a bare Debian 12 with git, make and python3.
# Safe to repeat and to interrupt: a .venv that was not finished is made anew. Called by make; needs no options.
# PYTHON=/path/to/python3.11 chooses the interpreter.
set -eu

cd "$(dirname "$0")/.."
venv=.venv
building=$venv/.building
complete=$venv/.complete

say() { printf '· %s\n' "$*" >&2; }
fail() {
    printf 'error: %s\n' "$1" >&2
    [ $# -lt 2 ] || printf '       %s\n' "$2" >&2
    exit 1
}

# One run at a time. The lock is on this very file; a pip that outlived an interrupted run holds it until its end.
exec 9<ops/bootstrap.sh
flock -n 9 || {
    say "another run is making $venv: waiting for it"
    flock -w 600 9 || fail "it does not end" "look for a pip that hangs: ps ax | grep pip"
    if [ "$complete" -nt requirements-dev.lock ] && [ "$complete" -nt setup.cfg ]; then
        exit 0
    fi
}

is_python_3_11() { "$1" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; }
can_make_venvs() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

# Debian's own build first: it is optimised with a profile, and services ran a third faster on it than on one that
# pyenv had compiled with its defaults. One that can make virtual environments at all goes before one that cannot yet.
candidates() { printf '%s\n' /usr/bin/python3.11 python3.11 python3; }
is_usable() { command -v "$1" >/dev/null 2>&1 && is_python_3_11 "$1"; }

find_python() {
    if [ -n "${PYTHON:-}" ] && is_usable "$PYTHON"; then
        command -v "$PYTHON"
        return 0
    fi
    for wish in can_make_venvs is_usable; do
        for candidate in $(candidates); do
            if is_usable "$candidate" && "$wish" "$candidate"; then
                command -v "$candidate"
                return 0
            fi
        done
    done
    return 1
}

install_packages() {
    by_hand="apt-get install --no-install-recommends $*"
    command -v apt-get >/dev/null 2>&1 || fail "missing: $*" "OrderSaga needs Python 3.11 with venv and ensurepip"
    if [ "$(id -u)" -eq 0 ]; then
        as_root=
    elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
        as_root='sudo -n'
    else
        fail "missing: $*; and neither root nor passwordless sudo is at hand" "run as root: $by_hand"
    fi
    say "installing $* (Debian packages)"
    # shellcheck disable=SC2086 - empty or two words on purpose
    $as_root sh -c 'export DEBIAN_FRONTEND=noninteractive
        apt-get update -q && apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=120 "$@"' \
        install "$@" >&2 || fail "the installation of $* failed" "run as root: $by_hand"
}

python=$(find_python) || {
    install_packages python3.11 python3.11-venv
    python=$(find_python) || fail "no Python 3.11 found" "install one, or: make PYTHON=/path/to/python3.11 …"
}
can_make_venvs "$python" || {
    install_packages python3.11-venv
    can_make_venvs "$python" || fail "$python cannot make virtual environments" "set PYTHON to one that can"
}

if [ -e "$building" ]; then
    say "an earlier run was interrupted: making $venv anew"
    rm -rf "$venv"
elif [ -e "$venv" ] && ! { is_python_3_11 "$venv/bin/python" && "$venv/bin/python" -c 'import pip' 2>/dev/null; }; then
    say "$venv does not work any more (moved, or another Python): making it anew"
    rm -rf "$venv"
fi
mkdir -p "$venv"
touch "$building"
rm -f "$complete"

export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
if [ ! -x "$venv/bin/pip" ]; then
    say "making $venv with $python"
    "$python" -m venv "$venv" || fail "cannot make $venv" "is the disk full, or the folder not yours?"
fi
pip_install() {
    "$venv/bin/python" -m pip install --quiet "$@" >"$venv/pip.log" 2>&1 || {
        tail -n 25 "$venv/pip.log" >&2
        fail "pip could not install the Python packages" "see above; then run make again"
    }
}
say "installing the locked Python packages (a minute or two)"
pip_install --require-hashes -r requirements-dev.lock
say "installing OrderSaga itself into $venv"
pip_install --no-deps --no-build-isolation -e .
touch "$complete"
rm -f "$building"
