#pragma once
// The normal equations of one ridge regression with few unknowns and many observations, the inner
// loop of alternating least squares: summed and solved in float32, in registers.

#include "isthmus/core/types.hpp"

namespace isthmus {

// min over w of  sum over observations of (t - z . w)^2 + sum over j of penalty_j (w_j - prior_j)^2
//
// Observations are written a row at a time, [z, t], into a strip that stays in the cache; a full
// strip is added to the Gram matrix [Z t]^T [Z t]. Its order of summation is fixed.
class NormalEquations {
public:
    explicit NormalEquations(index_t unknowns);

    void clear();

    // Clears, and starts from observations of target 0 whose Gram matrix is `scale` x gram
    // (unknowns x unknowns; only the upper triangle is read).
    void start(ConstMatrixView gram, float scale);

    // Returns where to write the next observation: `unknowns` regressors, then the target.
    float* next_row() {
        if (rows_ == strip_rows_) add_strip();
        return strip_.row(rows_++);
    }

    // Writes the unknowns to w (no padding needed) and the sum of squared errors at the solution to
    // squared_error; returns false if the matrix is singular. Call clear() or start() next.
    // penalty: one value an unknown; prior: likewise, null for 0.
    bool solve(const float* penalty, const float* prior, float* w, double& squared_error);

private:
    void add_strip();
    bool factorize();

    index_t unknowns_, strip_rows_;
    index_t rows_ = 0;
    Matrix strip_;
    Matrix gram_;  // upper triangle, in whole vectors
    Matrix diagonal_;
};

}  // namespace isthmus
