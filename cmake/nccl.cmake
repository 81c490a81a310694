# NCCL's header, for gradients between GPUs, as the target seer_nccl. The library is loaded when a program needs it.
#
#   NCCL_INCLUDE_DIR   the folder that holds nccl.h; left out, it is looked for beside LibTorch (where pip puts the wheel
#                      nvidia-nccl-cu13, which a CUDA build of PyTorch needs) and among the system's headers
#
# Sets SEER_NCCL, whether it was found. Without it gradients travel through the host's memory.

set(SEER_NCCL OFF)
if(NOT SEER_CUDA)
  return()
endif()

find_path(NCCL_INCLUDE_DIR nccl.h HINTS "${TORCH_DIR}/../nvidia/nccl/include")
if(NOT NCCL_INCLUDE_DIR)
  message(STATUS "NCCL is not used: nccl.h is neither beside LibTorch nor among the system's headers; install the package "
                 "nvidia-nccl-cu13 beside torch, or set NCCL_INCLUDE_DIR")
  return()
endif()
if(NOT EXISTS "${NCCL_INCLUDE_DIR}/nccl.h")
  message(FATAL_ERROR "NCCL_INCLUDE_DIR='${NCCL_INCLUDE_DIR}': expected nccl.h in this folder.")
endif()

set(seer_nccl_oldest 2.14)
file(STRINGS "${NCCL_INCLUDE_DIR}/nccl.h" seer_nccl_lines REGEX "^#define NCCL_(MAJOR|MINOR|PATCH) +[0-9]+")
string(REGEX MATCHALL "[0-9]+" seer_nccl_version "${seer_nccl_lines}")
list(JOIN seer_nccl_version "." seer_nccl_version)
if(seer_nccl_version VERSION_LESS seer_nccl_oldest)
  message(FATAL_ERROR "${NCCL_INCLUDE_DIR}/nccl.h is of NCCL '${seer_nccl_version}', expected ${seer_nccl_oldest} or newer. "
                      "Name another folder with NCCL_INCLUDE_DIR.")
endif()
set(SEER_NCCL ON)
message(STATUS "NCCL ${seer_nccl_version} in ${NCCL_INCLUDE_DIR}")

add_library(seer_nccl INTERFACE)
# nccl.h includes the toolkit's headers.
target_include_directories(seer_nccl SYSTEM INTERFACE
  "${NCCL_INCLUDE_DIR}" ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
