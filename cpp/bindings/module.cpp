#include "isthmus/core/version.hpp"
#include "pybind.hpp"
#include "registration.hpp"

// One register_<thing>.cpp binds one thing. Every extension module holds this file once, and Python
// calls the function with the name of the module's file.
#define ISTHMUS_MODULE(name)                                \
    PYBIND11_MODULE(name, module, py::mod_gil_not_used()) { \
        module.attr("__version__") = isthmus::version();    \
        isthmus::Registration::run(module);                 \
    }

ISTHMUS_MODULE(_core_baseline)
ISTHMUS_MODULE(_core_avx2)
ISTHMUS_MODULE(_core_avx512)
ISTHMUS_MODULE(_core_avx512bf16)
