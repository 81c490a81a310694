# What a build with SEER_CUDA needs, checked one by one with a message that says what to do.
find_program(SEER_NVCC nvcc HINTS "$ENV{CUDA_HOME}/bin" /usr/local/cuda/bin)
if(NOT SEER_NVCC)
  message(FATAL_ERROR "SEER_CUDA=ON: no nvcc found. Install the CUDA toolkit 13.0 or newer, or set CUDA_HOME.")
endif()
execute_process(COMMAND ${SEER_NVCC} --version OUTPUT_VARIABLE seer_nvcc_version ERROR_QUIET)
if(NOT seer_nvcc_version MATCHES "release ([0-9]+\\.[0-9]+)" OR CMAKE_MATCH_1 VERSION_LESS 13.0)
  message(FATAL_ERROR "SEER_CUDA=ON: ${SEER_NVCC} is release '${CMAKE_MATCH_1}': expected 13.0 or newer.")
endif()
if(NOT EXISTS "${TORCH_DIR}/lib/libtorch_cuda.so")
  message(FATAL_ERROR "SEER_CUDA=ON: the LibTorch in '${TORCH_DIR}' is a CPU build (it has no lib/libtorch_cuda.so): "
                      "name a CUDA build with TORCH_DIR.")
endif()
message(FATAL_ERROR "SEER_CUDA=ON: toolkit and LibTorch are fine, but Seer has no CUDA kernels yet. "
                    "Use the preset 'cpu'.")
