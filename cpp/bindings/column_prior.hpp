#pragma once
// The prior of new columns, for two regressions.

#include <cmath>

#include "convert.hpp"
#include "isthmus/solvers/cholesky.hpp"

namespace isthmus {

class BoundPrior {
public:
    BoundPrior(const py::array_t<float>& weights, const py::array_t<float>& bias,
               const py::array_t<float>& center, double level_penalty)
        : weights_(matrix_from(weights, "weights")),
          bias_(matrix_from(bias, "bias")),
          center_(matrix_from(center, "center")),
          level_penalty_(level_penalty) {
        require(bias_.rows() == 1 && bias_.cols() == weights_.rows() && center_.rows() == 1 &&
                    center_.cols() == weights_.cols(),
                "bias must be 1 x outputs and center 1 x k, with weights of outputs x k");
        require(level_penalty >= 0.0 && std::isfinite(level_penalty),
                "level_penalty must be finite and at least 0");
    }

    ColumnPrior view(index_t outputs, index_t k) const {
        require(weights_.rows() == outputs && weights_.cols() == k,
                "prior must have the columns' outputs and the codes' width");
        return {weights_.view(), bias_.data(), center_.data(), level_penalty_};
    }

private:
    Matrix weights_, bias_, center_;
    double level_penalty_;
};

}  // namespace isthmus
