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

// Biases of rows and of columns by `sweeps` over both in turn, columns first, and the mean that
// goes with them, which is returned; it starts as `mean`.
//
// At the minimum over all three, the biases of the rows that have cells are 0 on average, and so
// are those of columns: a shift from biases to the mean changes no sum of the three, but the
// penalty. Each sweep but the first begins with that shift. Fitted with the biases held, the mean
// would hardly move on dense data.
double fit_biases(const CsrView& matrix, double mean, double row_damping, double column_damping,
                  index_t sweeps, int num_threads, double* row_bias, double* column_bias);

}  // namespace isthmus
