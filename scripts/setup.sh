#!/usr/bin/env bash
# Installs what a build needs: Debian packages, and a virtual environment in .venv with the pinned PyTorch.
# Called by `make setup`. Run again it does nothing; run after an interruption it repairs.
#
# PRESET=cuda needs a CUDA build of PyTorch, with or without a GPU here: that of .venv where it is one, else one that
# is installed into .venv-cuda. nvcc is looked for and not installed.
#
#   PRESET=NAME             what shall be built (default: cpu)
#   TORCH_DIR=DIR           use this LibTorch (DIR/share/cmake/Torch/TorchConfig.cmake exists); install no torch
#   SEER_BUILD_ONLY=1       with PRESET=cuda: leave out NVIDIA's libraries (some GB) that PyTorch needs when a program
#                           runs; enough to compile and link
#   PYTHON=PROGRAM          the Python that makes .venv (default: python3)
#   SEER_SKIP_PACKAGES=1    leave the system's packages alone: they were installed some other way
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly packages=(
  build-essential cmake ninja-build ccache git ca-certificates python3 python3-venv
  libhwy-dev nlohmann-json3-dev libcli11-dev libfmt-dev libgtest-dev libpcre2-dev
  libutf8proc-dev libcurl4-openssl-dev libssl-dev libpng-dev libtomlplusplus-dev libgloo-dev
  librsvg2-bin fonts-dejavu-core
)
readonly preset=${PRESET:-cpu}
readonly torch_config=share/cmake/Torch/TorchConfig.cmake
readonly torch_cuda=lib/libtorch_cuda.so  # only a CUDA build has it

say() { printf 'setup: %s\n' "$*" >&2; }
die() {
  local line
  for line in "$@"; do say "$line"; done
  exit 1
}

# --- What is built, and where its Python environment is ------------------------------------------

# Whether this environment holds a CUDA build of PyTorch.
has_torch_cuda() {
  local library
  for library in "$1"/lib/python3*/site-packages/torch/$torch_cuda; do [[ -e $library ]] && return; done
  return 1
}

# cmake/torch.cmake looks in the same order.
choose_venv() {
  if [[ $preset != cuda ]]; then
    printf '.venv\n'
  elif [[ ! -e .venv-cuda && -z ${TORCH_DIR:-} ]] && has_torch_cuda .venv; then
    printf '.venv\n'
  else
    printf '.venv-cuda\n'
  fi
}

# A build needs nvcc, so its absence is told before gigabytes are downloaded.
check_nvcc() {
  local nvcc
  for nvcc in "${CUDA_HOME:-}/bin/nvcc" "${CUDA_PATH:-}/bin/nvcc" /usr/local/cuda/bin/nvcc; do
    [[ -x $nvcc ]] && return
  done
  command -v nvcc >/dev/null ||
    die "PRESET=cuda: no nvcc found. Install NVIDIA's CUDA toolkit 13.0 or newer (a GPU or its driver is not" \
        "needed to build), or set CUDA_HOME to the folder that holds bin/nvcc."
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
        "  CLI11 2.1, fmt 9, GoogleTest 1.12, PCRE2 10.40, utf8proc 2.7, libcurl 7.85, OpenSSL 3, libpng 1.6 and toml++ 3;" \
        "for 'seer plot --png' rsvg-convert (librsvg) and a font" \
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
  [[ $preset != cuda || -e $TORCH_DIR/$torch_cuda ]] ||
    die "TORCH_DIR='$TORCH_DIR' is a CPU build (it has no $torch_cuda), and PRESET=cuda needs a CUDA build." \
        "Name another, or unset TORCH_DIR: then one is installed into .venv-cuda."
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
  local torch=${TORCH_DIR:-from $requirements}
  if [[ ${#torch_options[@]} -gt 0 ]]; then torch+=" ${torch_options[*]}"; fi
  printf 'python %s\ntorch %s\nrequirements %s\n' "$1" "$torch" \
    "$(cat "$requirements" requirements-test.txt | sha256sum | cut -d' ' -f1)"
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

pip_install() {
  "$venv/bin/python" -m pip install --disable-pip-version-check "$@" ||
    die "pip could not install $* (its message is above)." \
        "Without a network, or behind a proxy, configure pip first; then run 'make setup' again." \
        "A LibTorch that is already on this machine can be used: TORCH_DIR=/path/to/libtorch make setup"
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

  local pth
  rm -f "$venv"/lib/python3*/site-packages/seer_torch_dir.pth
  say "installing the Python packages (pip; the download of torch takes some minutes)"
  # torch comes first, so that its options reach nothing else.
  if [[ -z ${TORCH_DIR:-} ]]; then pip_install "${torch_options[@]}" -r "$requirements"; fi
  pip_install -r requirements-test.txt
  torch_in_place || die "torch was installed, but $venv has no $torch_config"
  [[ $preset != cuda || -n ${TORCH_DIR:-} ]] || has_torch_cuda "$venv" ||
    die "pip's torch ($requirements) is a CPU build: $venv has no torch/$torch_cuda. pip may be configured to take" \
        "packages from a place of its own. Name a CUDA build: TORCH_DIR=/path/to/torch make cuda"
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

venv=$(choose_venv)
readonly venv
readonly stamp=$venv/seer-setup.txt  # says "incomplete" while an installation is under way
requirements=requirements.txt
torch_options=()
if [[ $venv == .venv-cuda ]]; then
  requirements=requirements-cuda.txt
  if [[ ${SEER_BUILD_ONLY:-} == 1 ]]; then torch_options=(--no-deps); fi
fi
readonly requirements torch_options

if [[ $preset == cuda ]]; then check_nvcc; fi
install_packages
install_python_packages
