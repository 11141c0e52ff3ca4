#pragma once
// EASE (Steck, WWW 2019): the item-item weights that reconstruct a user's row best, in closed form.
//
//     min over B with a zero diagonal of  ||X - X B||^2 + lambda ||B||^2
//     P = (X^T X + lambda I)^-1,  B_ij = -P_ij / P_jj

#include "isthmus/core/csr.hpp"
#include "isthmus/core/types.hpp"

namespace isthmus {

// gram = the lower triangle of X^T X + lambda I. rows: users x items, columns: its transpose, both
// with ascending indices; gram: items x items.
void gram_matrix(const CsrView& rows, const CsrView& columns, float lambda, int num_threads,
                 MatrixView gram);

// Replaces P by B.
void ease_weights(MatrixView p, int num_threads);

}  // namespace isthmus
