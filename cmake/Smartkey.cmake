# SPDX-License-Identifier: Apache-2.0
# How every target of the project is built: language level, warnings, hardening, sanitizers, ccache,
# and the helper functions that a folder's CMakeLists.txt uses.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

set(SMARTKEY_SANITIZE "" CACHE STRING "comma separated list for -fsanitize=, or empty")
option(SMARTKEY_FUZZ "build the fuzzers with libFuzzer (clang) instead of replaying their corpora" OFF)

find_program(CCACHE ccache)
if(CCACHE)
  # A checkout anywhere shares the cache: paths below the source tree are hashed relative to it.
  set(CMAKE_CXX_COMPILER_LAUNCHER env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${CMAKE_CXX_COMPILER_LAUNCHER})
endif()

find_package(Threads REQUIRED)
find_package(OpenSSL 3 REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(nlohmann_json REQUIRED)
if(BUILD_TESTING)
  find_package(GTest REQUIRED)
  include(GoogleTest)
endif()
# gRPC, Protobuf and Abseil are linked statically. As shared libraries they are sixty, and loading them takes longer than
# a call of smartkeyctl; gRPC's TLS, which no unix socket needs, stays outside (docs/decisions/0013).
pkg_check_modules(GRPC REQUIRED grpc++_unsecure)
set(abseil ${GRPC_STATIC_LIBRARIES})
list(FILTER abseil INCLUDE REGEX "^absl_")
list(REMOVE_DUPLICATES abseil)
function(smartkey_static_libraries target)
  list(TRANSFORM ARGN PREPEND "-l")
  list(JOIN ARGN " " libraries)
  add_library(${target} INTERFACE)
  target_link_libraries(${target} INTERFACE
    "-Wl,-Bstatic,--start-group ${libraries} -Wl,--end-group,-Bdynamic")
endfunction()
# Each is complete by itself, in whatever order they come. After gpr those that no .pc file names.
smartkey_static_libraries(smartkey_abseil ${abseil})
smartkey_static_libraries(smartkey_protobuf protobuf z)
smartkey_static_libraries(smartkey_grpcpp grpc++_unsecure grpc_unsecure gpr upb address_sorting cares re2 protobuf z ${abseil})

# For libsmartkey.so alone: Debian's archives hold code that only a program can contain (docs/decisions/0016).
add_library(smartkey_grpcpp_shared INTERFACE)
list(TRANSFORM abseil PREPEND "-l" OUTPUT_VARIABLE abseil_shared)
target_link_libraries(smartkey_grpcpp_shared INTERFACE
  -Wl,--as-needed -lgrpc++_unsecure -lgrpc_unsecure -lgpr -lprotobuf ${abseil_shared})

add_library(smartkey_options INTERFACE)
target_include_directories(smartkey_options INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_options(smartkey_options INTERFACE
  -Wall -Wextra -Werror -Wno-missing-field-initializers -fno-strict-aliasing
  # Same bits wherever the tree lies.
  "-ffile-prefix-map=${CMAKE_SOURCE_DIR}=." -fstack-protector-strong)
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  target_compile_options(smartkey_options INTERFACE -Wthread-safety)
endif()
if(SMARTKEY_SANITIZE)
  target_compile_options(smartkey_options INTERFACE
    -fsanitize=${SMARTKEY_SANITIZE} -fno-omit-frame-pointer -O1 -g1
    # gcc 12 sees uninitialised members in libstdc++'s <regex> when it instruments.
    $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
  target_link_options(smartkey_options INTERFACE -fsanitize=${SMARTKEY_SANITIZE})
  if(SMARTKEY_FUZZ)
    # Undefined behaviour that is only printed would be no finding.
    target_compile_options(smartkey_options INTERFACE -fno-sanitize-recover=all)
  endif()
else()
  target_compile_options(smartkey_options INTERFACE -D_FORTIFY_SOURCE=2)
  target_link_options(smartkey_options INTERFACE -Wl,-z,relro,-z,now)
endif()

# smartkey_library(NAME SOURCES a.cc ... [DEPENDS target ...])
# A static library of one folder. DEPENDS are public: what its headers or sources use.
function(smartkey_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_link_libraries(${name} PUBLIC smartkey_options ${ARG_DEPENDS})
endfunction()

# smartkey_interface(NAME [DEPENDS target ...]): a folder that has only headers.
function(smartkey_interface name)
  cmake_parse_arguments(ARG "" "" "DEPENDS" ${ARGN})
  add_library(${name} INTERFACE)
  target_link_libraries(${name} INTERFACE smartkey_options ${ARG_DEPENDS})
endfunction()

# smartkey_test(NAME LABEL unit|integration|e2e SOURCES a_test.cc ... [DEPENDS target ...] [ENVIRONMENT A=B] [TIMEOUT s])
# A GoogleTest program. `unit` tests need no root, network, emulator or other process, and run as one
# ctest entry a program; the others are one ctest entry a test, so that a failure has a name.
function(smartkey_test name)
  cmake_parse_arguments(ARG "" "LABEL;TIMEOUT" "SOURCES;DEPENDS;ENVIRONMENT" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE smartkey_options ${ARG_DEPENDS} GTest::gtest GTest::gmock GTest::gtest_main)
  if(ARG_LABEL STREQUAL "unit")
    add_test(NAME ${name} COMMAND ${name})
    set_tests_properties(${name} PROPERTIES LABELS unit TIMEOUT ${ARG_TIMEOUT} ENVIRONMENT "${ARG_ENVIRONMENT}")
  else()
    gtest_discover_tests(${name} TEST_PREFIX "${name}." DISCOVERY_MODE PRE_TEST
      PROPERTIES LABELS ${ARG_LABEL} TIMEOUT ${ARG_TIMEOUT} ENVIRONMENT "${ARG_ENVIRONMENT}")
  endif()
endfunction()

# smartkey_fuzzer(NAME SOURCES a_fuzzer.cc ... [DEPENDS target ...])
# A LLVMFuzzerTestOneInput. With SMARTKEY_FUZZ (the `fuzz` preset) a libFuzzer program, made by the target `fuzzers`;
# otherwise a unit test that runs it over the files of corpus/NAME, with any compiler.
function(smartkey_fuzzer name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS" ${ARGN})
  add_executable(${name}_fuzzer ${ARG_SOURCES})
  target_link_libraries(${name}_fuzzer PRIVATE smartkey_options ${ARG_DEPENDS})
  if(SMARTKEY_FUZZ)
    target_link_options(${name}_fuzzer PRIVATE -fsanitize=fuzzer)
    add_dependencies(fuzzers ${name}_fuzzer)
  else()
    target_link_libraries(${name}_fuzzer PRIVATE fuzz_replay)
    add_test(NAME ${name}_corpus COMMAND ${name}_fuzzer ${CMAKE_CURRENT_SOURCE_DIR}/corpus/${name})
    set_tests_properties(${name}_corpus PROPERTIES LABELS unit TIMEOUT 60)
  endif()
endfunction()
