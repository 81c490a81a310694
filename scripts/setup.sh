#!/usr/bin/env bash
# Installs what a build needs: Debian packages, and a virtual environment in .venv with the pinned PyTorch.
# Called by `make setup`. Run again it does nothing; run after an interruption it repairs.
#
#   TORCH_DIR=DIR           use this LibTorch (DIR/share/cmake/Torch/TorchConfig.cmake exists); install no torch
#   PYTHON=PROGRAM          the Python that makes .venv (default: python3)
#   SEER_SKIP_PACKAGES=1    leave the system's packages alone: they were installed some other way
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly packages=(
  build-essential cmake ninja-build ccache git ca-certificates python3 python3-venv
  libhwy-dev nlohmann-json3-dev libcli11-dev libfmt-dev libgtest-dev libpcre2-dev
  libutf8proc-dev libcurl4-openssl-dev libssl-dev libpng-dev libtomlplusplus-dev
)
readonly venv=.venv
readonly stamp=$venv/seer-setup.txt  # says "incomplete" while an installation is under way
readonly torch_config=share/cmake/Torch/TorchConfig.cmake

say() { printf 'setup: %s\n' "$*" >&2; }
die() {
  local line
  for line in "$@"; do say "$line"; done
  exit 1
}

# --- System packages -----------------------------------------------------------------------------

# Prints those of the named Debian packages that are not installed.
missing_packages() {
  local package installed
  installed=$(dpkg-query -W -f='${db:Status-Abbrev}${Package}\n' "$@" 2>/dev/null || true)
  for package in "$@"; do
    grep -qx "ii *$package" <<<"$installed" || printf '%s\n' "$package"
  done
}

# Runs a command as root, or fails.
as_root() {
  if [[ $(id -u) == 0 ]]; then "$@"; else sudo -n "$@"; fi
}

install_packages() {
  if [[ ${SEER_SKIP_PACKAGES:-} == 1 ]]; then
    say "SEER_SKIP_PACKAGES=1: system packages are not looked at"
    return
  fi
  if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    die "this system has no apt-get. Please install, with its own package manager:" \
        "  a C++20 compiler (GCC 12 or newer), binutils, make, CMake 3.25 or newer, Ninja, git, ccache," \
        "  Python 3.10 or newer with venv, and the development files of Highway 1.0, nlohmann-json 3.11," \
        "  CLI11 2.1, fmt 9, GoogleTest 1.12, PCRE2 10.40, utf8proc 2.7, libcurl 7.85, OpenSSL 3, libpng 1.6 and toml++ 3" \
        "Then run: SEER_SKIP_PACKAGES=1 make setup"
  fi
  local missing
  mapfile -t missing < <(missing_packages "${packages[@]}")
  if [[ ${#missing[@]} == 0 ]]; then return; fi

  local install=(apt-get install -y --no-install-recommends "${missing[@]}")
  if [[ $(id -u) != 0 ]] && ! sudo -n true 2>/dev/null; then
    local sudo="" needs="root. As root run"
    if command -v sudo >/dev/null; then sudo="sudo " needs="a password for sudo. Run"; fi
    die "these Debian packages are missing: ${missing[*]}" \
        "Installing them needs $needs this, then 'make setup' again:" \
        "  ${sudo}apt-get update && ${sudo}${install[*]}"
  fi
  say "installing ${missing[*]}"
  as_root dpkg --configure -a  # finishes an installation that was interrupted
  as_root apt-get update -q ||
    die "'apt-get update' failed (its message is above): is the network reachable?"
  as_root env DEBIAN_FRONTEND=noninteractive "${install[@]}" ||
    die "'${install[*]}' failed (its message is above): is the network reachable, and is this Debian 12," \
        "Ubuntu 24.04 or newer? Packages installed some other way: SEER_SKIP_PACKAGES=1 make setup"
}

# --- Python --------------------------------------------------------------------------------------

# Checks TORCH_DIR. Where it lies in a Python environment, sets torch_site to that environment's package folder.
torch_site=""
check_torch_dir() {
  if [[ -z ${TORCH_DIR:-} ]]; then return; fi
  [[ -e $TORCH_DIR/$torch_config ]] ||
    die "TORCH_DIR='$TORCH_DIR': expected $torch_config in this folder (a LibTorch, or the folder 'torch'" \
        "of a Python environment). Correct TORCH_DIR, or unset it: then torch is installed into $venv."
  if [[ -e $TORCH_DIR/__init__.py ]]; then torch_site=$(cd "$TORCH_DIR/.." && pwd); fi
}

# Prints the Python that shall make .venv: TORCH_DIR's own, since compiled packages fit one version of Python only.
choose_python() {
  local torch_python
  if [[ -n $torch_site ]]; then
    for torch_python in "$torch_site"/../../../bin/python3 "/usr/bin/$(basename "$(dirname "$torch_site")")"; do
      if [[ -x $torch_python ]]; then
        printf '%s\n' "$torch_python"
        return
      fi
    done
  fi
  printf '%s\n' "${PYTHON:-python3}"
}

# What a complete installation's stamp holds: a change of it means that there is work to do.
wanted_stamp() {
  printf 'python %s\ntorch %s\nrequirements %s\n' "$1" "${TORCH_DIR:-from requirements.txt}" \
    "$(cat requirements.txt requirements-test.txt | sha256sum | cut -d' ' -f1)"
}

venv_works() {
  [[ -x $venv/bin/python ]] && "$venv/bin/python" -c 'import pip' 2>/dev/null
}

torch_in_place() {
  local config
  if [[ -n ${TORCH_DIR:-} ]]; then return; fi
  for config in "$venv"/lib/python3*/site-packages/torch/$torch_config; do [[ -e $config ]] && return; done
  return 1
}

install_python_packages() {
  check_torch_dir
  local python version wanted
  python=$(choose_python)
  command -v "$python" >/dev/null ||
    die "no program '$python': install Python 3.10 or newer, or name one with PYTHON=/path/to/python3"
  version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    die "'$python' is Python $version: expected 3.10 or newer. Name another with PYTHON=/path/to/python3"

  wanted=$(wanted_stamp "$version")
  if [[ -e $stamp && $(<"$stamp") == "$wanted" ]] && venv_works && torch_in_place; then
    say "nothing to do: $venv is complete"
    return
  fi

  if [[ -e $stamp ]] && { ! venv_works || ! grep -qx "python $version" "$stamp"; }; then
    say "$venv is incomplete or of another Python: making it anew"
    rm -rf "$venv"
  fi
  mkdir -p "$venv"
  echo incomplete >"$stamp"
  if ! venv_works; then
    say "making $venv with Python $version"
    "$python" -m venv "$venv" ||
      die "'$python -m venv' failed: this Python lacks venv or ensurepip (Debian's package is python3-venv)"
  fi

  local requirements=(-r requirements-test.txt) pth
  if [[ -z ${TORCH_DIR:-} ]]; then requirements+=(-r requirements.txt); fi
  rm -f "$venv"/lib/python3*/site-packages/seer_torch_dir.pth
  say "installing the Python packages (pip; the download of torch takes some minutes)"
  "$venv/bin/python" -m pip install --disable-pip-version-check "${requirements[@]}" ||
    die "pip could not install ${requirements[*]} (its message is above)." \
        "Without a network, or behind a proxy, configure pip first; then run 'make setup' again." \
        "A LibTorch that is already on this machine can be used: TORCH_DIR=/path/to/libtorch make setup"
  torch_in_place || die "torch was installed, but $venv has no $torch_config"
  if [[ -n $torch_site ]]; then
    pth=$(echo "$venv"/lib/python3*/site-packages)/seer_torch_dir.pth
    printf '%s\n' "$torch_site" >"$pth"  # 'import torch' in .venv finds TORCH_DIR's
  fi
  printf '%s\n' "$wanted" >"$stamp"
  if [[ -n ${TORCH_DIR:-} && -z $torch_site ]]; then
    say "TORCH_DIR='$TORCH_DIR' is a LibTorch without Python: the Python tests will be skipped"
  fi
  say "done"
}

install_packages
install_python_packages
