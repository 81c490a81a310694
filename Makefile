# The two commands: `make demo` and `make test`. Everything they need is installed and built first.
PRESET ?= cpu
cores := $(shell nproc 2>/dev/null || echo 1)
# A compiler that reads LibTorch's headers takes up to 2 GB.
memory_jobs := $(shell awk '/^MemAvailable:/ {jobs = int($$2 / 2097152); print (jobs > 0) ? jobs : 1}' /proc/meminfo 2>/dev/null || echo 1)
JOBS ?= $(shell echo $$(( $(cores) < $(memory_jobs) ? $(cores) : $(memory_jobs) )))

build_dir := build/$(PRESET)
cpp_files = $(shell git ls-files '*.h' '*.cpp' '*.cuh' '*.cu')

.DEFAULT_GOAL := help
.PHONY: help setup configure build test demo bench asan tsan cuda lint format tidy clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile
	@echo "  variables: PRESET=cpu|asan|tsan|cuda  JOBS=$(JOBS)  TORCH_DIR=an existing LibTorch"

setup:  ## Install what a build needs: Debian packages, and PyTorch in .venv
	@PRESET=$(PRESET) scripts/setup.sh

configure: setup
	@mkdir -p $(build_dir)
	@cmake --preset $(PRESET) -DTORCH_DIR="$(TORCH_DIR)" > $(build_dir)/configure.log 2>&1 \
	  || { cat $(build_dir)/configure.log; exit 1; }

build: configure  ## Build everything; build/seer and build/libseer_ops.so point to the result
	cmake --build --preset $(PRESET) -j $(JOBS)
	@for file in seer libseer_ops.so; do \
	  if [ -e $(build_dir)/$$file ]; then ln -sfn $(PRESET)/$$file build/$$file; fi; \
	done

test: build  ## Build, then run every test
	ctest --preset $(PRESET) -j $(JOBS)

demo: build  ## Build, then train gates for the bundled model and hold sparse against dense
	@scripts/demo.sh

bench:  ## Show how to run the benchmarks
	@echo "build/seer bench attention --seq 16384 --heads 32 --kv-heads 8 --head-dim 128 --density 0.1"
	@echo "(after 'make build'; 'build/seer bench attention --help' lists the flags, --json gives JSON Lines)"

asan:  ## Build and test with the address and undefined-behaviour sanitizers
	@$(MAKE) --no-print-directory test PRESET=asan

tsan:  ## Build and test with the thread sanitizer
	@$(MAKE) --no-print-directory test PRESET=tsan

cuda:  ## Build with the CUDA kernels (needs nvcc 13.0 or newer, and no GPU)
	@$(MAKE) --no-print-directory build PRESET=cuda

lint:  ## Check layers, file lengths, names, and the format where clang-format is installed
	@for check in layers file_length names; do python3 scripts/lint/$$check.py || exit 1; done
	@python3 tests/lint/lint_self_test.py
	@if command -v clang-format > /dev/null; then clang-format --dry-run -Werror $(cpp_files); \
	  else echo "clang-format is not installed: the format was not checked"; fi

format:  ## Format the C++ files in place
	clang-format -i $(cpp_files)

tidy: build  ## Run clang-tidy over src (slow: it reads LibTorch's headers for each file)
	git ls-files 'src/*.cpp' | xargs -n 1 -P $(JOBS) clang-tidy -p $(build_dir) --quiet

clean:  ## Remove the build folders (.venv stays)
	rm -rf build
