#pragma once
// Ridge regression of a column's cells on the rows' codes: how a column that training did not see
// gets its weights.

#include "isthmus/column_prior.hpp"
#include "isthmus/csr_view.hpp"
#include "isthmus/types.hpp"

namespace isthmus {

// For each row c of `cells` (a new column's observed cells; its indices name rows of `codes`)
//     min over w, b of  sum over its cells (t - w . code - b)^2 + penalty ||w - prior's||^2
//                       + the prior's cost of the level
// and 0 for a column without cells. weights: new columns x k; intercepts: new columns.
void fit_ridge(ConstMatrixView codes, const CsrView& cells, double penalty,
               const ColumnPrior& prior, int num_threads, MatrixView weights, float* intercepts);

}  // namespace isthmus
