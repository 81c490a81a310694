# Everything Seer stands on. `make setup` installs all of it; TORCH_DIR names another LibTorch.

# --- LibTorch -----------------------------------------------------------------------------------
# Looked for in this order: -DTORCH_DIR, the environment's TORCH_DIR, the virtual environment in the tree.
set(TORCH_DIR "$ENV{TORCH_DIR}" CACHE PATH "A LibTorch: the folder that holds share/cmake/Torch")
if(TORCH_DIR STREQUAL "")
  file(GLOB seer_venv_torch "${PROJECT_SOURCE_DIR}/.venv/lib/python3*/site-packages/torch")
  if(NOT seer_venv_torch)
    message(FATAL_ERROR "No LibTorch found: run 'make setup', or set TORCH_DIR to a folder that holds "
                        "share/cmake/Torch/TorchConfig.cmake (torch 2.11 to 2.13).")
  endif()
  list(GET seer_venv_torch 0 TORCH_DIR)
endif()
if(NOT EXISTS "${TORCH_DIR}/share/cmake/Torch/TorchConfig.cmake")
  message(FATAL_ERROR "TORCH_DIR='${TORCH_DIR}': expected share/cmake/Torch/TorchConfig.cmake below it.")
endif()
set(CMAKE_CUDA_ARCHITECTURES 90a)
find_package(Torch REQUIRED PATHS "${TORCH_DIR}" NO_DEFAULT_PATH)
if(Torch_VERSION VERSION_LESS 2.11)
  message(FATAL_ERROR "LibTorch ${Torch_VERSION} in '${TORCH_DIR}' is too old: expected 2.11 to 2.13.")
endif()

# at::parallel_for is a header template: it uses LibTorch's thread pool only when our files are compiled with
# -fopenmp, and only one OpenMP runtime may be in the process: the one LibTorch brings.
file(GLOB seer_torch_gomp "${TORCH_DIR}/lib/libgomp*.so*")
if(NOT seer_torch_gomp)
  find_library(seer_torch_gomp NAMES gomp libgomp.so.1 REQUIRED)
endif()
list(GET seer_torch_gomp 0 seer_torch_gomp)

add_library(seer_torch INTERFACE)
target_include_directories(seer_torch SYSTEM INTERFACE ${TORCH_INCLUDE_DIRS})
target_link_libraries(seer_torch INTERFACE ${TORCH_LIBRARIES} "${seer_torch_gomp}")
target_compile_options(seer_torch INTERFACE -fopenmp)

# --- Header-only and small libraries from the distribution --------------------------------------
find_path(SEER_HIGHWAY_INCLUDE hwy/highway.h REQUIRED)
find_library(SEER_HIGHWAY_LIBRARY hwy REQUIRED)
add_library(seer_highway INTERFACE)
target_include_directories(seer_highway SYSTEM INTERFACE ${SEER_HIGHWAY_INCLUDE})

find_package(nlohmann_json 3.11 REQUIRED)
find_package(CLI11 2.1 REQUIRED)
find_package(fmt 9 REQUIRED)
if(SEER_BUILD_TESTS)
  find_package(GTest 1.12 REQUIRED)
endif()
