#include <pybind11/pybind11.h>

namespace py = pybind11;

namespace {

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))  // clang-cl is no __GNUC__

// All of x86-64-v3, as -march=x86-64-v3 lets the compiler use all of it. __builtin_cpu_supports
// also asks whether the operating system saves the wide registers.
bool supports_avx2() {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx") && __builtin_cpu_supports("avx2") &&
           __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
           __builtin_cpu_supports("bmi2")
#if !defined(__clang__) || __clang_major__ >= 18  // older ones do not know these names
           && __builtin_cpu_supports("f16c") && __builtin_cpu_supports("lzcnt") &&
           __builtin_cpu_supports("movbe")
#endif
        ;
}

// All of x86-64-v4.
bool supports_avx512() {
    return supports_avx2() && __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

// With the products of bfloat16.
bool supports_avx512bf16() { return supports_avx512() && __builtin_cpu_supports("avx512bf16"); }

// Whether training in bfloat16 takes less time than in float32. AMD's processors start two products
// of bfloat16 a cycle; on an Intel Xeon, which starts one, it takes up to 1.3 times as long.
bool gains_by_bfloat16() { return __builtin_cpu_is("amd"); }

#else

bool supports_avx2() { return false; }
bool supports_avx512() { return false; }
bool supports_avx512bf16() { return false; }
bool gains_by_bfloat16() { return false; }

#endif

py::tuple supported() {
    py::list names;
    names.append("baseline");
    if (supports_avx2()) names.append("avx2");
    if (supports_avx512bf16() && !gains_by_bfloat16()) names.append("avx512bf16");
    if (supports_avx512()) names.append("avx512");
    if (supports_avx512bf16() && gains_by_bfloat16()) names.append("avx512bf16");
    return py::tuple(names);
}

}  // namespace

PYBIND11_MODULE(_cpu, module, py::mod_gil_not_used()) {
    module.def(
        "supported", &supported,
        "The instruction sets that this CPU and its operating system support, slowest first.");
}
