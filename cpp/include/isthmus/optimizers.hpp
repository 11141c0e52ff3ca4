#pragma once
// How a weight moves along its gradient. A policy holds a step's constants; its per-weight state
// lives in arrays of the weights' shape, and its step runs inside the kernel that has just summed
// the gradient, in registers. Formulas and defaults are PyTorch's.

#include <cmath>
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

struct Sgd {
    static constexpr int states = 0;
    static constexpr bool rests = true;  // a gradient of 0 changes neither weights nor state
    float rate;

    ISTHMUS_INLINE Floats step(Floats weight, Floats gradient, Floats*) const {
        return weight - rate * gradient;
    }
};

struct Momentum {
    static constexpr int states = 1;
    static constexpr bool rests = false;
    float rate, momentum;

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

    ISTHMUS_INLINE Floats step(Floats weight, Floats gradient, Floats* state) const {
        state[0] = state[0] + gradient * gradient;
        return weight - divide_by_root(rate * gradient, state[0], epsilon);
    }
};

// Kingma, Ba (ICLR 2015). The bias corrections are folded into the rate and epsilon:
// m/(1-b1^t) / (sqrt(v/(1-b2^t)) + eps) = [sqrt(1-b2^t)/(1-b1^t)] m / (sqrt(v) + eps sqrt(1-b2^t)).
struct Adam {
    static constexpr int states = 2;
    static constexpr bool rests = false;
    float rate, beta1, beta2, epsilon;

    static Adam at_step(float rate, const OptimizerOptions& options, index_t step) {
        const double correction1 = 1.0 - std::pow(double{options.beta1}, static_cast<double>(step));
        const double root2 =
            std::sqrt(1.0 - std::pow(double{options.beta2}, static_cast<double>(step)));
        return {static_cast<float>(rate * root2 / correction1), options.beta1, options.beta2,
                static_cast<float>(options.epsilon * root2)};
    }

    ISTHMUS_INLINE Floats step(Floats weight, Floats gradient, Floats* state) const {
        state[0] = state[0] + (1.0f - beta1) * (gradient - state[0]);
        state[1] = beta2 * state[1] + (1.0f - beta2) * (gradient * gradient);
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

// Calls body(policy) with the policy of this step; `step` counts from 1.
template <class Body>
void with_optimizer(const OptimizerOptions& options, float rate, index_t step, Body&& body) {
    switch (options.kind) {
        case OptimizerKind::sgd: body(Sgd{rate}); return;
        case OptimizerKind::momentum: body(Momentum{rate, options.momentum}); return;
        case OptimizerKind::adagrad: body(Adagrad{rate, options.epsilon}); return;
        case OptimizerKind::adam: body(Adam::at_step(rate, options, step)); return;
        case OptimizerKind::rprop: body(Rprop{rate}); return;
    }
}

}  // namespace isthmus
