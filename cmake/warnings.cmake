# Warnings for this project's own code; dependencies are SYSTEM includes and stay silent.
add_library(seer_warnings INTERFACE)
target_compile_options(seer_warnings INTERFACE
  -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Wcast-align -Woverloaded-virtual)
if(SEER_WERROR)
  target_compile_options(seer_warnings INTERFACE -Werror)
endif()
