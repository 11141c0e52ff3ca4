# Warnings and sanitizers, given to targets one by one and never to the global flags.

option(ISTHMUS_WERROR "Turn warnings into errors" OFF)
set(ISTHMUS_SANITIZE
    ""
    CACHE STRING "Sanitizers to build with, as -fsanitize takes them: address,undefined or thread")

function(isthmus_compiler_options target scope)
  if(MSVC)
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
