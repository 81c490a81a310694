# Writes HEADER with the commit of SOURCE_DIR; leaves it alone when nothing changed.
find_program(git git)
set(commit "unknown")
if(git)
  execute_process(COMMAND ${git} -C ${SOURCE_DIR} describe --always --dirty --abbrev=12 --exclude=*
                  OUTPUT_VARIABLE described RESULT_VARIABLE failed OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  if(NOT failed)
    set(commit "${described}")
  endif()
endif()
file(CONFIGURE OUTPUT ${HEADER} CONTENT
"#pragma once

namespace seer::bench {

inline constexpr const char* kBuildCommit = \"${commit}\";

}  // namespace seer::bench
")
