#pragma once
// EASE (Steck, WWW 2019): the item-item weights that reconstruct a user's row best, in closed form.
//
//     min over B with a zero diagonal of  ||X - X B||^2 + lambda ||B||^2
//     P = (X^T X + lambda I)^-1,  B_ij = -P_ij / P_jj

#include <functional>
#include <stdexcept>
#include <string>

#include "isthmus/csr_view.hpp"
#include "isthmus/types.hpp"

namespace isthmus {

// A matrix that should be positive definite is not, as far as float32 can tell.
struct NotPositiveDefinite : std::runtime_error {
    NotPositiveDefinite()
        : std::runtime_error("X^T X + lambda I is not positive definite in float32") {}
};

// gram = the lower triangle of X^T X + lambda I. rows: users x items, columns: its transpose, both
// with ascending indices; gram: items x items.
void gram_matrix(const CsrView& rows, const CsrView& columns, float lambda, int num_threads,
                 MatrixView gram);

// Replaces a symmetric positive definite matrix, of which the lower triangle is read, by its
// inverse, in place: 2 x 256 further rows are all that it needs. `poll` is called now and then; it
// may throw.
void invert_positive_definite(MatrixView a, int num_threads, const std::function<void()>& poll);

// Replaces P by B.
void ease_weights(MatrixView p, int num_threads);

}  // namespace isthmus
