# Warnings and sanitizers, given to targets one by one and never to the global flags.

option(ISTHMUS_WERROR "Turn warnings into errors" OFF)
set(ISTHMUS_SANITIZE
    ""
    CACHE STRING "Sanitizers to build with, as -fsanitize takes them: address,undefined or thread")

if(CMAKE_CXX_COMPILER_ID STREQUAL "MSVC")
  message(
    FATAL_ERROR
      "The core is written in the vector extensions of GCC and Clang, which cl.exe lacks: "
      "on Windows, build it with clang-cl (-DCMAKE_CXX_COMPILER=clang-cl).")
endif()

# Appends Clang's and GCC's options to a list, as the compiler's front end takes them: CMake sets
# MSVC for clang-cl too, which knows them behind /clang:.
function(isthmus_append_flags list)
  set(added ${ARGN})
  if(CMAKE_CXX_COMPILER_FRONTEND_VARIANT STREQUAL "MSVC")
    list(TRANSFORM added PREPEND "/clang:")
  endif()
  set(${list}
      ${${list}} ${added}
      PARENT_SCOPE)
endfunction()

function(isthmus_compiler_options target scope)
  if(CMAKE_CXX_COMPILER_FRONTEND_VARIANT STREQUAL "MSVC")
    target_compile_options(${target} ${scope} /W4 $<$<BOOL:${ISTHMUS_WERROR}>:/WX>)
    return()
  endif()
  # An implicit int64 -> int32 is an overflow on somebody's data, so -Wconversion is on; mixing
  # Eigen's signed with the standard library's unsigned sizes is not worth a warning.
  target_compile_options(
    ${target}
    ${scope}
    -Wall
    -Wextra
    -Wpedantic
    -Wshadow
    -Wconversion
    -Wno-sign-conversion
    -Wnon-virtual-dtor
    $<$<BOOL:${ISTHMUS_WERROR}>:-Werror>)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    # It takes the deliberately undefined registers of its own AVX-512 intrinsics for a mistake.
    target_compile_options(${target} ${scope} -Wno-uninitialized -Wno-maybe-uninitialized)
  endif()
  if(ISTHMUS_SANITIZE)
    set(sanitize -fsanitize=${ISTHMUS_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
    target_compile_options(${target} ${scope} ${sanitize} -O1)
    target_link_options(${target} ${scope} ${sanitize})
  endif()
endfunction()
