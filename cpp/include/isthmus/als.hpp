#pragma once
// Alternating least squares: with one side's factors held fixed, every row of the other has the
// exact solution of a ridge regression of its own.

#include <cmath>
#include <cstdint>
#include <functional>

#include "isthmus/csr_view.hpp"
#include "isthmus/types.hpp"

namespace isthmus {

// What a row's factors p and bias b cost: factors |p|^2 + bias b^2, times the row's number of cells
// to the power of `weighting`: 0 is plain ridge regression, 1 weights by counts (Zhou et al., AAIM
// 2008), and in between is in between (Rendle et al., RecSys 2022).
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
                  const RidgePenalty& penalty, int num_threads,
                  const std::function<void(index_t)>& poll, const FactorSide& solved);

}  // namespace isthmus
