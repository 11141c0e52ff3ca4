#pragma once
// Optimizers by name, their options, and the constants of a step. optimizer_policies.hpp applies a
// step.

#include <cstdint>
#include <string>

#include "isthmus/core/types.hpp"

namespace isthmus {

enum class OptimizerKind { sgd, momentum, adagrad, adam, rprop };

// Throws std::invalid_argument naming the choices.
OptimizerKind optimizer_from_name(const std::string& name);
int optimizer_states(OptimizerKind kind);

struct OptimizerOptions {
    OptimizerKind kind = OptimizerKind::adam;
    float momentum = 0.9f;
    float beta1 = 0.9f;
    float beta2 = 0.999f;
    float epsilon = 1e-8f;
};

// Returns the default options of an optimizer.
OptimizerOptions optimizer_options(const std::string& name);

// One step of training, its constants worked out.
struct OptimizerStep {
    // `step` counts from 1; decay x weight is added to the gradient.
    OptimizerStep(const OptimizerOptions& options, float rate, index_t step, float decay);

    // The same step for weights of another decay, as biases, which have none.
    OptimizerStep with_decay(float other) const {
        OptimizerStep step = *this;
        step.decay = other;
        return step;
    }

    OptimizerKind kind;
    float rate, epsilon;  // for Adam, with all that does not change from weight to weight
    float momentum, beta1, beta2;
    float decay;
    float bias_decay = 0.0f;  // of the biases that step with rows of weights
    std::uint32_t noise = 0;  // what rounding draws from
};

}  // namespace isthmus
