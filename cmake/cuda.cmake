# The compiler of the CUDA kernels, and one library of them without LibTorch: seer_cuda_kernels.
#
#   SEER_CUDA=ON    the kernels become part of libseer_ops.so; a missing piece ends the configuration
#   SEER_CUDA=OFF   where a toolkit is found, SEER_CHECK_CUDA compiles the CUDA sources all the same, into a library that
#                   no program links: a change cannot break them unseen on a machine without a GPU
#
# Sets SEER_CUDA_SOURCES, whether the CUDA sources are compiled.

set(SEER_CUDA_SOURCES OFF)
set(seer_cuda_oldest 13.0)
# One architecture, ahead of time: wgmma and TMA exist on compute capability 9.0 alone.
set(seer_cuda_flags -lineinfo -gencode=arch=compute_90a,code=sm_90a
  "SHELL:-Xptxas --warn-on-spills" "SHELL:-Xptxas --warn-on-local-memory-usage")

# Sets SEER_NVCC, and `problem` where it is not good enough.
function(seer_find_nvcc problem)
  find_program(SEER_NVCC nvcc HINTS "$ENV{CUDA_HOME}/bin" "$ENV{CUDA_PATH}/bin" /usr/local/cuda/bin)
  if(NOT SEER_NVCC)
    set(${problem} "no nvcc found; install the CUDA toolkit ${seer_cuda_oldest} or newer, or set CUDA_HOME" PARENT_SCOPE)
    return()
  endif()
  execute_process(COMMAND ${SEER_NVCC} --version OUTPUT_VARIABLE version ERROR_QUIET)
  if(NOT version MATCHES "release ([0-9]+\\.[0-9]+)" OR CMAKE_MATCH_1 VERSION_LESS seer_cuda_oldest)
    set(${problem} "${SEER_NVCC} is release '${CMAKE_MATCH_1}', expected ${seer_cuda_oldest} or newer" PARENT_SCOPE)
  endif()
endfunction()

set(seer_cuda_problem "")
if(SEER_CUDA)
  seer_find_nvcc(seer_cuda_problem)
  if(seer_cuda_problem)
    message(FATAL_ERROR "SEER_CUDA=ON: ${seer_cuda_problem}.")
  endif()
  if(NOT EXISTS "${TORCH_DIR}/lib/libtorch_cuda.so")
    message(FATAL_ERROR "SEER_CUDA=ON: the LibTorch in '${TORCH_DIR}' is a CPU build (it has no lib/libtorch_cuda.so). "
                        "'make cuda' installs a CUDA build; or name one with TORCH_DIR.")
  endif()
elseif(NOT SEER_CHECK_CUDA OR NOT SEER_SANITIZE STREQUAL "" OR SEER_FUZZ)
  return()
else()
  seer_find_nvcc(seer_cuda_problem)
endif()

# A toolkit that cannot compile (for a host compiler that it does not know, say) must not end a build that can do
# without. CMake 3.25.1 knows no architecture 90a and no C++20 of this compiler: both are told below.
set(CMAKE_CUDA_ARCHITECTURES OFF)
if(NOT seer_cuda_problem)
  set(CMAKE_CUDA_COMPILER "${SEER_NVCC}")
  set(CMAKE_CUDA_HOST_COMPILER "${CMAKE_CXX_COMPILER}")
  if(NOT SEER_CUDA)
    include(CheckLanguage)
    check_language(CUDA)
    if(NOT CMAKE_CUDA_COMPILER)
      set(seer_cuda_problem "${SEER_NVCC} cannot compile with ${CMAKE_CXX_COMPILER}")
    endif()
  endif()
endif()
if(seer_cuda_problem)
  message(STATUS "CUDA sources are not checked: ${seer_cuda_problem}")
  return()
endif()

enable_language(CUDA)
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
endif()
if(SEER_CCACHE)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${SEER_CCACHE})
endif()
set(SEER_CUDA_SOURCES ON)
if(SEER_CUDA)
  message(STATUS "CUDA kernels for sm_90a by ${SEER_NVCC}")
else()
  message(STATUS "CUDA sources are compiled by ${SEER_NVCC} as a check; no program contains them")
endif()

# The targets' sources follow in src/CMakeLists.txt.
add_library(seer_cuda_kernels STATIC)
target_compile_options(seer_cuda_kernels PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:${seer_cuda_flags}>)
# The runtime is linked statically, and its symbols stay inside: LibTorch brings another copy as a shared library.
set_target_properties(seer_cuda_kernels PROPERTIES CUDA_STANDARD 20 CUDA_EXTENSIONS OFF CUDA_RUNTIME_LIBRARY Static)
target_link_options(seer_cuda_kernels INTERFACE
  "-Wl,--exclude-libs,libcudart_static.a:libcudadevrt.a:libculibos.a")

# Adds one source file for each combination of a kernel's instances, so that each compiles alone, in seconds:
#
#   seer_cuda_instances(block_sparse_attention ELEMENTS kBFloat16 kFloat16 HEAD_DIMS 64 128 BLOCK_SIZES 64 128)
#
# reads src/kernels/block_sparse_attention/instance.cu.in (or TEMPLATE <file> of that folder), in which @ELEMENT@,
# @HEAD_DIM@ and @BLOCK_SIZE@ stand for the values. An axis that is left out has no name in the template. A combination
# that is not listed is an error of the linker, not a hidden compilation.
function(seer_cuda_instances operator)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "TEMPLATE" "ELEMENTS;HEAD_DIMS;BLOCK_SIZES")
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "seer_cuda_instances(${operator}): unknown arguments '${arg_UNPARSED_ARGUMENTS}'")
  endif()
  if(NOT arg_TEMPLATE)
    set(arg_TEMPLATE instance.cu.in)
  endif()
  foreach(axis ELEMENTS HEAD_DIMS BLOCK_SIZES)
    if(NOT arg_${axis})
      set(arg_${axis} "-")
    endif()
  endforeach()
  string(REGEX REPLACE "\\.cu\\.in$" "" kernel "${arg_TEMPLATE}")
  string(REPLACE "/" "_" kernel "${kernel}")
  foreach(ELEMENT IN LISTS arg_ELEMENTS)
    foreach(HEAD_DIM IN LISTS arg_HEAD_DIMS)
      foreach(BLOCK_SIZE IN LISTS arg_BLOCK_SIZES)
        string(REGEX REPLACE "^k" "" element "${ELEMENT}")
        string(TOLOWER "_${element}_d${HEAD_DIM}_b${BLOCK_SIZE}" instance)
        string(REGEX REPLACE "_[db]?-" "" instance "${instance}")
        set(file "${PROJECT_BINARY_DIR}/kernels/${operator}/${kernel}${instance}.cu")
        configure_file("${PROJECT_SOURCE_DIR}/src/kernels/${operator}/${arg_TEMPLATE}" "${file}" @ONLY)
        target_sources(seer_cuda_kernels PRIVATE "${file}")
      endforeach()
    endforeach()
  endforeach()
endfunction()
