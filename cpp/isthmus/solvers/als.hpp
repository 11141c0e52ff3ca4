#pragma once
// Alternating least squares: with one side's factors held fixed, every row of the other has the
// exact solution of a ridge regression of its own. On ratings, where only the cells of a row count;
// and on implicit feedback, where every column does.

#include <cmath>
#include <cstdint>
#include <stdexcept>

#include "isthmus/core/csr.hpp"
#include "isthmus/core/parallel.hpp"
#include "isthmus/core/types.hpp"

namespace isthmus {

// A row's equations are singular.
struct Singular : std::invalid_argument {
    Singular()
        : std::invalid_argument("a least-squares problem is singular: raise regularization.") {}
};

// What a row's factors p and bias b cost: factors |p|^2 times the row's number of cells to the
// power of `weighting`, and bias b^2. A weighting of 0 is plain ridge regression, 1 weights by
// counts (Zhou et al., AAIM 2008), and values in between interpolate (Rendle et al., RecSys 2022).
// A bias is damped by so many cells without one, however many the row has (Koren, KDD 2008).
struct RidgePenalty {
    float factors = 0.0f;
    float bias = 0.0f;
    float weighting = 0.0f;

    float scale(index_t cells) const {
        return weighting == 0.0f ? 1.0f : std::pow(static_cast<float>(cells), weighting);
    }
};

// One side of a factor model: rows x k factors and a bias a row.
struct FactorSide {
    MatrixView factors;
    float* bias = nullptr;
};

struct ConstFactorSide {
    ConstMatrixView factors;
    const float* bias = nullptr;

    ConstFactorSide(ConstMatrixView factors_, const float* bias_)
        : factors(factors_), bias(bias_) {}
    ConstFactorSide(const FactorSide& side)  // NOLINT(google-explicit-constructor): as the views
        : factors(side.factors), bias(side.bias) {}
};

// For each row of `cells`
//     min over p, b of  sum over its cells c of (value - mean - bias_c - p . factors_c - b)^2
//                       + penalty
// with the columns' factors and biases from `fixed`; rows without cells become 0. Returns the
// squared error that is left, summed over the rows in their order. `poll` is called now and then
// with the number of cells done; if it throws, some rows are new and the others as they were.
double solve_rows(const CsrView& cells, const ConstFactorSide& fixed, float mean,
                  const RidgePenalty& penalty, int num_threads, const Poll& poll,
                  const FactorSide& solved);

// What the cells of implicit feedback weigh (Hu, Koren, Volinsky, ICDM 2008): a stored cell is a 1
// of weight `positive`, whatever its value, and any other a 0 of weight `other`, which is less.
struct Confidence {
    float positive = 1.0f;
    float other = 0.01f;
};

// gram = factors^T factors (k x k).
void factor_gram(ConstMatrixView factors, int num_threads, MatrixView gram);

// For each row of `cells`
//     min over p of  sum over its cells c of positive (1 - p . fixed_c)^2 + sum over the other
//                    columns of `other` (p . fixed_c)^2 + penalty |p - prior|^2
// with the other columns by way of `gram`, the sum of the products of all columns that are to
// count: O(nnz k^2 + rows k^3) in all. `prior` holds a row's mean (rows x k); without rows, 0.
// Returns the weighted squared error that is left, summed over the rows in their order; `poll` as
// in solve_rows.
double solve_implicit_rows(const CsrView& cells, ConstMatrixView fixed, ConstMatrixView gram,
                           Confidence confidence, float penalty, ConstMatrixView prior,
                           int num_threads, const Poll& poll, MatrixView solved);

}  // namespace isthmus
