#include "isthmus/nn/parameter.hpp"

#include <cstring>

#include "isthmus/core/simd.hpp"
#include "isthmus/nn/optimizer_policies.hpp"

namespace isthmus {

namespace {

void copy_values(const Matrix& from, Matrix& to) {
    std::memcpy(to.data(), from.data(), static_cast<std::size_t>(from.size()) * sizeof(float));
}

// Takes values and not references, so that they stay in registers while weights are stored.
template <class Optimizer>
void step_array(Optimizer optimizer, float* weights, const float* gradient, index_t size,
                float* first_state, float* second_state, float decay) {
    float* const state[2] = {first_state, second_state};
    for (index_t p = 0; p + kLanes <= size; p += kLanes) {
        step_at(optimizer, weights, multiply_add(decay, load(weights + p), load(gradient + p)),
                state, p);
    }
}

}  // namespace

Parameter::Parameter(Matrix& weights_, OptimizerKind kind, Precision precision_)
    : weights(&weights_), precision(precision_) {
    const index_t cols = weights_.cols();
    for (int i = 0; i < optimizer_states(kind); ++i) {
        const bool halves = precision == Precision::bfloat16;
        state[i] = Matrix(weights_.rows(), halves ? floats_for_halves(cols) : cols);
    }
}

void Parameter::step(const float* gradient, index_t begin, index_t size,
                     const OptimizerStep& step) {
    float* from[2] = {};
    for (int i = 0; i < 2; ++i) {
        if (!state[i].empty()) from[i] = state[i].data() + begin;
    }
    with_optimizer(step, [&](const auto& optimizer) {
        step_array(optimizer, weights->data() + begin, gradient, size, from[0], from[1],
                   step.decay);
    });
}

void Parameter::step(const Matrix& gradient, const OptimizerStep& step_) {
    step(gradient.data(), 0, gradient.size(), step_);
}

void BestWeights::keep(const std::vector<Matrix*>& weights) {
    copies_.resize(weights.size());
    for (std::size_t i = 0; i < weights.size(); ++i) {
        if (copies_[i].empty()) {
            copies_[i] = weights[i]->copy();
        } else {
            copy_values(*weights[i], copies_[i]);
        }
    }
}

void BestWeights::restore(const std::vector<Matrix*>& weights) const {
    for (std::size_t i = 0; i < copies_.size(); ++i) copy_values(copies_[i], *weights[i]);
}

}  // namespace isthmus
