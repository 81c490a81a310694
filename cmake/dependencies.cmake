# Everything Seer stands on. `make setup` installs all of it; TORCH_DIR names another LibTorch.

include(torch)
include(cuda)
include(nccl)

# --- Header-only and small libraries from the distribution --------------------------------------
find_path(SEER_HIGHWAY_INCLUDE hwy/highway.h REQUIRED)
find_library(SEER_HIGHWAY_LIBRARY hwy REQUIRED)
add_library(seer_highway INTERFACE)
target_include_directories(seer_highway SYSTEM INTERFACE ${SEER_HIGHWAY_INCLUDE})

find_package(nlohmann_json 3.11 REQUIRED)
find_package(CLI11 2.1 REQUIRED)
find_package(fmt 9 REQUIRED)
# Header-only: LibTorch brings newer fmt headers, which come first in every file that sees LibTorch; the
# distribution's libfmt has not their symbols.
add_library(seer_fmt INTERFACE)
target_link_libraries(seer_fmt INTERFACE fmt::fmt-header-only)

find_path(SEER_PCRE2_INCLUDE pcre2.h REQUIRED)
find_library(SEER_PCRE2_LIBRARY pcre2-8 REQUIRED)
add_library(seer_pcre2 INTERFACE)
target_include_directories(seer_pcre2 SYSTEM INTERFACE ${SEER_PCRE2_INCLUDE})
target_link_libraries(seer_pcre2 INTERFACE ${SEER_PCRE2_LIBRARY})

find_path(SEER_UTF8PROC_INCLUDE utf8proc.h REQUIRED)
find_library(SEER_UTF8PROC_LIBRARY utf8proc REQUIRED)
add_library(seer_utf8proc INTERFACE)
target_include_directories(seer_utf8proc SYSTEM INTERFACE ${SEER_UTF8PROC_INCLUDE})
target_link_libraries(seer_utf8proc INTERFACE ${SEER_UTF8PROC_LIBRARY})

find_package(CURL 7.85 REQUIRED)     # `seer pull`: HTTP with TLS, proxies and redirects
find_package(OpenSSL 3.0 REQUIRED)  # the digests of what was downloaded
find_package(PNG 1.6 REQUIRED)      # the pictures of reports
find_path(SEER_TOMLPLUSPLUS_INCLUDE toml++/toml.h REQUIRED)  # recipes
add_library(seer_tomlplusplus INTERFACE)
target_include_directories(seer_tomlplusplus SYSTEM INTERFACE ${SEER_TOMLPLUSPLUS_INCLUDE})

# Headers alone: LibTorch holds Gloo and declares its process groups with these types, but does not bring them. None of
# them is made or looked into here, so that they may be of another version.
find_path(SEER_GLOO_INCLUDE gloo/context.h REQUIRED)
add_library(seer_gloo INTERFACE)
target_include_directories(seer_gloo SYSTEM INTERFACE ${SEER_GLOO_INCLUDE})

if(SEER_BUILD_TESTS)
  find_package(GTest 1.12 REQUIRED)
endif()
