#pragma once
// A mean, and users' and items' biases: what a rating is expected to be before anything else is
// known.
//
//     bias of a row = sum over its cells of (value - mean - bias of the column) / (n + damping)
//
// which is the minimum of the squared error with a penalty of damping x bias^2, the mean and the
// columns' biases held (Koren, KDD 2008).

#include <cstdint>

#include "isthmus/core/csr.hpp"
#include "isthmus/core/types.hpp"

namespace isthmus {

// Biases of rows, given those of columns, or null for 0. `bias` has room for every row.
void fit_row_biases(const CsrView& matrix, double mean, const double* column_bias, double damping,
                    int num_threads, double* bias);

// sums[s * rows + r] = sum over row r's cells in columns of slice s of (value - mean - bias of the
// column): what machines that split the columns add up. `slice_of` has each column's slice.
void sum_residuals(const CsrView& matrix, double mean, const double* column_bias,
                   const std::int32_t* slice_of, int num_threads, double* sums);

// What the dampings of biases are chosen by: for each row and each column the sum, and the sum of
// squares, of what its cells are above the mean and the other side's bias, which is the one without
// the cell itself:
//
//     (value - mean - bias of the row - bias of the column) x factor of the other side + own bias
//
// where a factor is (n + damping) / (n - 1 + damping). `row_moments` has slices x rows x 2 numbers,
// a row's cells in columns of slice s being added up in slice s; `column_moments` has columns x 2.
struct BiasView {
    const double* bias;
    const double* factor;
};
void sum_left_out(const CsrView& matrix, double mean, const BiasView& row, const BiasView& column,
                  const std::int32_t* slice_of, double* row_moments, double* column_moments);

// Biases of rows and of columns by `sweeps` over both in turn, rows first, and the mean that goes
// with them, which is returned. All three start as given.
//
// At the minimum over all three, the biases of the rows that have cells are 0 on average, and so
// are those of columns: a shift from biases to the mean changes no sum of the three, but the
// penalty. Each sweep begins with that shift. Fitted with the biases held, the mean would hardly
// move on dense data.
double fit_biases(const CsrView& matrix, double mean, double row_damping, double column_damping,
                  index_t sweeps, double* row_bias, double* column_bias);

}  // namespace isthmus
