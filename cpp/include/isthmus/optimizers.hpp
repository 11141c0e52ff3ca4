#pragma once
// How a weight moves along its gradient. A policy holds a step's constants; its per-weight state
// lives in arrays of the weights' shape, and its step runs inside the kernel that has just summed
// the gradient, in registers. Formulas and defaults are PyTorch's.

#include <string>

#include "isthmus/simd.hpp"

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

// The options of an optimizer by its name, with its own epsilon.
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
};

struct Sgd {
    static constexpr int states = 0;
    static constexpr bool rests = true;  // a gradient of 0 changes neither weights nor state
    float rate;

    explicit Sgd(const OptimizerStep& step) : rate(step.rate) {}

    ISTHMUS_INLINE Floats step(Floats weight, Floats gradient, Floats*) const {
        return weight - rate * gradient;
    }
};

struct Momentum {
    static constexpr int states = 1;
    static constexpr bool rests = false;
    float rate, momentum;

    explicit Momentum(const OptimizerStep& step) : rate(step.rate), momentum(step.momentum) {}

    ISTHMUS_INLINE Floats step(Floats weight, Floats gradient, Floats* state) const {
        state[0] = momentum * state[0] + gradient;
        return weight - rate * state[0];
    }
};

// Duchi, Hazan, Singer (JMLR 2011)
struct Adagrad {
    static constexpr int states = 1;
    static constexpr bool rests = true;
    float rate, epsilon;

    explicit Adagrad(const OptimizerStep& step) : rate(step.rate), epsilon(step.epsilon) {}

    ISTHMUS_INLINE Floats step(Floats weight, Floats gradient, Floats* state) const {
        state[0] = state[0] + gradient * gradient;
        return weight - divide_by_root(rate * gradient, state[0], epsilon);
    }
};

// Kingma, Ba (ICLR 2015). The state is sums where the paper has means, m / (1 - b1) and v / (1 -
// b2); what turns the one into the other, and the bias corrections, are folded into rate and
// epsilon: with r = sqrt((1-b2^t) / (1-b2)), m/(1-b1^t) / (sqrt(v/(1-b2^t)) + eps) = [r
// (1-b1)/(1-b1^t)] sum_m / (sqrt(sum_v) + eps r).
struct Adam {
    static constexpr int states = 2;
    static constexpr bool rests = false;
    float rate, beta1, beta2, epsilon;

    explicit Adam(const OptimizerStep& step)
        : rate(step.rate), beta1(step.beta1), beta2(step.beta2), epsilon(step.epsilon) {}

    ISTHMUS_INLINE Floats step(Floats weight, Floats gradient, Floats* state) const {
        state[0] = beta1 * state[0] + gradient;
        state[1] = beta2 * state[1] + gradient * gradient;
        return weight - divide_by_root(rate * state[0], state[1], epsilon);
    }
};

// Riedmiller, Braun (ICNN 1993), without weight backtracking: each weight has its own step, which
// grows by 1.2 while the gradient keeps its sign and halves where that changes, and then waits one
// step. Meant for full batches. The state is the last gradient, and the step (0: not begun).
struct Rprop {
    static constexpr int states = 2;
    static constexpr bool rests = false;
    float rate;  // the first step

    explicit Rprop(const OptimizerStep& step) : rate(step.rate) {}

    ISTHMUS_INLINE Floats step(Floats weight, Floats gradient, Floats* state) const {
        const Floats zero{};
        const Floats agreement = gradient * state[0];
        Floats length = select(state[1] > zero, state[1], broadcast(rate));
        length = select(agreement > zero, min(length * 1.2f, broadcast(50.0f)), length);
        length = select(agreement < zero, max(length * 0.5f, broadcast(1e-6f)), length);
        gradient = select(agreement < zero, zero, gradient);
        state[0] = gradient;
        state[1] = length;
        weight = select(gradient > zero, weight - length, weight);
        return select(gradient < zero, weight + length, weight);
    }
};

// Calls body(policy) with the policy of this step.
template <class Body>
void with_optimizer(const OptimizerStep& step, Body&& body) {
    switch (step.kind) {
        case OptimizerKind::sgd: body(Sgd(step)); return;
        case OptimizerKind::momentum: body(Momentum(step)); return;
        case OptimizerKind::adagrad: body(Adagrad(step)); return;
        case OptimizerKind::adam: body(Adam(step)); return;
        case OptimizerKind::rprop: body(Rprop(step)); return;
    }
}

}  // namespace isthmus
