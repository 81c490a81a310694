# SEER_SANITIZE is empty, "address" (address + undefined behaviour) or "thread".
if(SEER_SANITIZE STREQUAL "address")
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g1)
  add_link_options(-fsanitize=address,undefined)
elseif(SEER_SANITIZE STREQUAL "thread")
  add_compile_options(-fsanitize=thread -fno-omit-frame-pointer -g1)
  add_link_options(-fsanitize=thread)
elseif(NOT SEER_SANITIZE STREQUAL "")
  message(FATAL_ERROR "SEER_SANITIZE='${SEER_SANITIZE}': expected empty, 'address' or 'thread'")
endif()

# libFuzzer watches the branches of everything that a fuzz target is made of.
if(SEER_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "SEER_FUZZ=ON needs Clang with libFuzzer: -DCMAKE_CXX_COMPILER=clang++")
  endif()
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
