#include <memory>

#include "convert.hpp"
#include "isthmus/models/ease.hpp"
#include "isthmus/solvers/cholesky.hpp"
#include "pybind.hpp"
#include "registration.hpp"

namespace isthmus {

namespace {

std::unique_ptr<Matrix> bind_ease(const Array<std::int64_t>& row_indptr,
                                  const Array<std::int32_t>& row_indices,
                                  const Array<float>& row_values,
                                  const Array<std::int64_t>& column_indptr,
                                  const Array<std::int32_t>& column_indices,
                                  const Array<float>& column_values, float regularization,
                                  int num_threads) {
    const CsrView rows = csr_view(row_indptr, row_indices, row_values, column_indptr.size() - 1);
    const CsrView columns =
        csr_view(column_indptr, column_indices, column_values, row_indptr.size() - 1);
    const py::gil_scoped_release release;
    auto weights = std::make_unique<Matrix>(columns.rows, columns.rows);
    gram_matrix(rows, columns, regularization, num_threads, weights->view());
    invert_positive_definite(weights->view(), num_threads, [] {
        const py::gil_scoped_acquire acquire;
        if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    });
    ease_weights(weights->view(), num_threads);
    return weights;
}

void register_ease(py::module_& module) {
    py::register_local_exception<NotPositiveDefinite>(module, "NotPositiveDefinite",
                                                      PyExc_ArithmeticError);
    module.def("ease", &bind_ease, py::arg("row_indptr"), py::arg("row_indices"),
               py::arg("row_values"), py::arg("column_indptr"), py::arg("column_indices"),
               py::arg("column_values"), py::arg("regularization"), py::kw_only(),
               py::arg("num_threads"),
               "EASE's weights B (items x items) from users x items by rows and by columns, both "
               "with ascending indices.");
}

const Registration registration_of_ease(&register_ease);

}  // namespace

}  // namespace isthmus
