#pragma once
// Ridge regression of a column's cells on the rows' codes: how a column that training did not see
// gets its weights.

#include "isthmus/csr_view.hpp"
#include "isthmus/types.hpp"

namespace isthmus {

// For each row c of `cells` (a new column's observed cells; its indices name rows of `codes`)
//     min over w, b of  sum over its cells (t - w . code - b)^2 + penalty ||w||^2
// with the intercept b free of penalty. weights: new columns x k; intercepts: new columns.
void fit_ridge(ConstMatrixView codes, const CsrView& cells, double penalty, int num_threads,
               MatrixView weights, float* intercepts);

}  // namespace isthmus
