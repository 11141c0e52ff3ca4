#include <algorithm>

#include "cells.hpp"
#include "column_prior.hpp"
#include "convert.hpp"
#include "isthmus/solvers/biases.hpp"
#include "isthmus/solvers/cholesky.hpp"
#include "pybind.hpp"
#include "registration.hpp"

namespace isthmus {

namespace {

py::tuple bind_fit_ridge(const py::array_t<float>& codes, const Array<std::int64_t>& indptr,
                         const Array<std::int32_t>& indices, const Array<float>& values,
                         double penalty, const BoundPrior& prior, int num_threads) {
    const ConstMatrixView h = matrix_view(codes, "codes");
    const ColumnPrior known = prior.view(1, h.cols);
    const CsrView cells = csr_view(indptr, indices, values, h.rows);
    py::array_t<float> weights({cells.rows, h.cols});
    py::array_t<float> intercepts(cells.rows);
    const MatrixView w{weights.mutable_data(), cells.rows, h.cols, h.cols};
    float* b = intercepts.mutable_data();
    {
        const py::gil_scoped_release release;
        fit_ridge(h, cells, penalty, known, num_threads, w, b);
    }
    return py::make_tuple(weights, intercepts);
}

py::tuple bind_transpose(const Array<std::int64_t>& indptr, const Array<std::int32_t>& indices,
                         const Array<float>& values, index_t cols, int num_threads) {
    const CsrView matrix = csr_view(indptr, indices, values, cols);
    Array<std::int64_t> new_indptr(cols + 1);
    Array<std::int32_t> new_indices(matrix.nnz());
    Array<float> new_values(matrix.nnz());
    std::int64_t* const p = new_indptr.mutable_data();
    std::int32_t* const i = new_indices.mutable_data();
    float* const v = new_values.mutable_data();
    {
        const py::gil_scoped_release release;
        transpose(matrix, num_threads, p, i, v);
    }
    return py::make_tuple(new_indptr, new_indices, new_values);
}

py::tuple bind_fit_biases(const BoundCells& cells, double mean, const Array<double>& row_bias,
                          const Array<double>& column_bias, double row_damping,
                          double column_damping, index_t sweeps) {
    const index_t rows = cells.view.rows, cols = cells.view.cols;
    require(row_bias.size() == rows, "row_bias must have a value per row");
    require(column_bias.size() == cols, "column_bias must have a value per column");
    Array<double> new_rows(rows), new_columns(cols);
    double *const r = new_rows.mutable_data(), *const c = new_columns.mutable_data();
    std::copy_n(row_bias.data(), rows, r);
    std::copy_n(column_bias.data(), cols, c);
    {
        const py::gil_scoped_release release;
        mean = fit_biases(cells.view, mean, row_damping, column_damping, sweeps, r, c);
    }
    return py::make_tuple(mean, new_rows, new_columns);
}

Array<double> bind_fit_row_biases(const BoundCells& cells, double mean,
                                  const Array<double>& column_bias, double damping,
                                  int num_threads) {
    require(num_threads >= 1, "num_threads must be at least 1");
    require(column_bias.size() == cells.view.cols, "column_bias must have a value per column");
    Array<double> rows(cells.view.rows);
    double* const r = rows.mutable_data();
    {
        const py::gil_scoped_release release;
        fit_row_biases(cells.view, mean, column_bias.data(), damping, num_threads, r);
    }
    return rows;
}

const std::int32_t* slice_of_columns(const Array<std::int32_t>& slice_of, index_t cols,
                                     index_t slices) {
    require(slice_of.size() == cols, "slice_of must have a value per column");
    const std::int32_t* const s = slice_of.data();
    require(
        std::all_of(s, s + cols, [=](std::int32_t slice) { return 0 <= slice && slice < slices; }),
        "slice_of must lie in [0, slices)");
    return s;
}

Array<double> bind_sum_residuals(const BoundCells& cells, double mean,
                                 const Array<double>& column_bias,
                                 const Array<std::int32_t>& slice_of, index_t slices,
                                 int num_threads) {
    require(num_threads >= 1, "num_threads must be at least 1");
    const index_t rows = cells.view.rows, cols = cells.view.cols;
    require(column_bias.size() == cols, "column_bias must have a value per column");
    const std::int32_t* const s = slice_of_columns(slice_of, cols, slices);
    Array<double> sums({slices, rows});
    double* const out = sums.mutable_data();
    {
        const py::gil_scoped_release release;
        std::fill_n(out, slices * rows, 0.0);
        sum_residuals(cells.view, mean, column_bias.data(), s, num_threads, out);
    }
    return sums;
}

py::tuple bind_sum_left_out(const BoundCells& cells, double mean, const Array<double>& row_bias,
                            const Array<double>& column_bias, const Array<double>& row_factor,
                            const Array<double>& column_factor, const Array<std::int32_t>& slice_of,
                            index_t slices) {
    const index_t rows = cells.view.rows, cols = cells.view.cols;
    require(row_bias.size() == rows && row_factor.size() == rows,
            "row_bias and row_factor must have a value per row");
    require(column_bias.size() == cols && column_factor.size() == cols,
            "column_bias and column_factor must have a value per column");
    const std::int32_t* const s = slice_of_columns(slice_of, cols, slices);
    Array<double> of_rows({slices, rows, index_t{2}}), of_columns({cols, index_t{2}});
    double *const r = of_rows.mutable_data(), *const c = of_columns.mutable_data();
    const BiasView row{row_bias.data(), row_factor.data()};
    const BiasView column{column_bias.data(), column_factor.data()};
    {
        const py::gil_scoped_release release;
        std::fill_n(r, slices * rows * 2, 0.0);
        std::fill_n(c, cols * 2, 0.0);
        sum_left_out(cells.view, mean, row, column, s, r, c);
    }
    return py::make_tuple(of_rows, of_columns);
}

void register_matrix(py::module_& module) {
    py::class_<Matrix>(module, "Matrix", py::module_local(),
                       "Rows of float32 in the core's own layout: aligned and padded.")
        .def(py::init([](const py::array_t<float>& array) { return matrix_from(array, "array"); }),
             py::arg("array"), "A copy of a 2-dimensional array.")
        .def_property_readonly(
            "array",
            [](const py::object& self) { return matrix_array(self.cast<Matrix&>(), self); },
            "A NumPy view (rows x cols) of the numbers.");

    py::class_<BoundCells>(module, "Cells", py::module_local(),
                           "The cells of a CSR matrix. The arrays are held, not copied.")
        .def(py::init<Array<std::int64_t>, Array<std::int32_t>, Array<float>, index_t>(),
             py::arg("indptr"), py::arg("indices"), py::arg("values"), py::arg("cols"));

    module.def("transpose", &bind_transpose, py::arg("indptr").noconvert(),
               py::arg("indices").noconvert(), py::arg("values").noconvert(), py::arg("cols"),
               py::kw_only(), py::arg("num_threads"),
               "indptr, indices and values of a CSR matrix's transpose, its cells in order.");

    py::class_<BoundPrior>(module, "ColumnPrior", py::module_local(),
                           "The mean of the columns that are known, and how much a new one's "
                           "output at the code `center` costs where it differs from that mean's.")
        .def(py::init<const py::array_t<float>&, const py::array_t<float>&,
                      const py::array_t<float>&, double>(),
             py::arg("weights"), py::arg("bias"), py::arg("center"), py::arg("level_penalty"),
             "weights: outputs x k; bias: 1 x outputs; center: 1 x k.");

    module.def("fit_ridge", &bind_fit_ridge, py::arg("codes"), py::arg("indptr"),
               py::arg("indices"), py::arg("values"), py::arg("penalty"), py::arg("prior"),
               py::kw_only(), py::arg("num_threads"),
               "Weights (columns x k) and intercepts of each CSR row's values regressed on the "
               "codes of its indices, with an L2 penalty on what differs from the prior's.");

    module.def("fit_biases", &bind_fit_biases, py::arg("cells"), py::arg("mean"),
               py::arg("row_bias"), py::arg("column_bias"), py::kw_only(), py::arg("row_damping"),
               py::arg("column_damping"), py::arg("sweeps"),
               "A mean, and biases of rows and of columns, which start as those given: what their "
               "values are above the mean and the other side's biases, on average, damped as if by "
               "further cells of 0.");
    module.def("fit_row_biases", &bind_fit_row_biases, py::arg("cells"), py::arg("mean"),
               py::arg("column_bias"), py::kw_only(), py::arg("damping"), py::arg("num_threads"),
               "Biases of rows, given those of columns.");
    module.def(
        "sum_residuals", &bind_sum_residuals, py::arg("cells"), py::arg("mean"),
        py::arg("column_bias"), py::arg("slice_of"), py::kw_only(), py::arg("slices"),
        py::arg("num_threads"),
        "What is left of each row's cells, summed in each slice of columns (slices x rows).");
    module.def("sum_left_out", &bind_sum_left_out, py::arg("cells"), py::arg("mean"),
               py::arg("row_bias"), py::arg("column_bias"), py::arg("row_factor"),
               py::arg("column_factor"), py::arg("slice_of"), py::kw_only(), py::arg("slices"),
               "Sums, and sums of squares, of what cells of each row (slices x rows x 2) and of "
               "each column (columns x 2) are above the mean and the other side's bias, which is "
               "the one without the cell.");
}

const Registration registration_of_matrix(&register_matrix, Registration::Turn::first);

}  // namespace

}  // namespace isthmus
