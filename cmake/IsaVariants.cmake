# One core per instruction set: the same sources, compiled once for each entry of ISTHMUS_ISA.
# Python loads the best one that the CPU can run. To add one, name its flags here, its module in
# cpp/bindings/module.cpp, test for it in cpp/bindings/cpu.cpp and list it in
# python/isthmus/_core/__init__.py.

set(isthmus_isa_flags_baseline "") # whatever every CPU of the architecture has
isthmus_append_flags(isthmus_isa_flags_avx2 -march=x86-64-v3)
isthmus_append_flags(isthmus_isa_flags_avx512 -march=x86-64-v4 -mprefer-vector-width=512)
set(isthmus_isa_flags_avx512bf16 ${isthmus_isa_flags_avx512})
isthmus_append_flags(isthmus_isa_flags_avx512bf16 -mavx512bf16)

set(ISTHMUS_ISA
    all
    CACHE STRING "Instruction sets to build the core for: a list, or all those of the architecture")
if(ISTHMUS_ISA STREQUAL "all")
  set(processor ${CMAKE_SYSTEM_PROCESSOR})
  if(CMAKE_OSX_ARCHITECTURES)
    set(processor ${CMAKE_OSX_ARCHITECTURES})
  endif()
  set(ISTHMUS_ISA baseline)
  if(processor MATCHES "^(x86_64|AMD64|amd64)$")
    list(APPEND ISTHMUS_ISA avx2 avx512 avx512bf16)
  endif()
endif()

function(isthmus_set_properties target)
  set_target_properties(
    ${target}
    PROPERTIES CXX_EXTENSIONS OFF
               CXX_VISIBILITY_PRESET hidden
               VISIBILITY_INLINES_HIDDEN ON
               POSITION_INDEPENDENT_CODE ON)
endfunction()

# The object library isthmus_core_<isa>. All it is compiled with is PUBLIC: Eigen's memory layout
# depends on the instruction set, so what links a core must be compiled as the core is.
function(isthmus_add_core isa)
  if(NOT DEFINED isthmus_isa_flags_${isa})
    message(
      FATAL_ERROR
        "ISTHMUS_ISA lists '${isa}'; it may be all, or list baseline, avx2, avx512 and avx512bf16.")
  endif()
  set(flags ${isthmus_isa_flags_${isa}})
  # Fused multiply-adds where simd.hpp's multiply_add says so, and nowhere else: which of them a
  # compiler fuses by itself differs from loop to loop, and with it the bits. Square roots need not
  # set errno. Never -ffast-math: it reorders sums, and treats NaN as impossible, which is how a
  # diverging run is noticed.
  isthmus_append_flags(flags -ffp-contract=off -fno-math-errno)

  set(core isthmus_core_${isa})
  add_library(${core} OBJECT ${ISTHMUS_CORE_SOURCES})
  target_compile_features(${core} PUBLIC cxx_std_17)
  target_include_directories(${core} PUBLIC ${PROJECT_SOURCE_DIR}/cpp)
  target_link_libraries(${core} PUBLIC Eigen3::Eigen ${threads_library})
  target_compile_options(${core} PUBLIC ${flags})
  isthmus_compiler_options(${core} PUBLIC)
  target_compile_definitions(
    ${core}
    PUBLIC EIGEN_DONT_PARALLELIZE # the core has its own threads
           EIGEN_MPL2_ONLY
           EIGEN_GEMM_TO_COEFFBASED_THRESHOLD=1 # small products sum in the order of large ones
           $<$<CONFIG:Debug>:EIGEN_RUNTIME_NO_MALLOC> # so that a batch can forbid allocations
           ${threads_definition})

  string(TOUPPER "${CMAKE_BUILD_TYPE}" config)
  string(JOIN " " all_flags ${CMAKE_CXX_FLAGS} ${CMAKE_CXX_FLAGS_${config}} ${flags})
  target_compile_definitions(
    ${core}
    PRIVATE ISTHMUS_VERSION="${SKBUILD_PROJECT_VERSION_FULL}" ISTHMUS_ISA_NAME="${isa}"
            ISTHMUS_COMPILER="${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}"
            ISTHMUS_COMPILER_FLAGS="${all_flags}" ISTHMUS_THREADS_NAME="${threads_backend}")

  isthmus_set_properties(${core})
endfunction()

# Bindings only convert and call: -O3 would compile half as long again, for nothing.
function(isthmus_binding_options target)
  target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:-O1>)
  isthmus_compiler_options(${target} PRIVATE)
endfunction()

# The object library isthmus_bindings: all of the bindings, compiled once for all instruction sets,
# a few files at a time since most of their time goes to pybind11's headers. It is compiled for any
# CPU, so it may use neither vectors nor Eigen, whose types depend on the instruction set: simd.hpp
# refuses ISTHMUS_ANY_CPU, and there is no path to Eigen here. What else is in the headers has one
# layout everywhere.
#
# Inline functions and templates that a core was compiled with as well, std::vector's among them,
# are merged by the linker. It keeps the first, and a module lists its core before the bindings, so
# that kernels run what was compiled with them. The other choice would be slower, and as right: the
# bindings' run on every CPU, and a core's where that core does.
function(isthmus_add_bindings)
  add_library(isthmus_bindings OBJECT ${ISTHMUS_BINDING_SOURCES})
  target_compile_features(isthmus_bindings PRIVATE cxx_std_17)
  target_include_directories(isthmus_bindings PRIVATE ${PROJECT_SOURCE_DIR}/cpp)
  target_link_libraries(isthmus_bindings PRIVATE pybind11::module)
  target_compile_definitions(isthmus_bindings PRIVATE ISTHMUS_ANY_CPU)
  isthmus_binding_options(isthmus_bindings)
  isthmus_set_properties(isthmus_bindings)
  set_target_properties(isthmus_bindings PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 5)
endfunction()

# The extension module isthmus._core_<isa>: the core of that instruction set and the bindings, in
# this order.
function(isthmus_add_module isa)
  set(module _core_${isa})
  pybind11_add_module(${module} MODULE NO_EXTRAS $<TARGET_OBJECTS:isthmus_core_${isa}>
                      $<TARGET_OBJECTS:isthmus_bindings>)
  target_link_libraries(${module} PRIVATE ${threads_library})
  isthmus_compiler_options(${module} PRIVATE) # the sanitizers are linked too
  set_target_properties(${module} PROPERTIES LINKER_LANGUAGE CXX)
  install(TARGETS ${module} LIBRARY DESTINATION isthmus/_core)
endfunction()
