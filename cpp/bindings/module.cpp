#include "isthmus/version.hpp"
#include "pybind.hpp"

namespace isthmus {

void register_autoencoder(py::module_& module);
void register_biased_mf(py::module_& module);
void register_build_info(py::module_& module);
void register_cdae(py::module_& module);
void register_content(py::module_& module);
void register_ease(py::module_& module);
void register_matrix(py::module_& module);
void register_primitives(py::module_& module);
void register_ranking(py::module_& module);
void register_rbm(py::module_& module);
void register_scoring(py::module_& module);
void register_threads();
void register_vae(py::module_& module);

static void register_all(py::module_& module) {
    module.attr("__version__") = version();
    register_build_info(module);
    register_threads();
    register_matrix(module);
    register_primitives(module);
    register_scoring(module);
    register_ranking(module);
    register_autoencoder(module);
    register_biased_mf(module);
    register_cdae(module);
    register_content(module);
    register_ease(module);
    register_rbm(module);
    register_vae(module);
}

}  // namespace isthmus

// Nothing here but calls: one register_<thing>.cpp binds one thing. Every extension module holds
// this file once, and Python calls the function with the name of the module's file.
#define ISTHMUS_MODULE(name) \
    PYBIND11_MODULE(name, module, py::mod_gil_not_used()) { isthmus::register_all(module); }

ISTHMUS_MODULE(_core_baseline)
ISTHMUS_MODULE(_core_avx2)
ISTHMUS_MODULE(_core_avx512)
