#pragma once
// Solvers that use Cholesky's decomposition in double precision: the inverse of a large matrix, and
// the regressions that compute the weights of columns that training did not see. They share a file
// because Eigen's decomposition takes long to compile.

#include <cstdint>
#include <functional>
#include <stdexcept>

#include "isthmus/core/csr.hpp"
#include "isthmus/core/types.hpp"

namespace isthmus {

// A matrix is not positive definite in float32.
struct NotPositiveDefinite : std::runtime_error {
    NotPositiveDefinite()
        : std::runtime_error("X^T X + lambda I is not positive definite in float32") {}
};

// Replaces a symmetric positive definite matrix, of which the lower triangle is read, by its
// inverse, in place: 2 x 256 further rows are all that it needs. `poll` is called now and then; it
// may throw.
void invert_positive_definite(MatrixView a, int num_threads, const std::function<void()>& poll);

// The prior of a new column: it is drawn around the mean of the columns that training saw.
//
// A column's weights w and bias b cost, beside a penalty on |w - weights|^2,
//     level_penalty (level - the mean column's)^2,   level = w . center + b
// where the level is the column's output at a typical row's code: a first cell informs about it,
// and not about the bias alone. A column may have several outputs: one per level of a softmax.
struct ColumnPrior {
    ConstMatrixView weights;        // outputs x k, of the mean column
    const float* bias = nullptr;    // outputs, of the mean column
    const float* center = nullptr;  // k
    double level_penalty = 0.0;
};

// For each row c of `cells` (a new column's observed cells; its indices name rows of `codes`)
//     min over w, b of  sum over its cells (t - w . code - b)^2 + penalty ||w - prior's||^2
//                       + the prior's cost of the level
// and 0 for a column without cells. weights: new columns x k; intercepts: new columns.
void fit_ridge(ConstMatrixView codes, const CsrView& cells, double penalty,
               const ColumnPrior& prior, int num_threads, MatrixView weights, float* intercepts);

// Weights and biases of columns that training did not see, by softmax regression on the codes
// (Boehning, AISM 1992: a fixed bound on the curvature, so that a column factorises one matrix):
//     max over w, b of  sum over the column's cells of log p(level | code)
//                       - penalty / 2 |w - prior's|^2 - half of the prior's cost of the levels
// cells: new columns x codes' rows, of these levels.   weights: (new columns x levels) x hidden,
// bias: new x levels
void fit_softmax(ConstMatrixView codes, const CsrView& cells, const std::uint8_t* level,
                 index_t levels, double penalty, const ColumnPrior& prior, int num_threads,
                 MatrixView weights, MatrixView bias);

}  // namespace isthmus
