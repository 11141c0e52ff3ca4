#include "isthmus/core/version.hpp"
#include "pybind.hpp"
#include "registration.hpp"

namespace isthmus {

namespace {

py::dict build_info() {
    py::dict info;
    info["version"] = version();
    info["isa"] = isa();
    info["compiler"] = compiler();
    info["compiler_flags"] = compiler_flags();
    info["threads_backend"] = threads_backend();
    info["max_threads"] = max_threads();
    info["eigen"] = eigen_version();
    info["pybind11"] = PYBIND11_TOSTRING(PYBIND11_VERSION_MAJOR) "." PYBIND11_TOSTRING(
        PYBIND11_VERSION_MINOR) "." PYBIND11_TOSTRING(PYBIND11_VERSION_PATCH);
    return info;
}

void register_build_info(py::module_& module) {
    module.def("build_info", &build_info, "What this core is and how it was built.");
}

const Registration registration_of_build_info(&register_build_info);

}  // namespace

}  // namespace isthmus
