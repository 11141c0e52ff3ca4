#pragma once
// How a weight moves along its gradient. A policy holds a step's constants; its per-weight state
// lives in arrays of the weights' shape, and its step runs inside the kernel that has just summed
// the gradient, in registers. Formulas and defaults are PyTorch's.
//
// A weight without a gradient of its own still decays and follows its momentum. leap() takes many
// such steps at once: exactly but for rounding where the rate is the same for all weights (SGD,
// momentum), and with one rate for all of the steps where each has its own (Adagrad, Adam): that of
// a sum of squares which grows evenly. There a step takes a weight to 0 at most, about which the
// exact steps would swing.

#include "isthmus/core/simd.hpp"
#include "isthmus/nn/optimizers.hpp"

namespace isthmus {

// Takes `count` steps m = momentum x m + decay x weight, weight -= rate x m, by repeated squaring
// of their matrix.
ISTHMUS_INLINE void leap_linear(Floats rate, float momentum, float decay, index_t count, Floats& m,
                                Floats& weight) {
    Floats mm = broadcast(momentum), mw = broadcast(decay);  // (m, weight) -> m
    Floats wm = -rate * momentum, ww = 1.0f - rate * decay;  // (m, weight) -> weight
    for (;;) {
        if (count & 1) {
            const Floats before = m;
            m = multiply_add(mm, before, mw * weight);
            weight = multiply_add(wm, before, ww * weight);
        }
        count >>= 1;
        if (count == 0) return;
        const Floats cross = mw * wm, trace = mm + ww;
        mm = multiply_add(mm, mm, cross);
        ww = multiply_add(ww, ww, cross);
        mw = mw * trace;
        wm = wm * trace;
    }
}

// 1 / (sqrt(b) + epsilon); `Rough` where the state is rounded to 16 bits anyway.
template <bool Rough>
ISTHMUS_INLINE Floats root_of(Floats b, float epsilon) {
    return Rough ? rough_inverse_root(b, epsilon) : inverse_root(b, epsilon);
}

// The mean of rate / (sqrt(s) + epsilon) over sums of squares s that grow evenly from `first` to
// `last`, but no more than takes a weight to 0 in one step. Without decay only momentum moves the
// weight, and is over before s has changed much.
ISTHMUS_INLINE Floats mean_rate(float rate, Floats first, Floats last, float epsilon, float decay) {
    const Floats a = inverse_root(first, epsilon);
    if (decay == 0.0f) return rate * a;
    const Floats b = inverse_root(last, epsilon);
    return min(2.0f * rate * a * b / (a + b), broadcast(1.0f / decay));
}

struct Sgd {
    static constexpr int states = 0;
    static constexpr bool rests = true;  // a gradient of 0 changes neither weights nor state
    static constexpr bool leaps = true;
    float rate;

    explicit Sgd(const OptimizerStep& step) : rate(step.rate) {}

    template <bool Rough = false>
    ISTHMUS_INLINE Floats step(Floats weight, Floats gradient, Floats*) const {
        return multiply_add(-rate, gradient, weight);
    }
    ISTHMUS_INLINE Floats leap(Floats weight, Floats*, const Leap& leap) const {
        Floats none{};
        leap_linear(broadcast(rate), 0.0f, leap.step.decay, leap.count, none, weight);
        return weight;
    }
};

struct Momentum {
    static constexpr int states = 1;
    static constexpr bool rests = false;
    static constexpr bool leaps = true;
    float rate, momentum;

    explicit Momentum(const OptimizerStep& step) : rate(step.rate), momentum(step.momentum) {}

    template <bool Rough = false>
    ISTHMUS_INLINE Floats step(Floats weight, Floats gradient, Floats* state) const {
        state[0] = multiply_add(momentum, state[0], gradient);
        return multiply_add(-rate, state[0], weight);
    }
    ISTHMUS_INLINE Floats leap(Floats weight, Floats* state, const Leap& leap) const {
        leap_linear(broadcast(rate), momentum, leap.step.decay, leap.count, state[0], weight);
        return weight;
    }
};

// Duchi, Hazan, Singer (JMLR 2011)
struct Adagrad {
    static constexpr int states = 1;
    static constexpr bool rests = true;
    static constexpr bool leaps = true;
    float rate, epsilon;

    explicit Adagrad(const OptimizerStep& step) : rate(step.rate), epsilon(step.epsilon) {}

    template <bool Rough = false>
    ISTHMUS_INLINE Floats step(Floats weight, Floats gradient, Floats* state) const {
        state[0] = multiply_add(gradient, gradient, state[0]);
        return multiply_add(-rate * gradient, root_of<Rough>(state[0], epsilon), weight);
    }
    ISTHMUS_INLINE Floats leap(Floats weight, Floats* state, const Leap& leap) const {
        const float decay = leap.step.decay;
        const auto steps = static_cast<float>(leap.count);
        const Floats square = decay * decay * weight * weight;
        const Floats own = mean_rate(rate, state[0] + 0.5f * square,
                                     state[0] + (steps + 0.5f) * square, epsilon, decay);
        Floats none{};
        leap_linear(own, 0.0f, decay, leap.count, none, weight);
        state[0] += 0.5f * steps * (square + decay * decay * weight * weight);
        return weight;
    }
};

// Kingma, Ba (ICLR 2015). The state is sums where the paper has means, m / (1 - b1) and v / (1 -
// b2); what turns the one into the other, and the bias corrections, are folded into rate and
// epsilon: with r = sqrt((1-b2^t) / (1-b2)), m/(1-b1^t) / (sqrt(v/(1-b2^t)) + eps) = [r
// (1-b1)/(1-b1^t)] sum_m / (sqrt(sum_v) + eps r).
struct Adam {
    static constexpr int states = 2;
    static constexpr bool rests = false;
    static constexpr bool leaps = true;
    float rate, beta1, beta2, epsilon;

    explicit Adam(const OptimizerStep& step)
        : rate(step.rate), beta1(step.beta1), beta2(step.beta2), epsilon(step.epsilon) {}

    template <bool Rough = false>
    ISTHMUS_INLINE Floats step(Floats weight, Floats gradient, Floats* state) const {
        state[0] = multiply_add(beta1, state[0], gradient);
        state[1] = multiply_add(gradient, gradient, beta2 * state[1]);
        return multiply_add(-rate * state[0], root_of<Rough>(state[1], epsilon), weight);
    }
    ISTHMUS_INLINE Floats leap(Floats weight, Floats* state, const Leap& leap) const {
        const float decay = leap.step.decay;
        const float remembered = (1.0f - leap.forget) / (1.0f - beta2);
        const Floats square = decay * decay * weight * weight, kept = leap.forget * state[1];
        const Floats own = mean_rate(rate, state[1] + 0.5f * square,
                                     kept + (remembered + 0.5f) * square, epsilon, decay);
        leap_linear(own, beta1, decay, leap.count, state[0], weight);
        state[1] = kept + 0.5f * remembered * (square + decay * decay * weight * weight);
        return weight;
    }
};

// Riedmiller, Braun (ICNN 1993), without weight backtracking: each weight has its own step, which
// grows by 1.2 while the gradient keeps its sign and halves where that changes, and then waits one
// step. Meant for full batches, where no weight skips a step: it has no leap(). The state is the
// last gradient, and the step (0: not begun).
struct Rprop {
    static constexpr int states = 2;
    static constexpr bool rests = false;
    static constexpr bool leaps = false;
    float rate;  // the first step

    explicit Rprop(const OptimizerStep& step) : rate(step.rate) {}

    template <bool Rough = false>
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

// Steps one vector of weights at p, with the state at the same place.
template <class Optimizer>
ISTHMUS_INLINE void step_at(const Optimizer& optimizer, float* weights, Floats gradient,
                            float* const* state, index_t p) {
    Floats s[Optimizer::states > 0 ? Optimizer::states : 1];
#pragma GCC unroll 2
    for (int i = 0; i < Optimizer::states; ++i) s[i] = load(state[i] + p);
    store(weights + p, optimizer.step(load(weights + p), gradient, s));
#pragma GCC unroll 2
    for (int i = 0; i < Optimizer::states; ++i) store(state[i] + p, s[i]);
}

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
