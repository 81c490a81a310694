# LibTorch as the target seer_torch. The files are named here one by one instead of through TorchConfig.cmake:
# that one refuses to load from a CUDA build of PyTorch (what `pip install torch` brings on x86-64 Linux) on a
# machine without the CUDA toolkit, which a CPU build does not need.

# Looked for in this order: -DTORCH_DIR, the environment's TORCH_DIR, the virtual environments in the tree (of which
# `make setup` makes .venv-cuda for SEER_CUDA where .venv holds a CPU build).
set(TORCH_DIR "$ENV{TORCH_DIR}" CACHE PATH "A LibTorch: the folder that holds share/cmake/Torch")
if(TORCH_DIR STREQUAL "")
  set(seer_venv_torch "")
  if(SEER_CUDA)
    file(GLOB seer_venv_torch "${PROJECT_SOURCE_DIR}/.venv-cuda/lib/python3*/site-packages/torch")
  endif()
  if(NOT seer_venv_torch)
    file(GLOB seer_venv_torch "${PROJECT_SOURCE_DIR}/.venv/lib/python3*/site-packages/torch")
  endif()
  if(NOT seer_venv_torch)
    message(FATAL_ERROR "No LibTorch found: run 'make setup', or set TORCH_DIR to a folder that holds "
                        "share/cmake/Torch/TorchConfig.cmake (torch 2.11 to 2.13).")
  endif()
  list(GET seer_venv_torch 0 TORCH_DIR)
endif()
if(NOT EXISTS "${TORCH_DIR}/share/cmake/Torch/TorchConfigVersion.cmake")
  message(FATAL_ERROR "TORCH_DIR='${TORCH_DIR}': expected share/cmake/Torch/TorchConfig.cmake below it.")
endif()

file(STRINGS "${TORCH_DIR}/share/cmake/Torch/TorchConfigVersion.cmake" seer_torch_version REGEX "PACKAGE_VERSION \"")
string(REGEX REPLACE ".*\"([0-9.]+).*" "\\1" seer_torch_version "${seer_torch_version}")
if(seer_torch_version VERSION_LESS 2.11)
  message(FATAL_ERROR "LibTorch ${seer_torch_version} in '${TORCH_DIR}' is too old: expected 2.11 to 2.13.")
endif()
message(STATUS "LibTorch ${seer_torch_version} in ${TORCH_DIR}")

# at::parallel_for is a header template: it uses LibTorch's thread pool only when our files are compiled with
# -fopenmp, and only one OpenMP runtime may be in the process: the one LibTorch brings.
file(GLOB seer_torch_gomp "${TORCH_DIR}/lib/libgomp*.so*" "${TORCH_DIR}/../torch.libs/libgomp*.so*")
if(NOT seer_torch_gomp)
  find_library(seer_torch_gomp NAMES gomp libgomp.so.1 REQUIRED NO_CACHE)
endif()
list(GET seer_torch_gomp 0 seer_torch_gomp)

add_library(seer_torch INTERFACE)
target_include_directories(seer_torch SYSTEM INTERFACE
  "${TORCH_DIR}/include" "${TORCH_DIR}/include/torch/csrc/api/include")
# libtorch.so only pulls in the others, among them the one with the CUDA backend where there is one.
# The C++ library stands before them: libtorch.so and libtorch_cpu.so of LibTorch 2.11 export std::filesystem of an older
# one, whose remove_all() crashes in a process with a newer one, and the first definition that is found serves everybody.
target_link_libraries(seer_torch INTERFACE
  "-Wl,--push-state,--no-as-needed" "-lstdc++" "${TORCH_DIR}/lib/libtorch.so" "-Wl,--pop-state"
  "${TORCH_DIR}/lib/libtorch_cpu.so" "${TORCH_DIR}/lib/libc10.so" "${seer_torch_gomp}")
target_compile_options(seer_torch INTERFACE -fopenmp)
# A CUDA build stands on NVIDIA's libraries, which it finds by its own run path when a program starts. A machine that
# only builds need not have them.
if(EXISTS "${TORCH_DIR}/lib/libtorch_cuda.so")
  target_link_options(seer_torch INTERFACE -Wl,--allow-shlib-undefined)
endif()
