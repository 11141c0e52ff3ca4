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

}  // namespace isthmus

// Nothing here but calls: one register_<thing>.cpp binds one thing.
PYBIND11_MODULE(ISTHMUS_MODULE_NAME, module, py::mod_gil_not_used()) {
    module.attr("__version__") = isthmus::version();
    isthmus::register_build_info(module);
    isthmus::register_threads();
    isthmus::register_matrix(module);
    isthmus::register_primitives(module);
    isthmus::register_scoring(module);
    isthmus::register_ranking(module);
    isthmus::register_autoencoder(module);
    isthmus::register_biased_mf(module);
    isthmus::register_cdae(module);
    isthmus::register_content(module);
    isthmus::register_ease(module);
    isthmus::register_rbm(module);
    isthmus::register_vae(module);
}
