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

// Several steps without a gradient, taken as one: for each lane of a vector a number of its own,
// with the constants of a step that stands for them.
struct Leap {
    Floats rate, epsilon, decay;
    Floats forget;  // beta2 to the power of count
    Ints count;     // 0: the lane stays
    index_t most;   // no lane has a higher count
    bool decays;    // whether decay is above 0
    float momentum, beta1, beta2;
};

// Takes steps m = momentum x m + decay x weight, weight -= rate x m, by repeated squaring of their
// matrix, of G vectors.
template <int G>
ISTHMUS_INLINE void leap_linear(const Floats (&rate)[G], float momentum, const Leap (&leaps)[G],
                                Floats (&m)[G], Floats (&weight)[G]) {
    Floats mm[G], mw[G], wm[G], ww[G];  // from m to m, from weight to m, and so on
    Ints count[G];
#pragma GCC unroll 4
    for (int g = 0; g < G; ++g) {
        mm[g] = broadcast(momentum);
        mw[g] = leaps[g].decay;
        wm[g] = -rate[g] * momentum;
        ww[g] = 1.0f - rate[g] * leaps[g].decay;
        count[g] = leaps[g].count;
    }
    for (index_t most = leaps[0].most;;) {
#pragma GCC unroll 4
        for (int g = 0; g < G; ++g) {
            const Ints odd = (count[g] & 1) != 0;
            const Floats before = m[g];
            m[g] = select(odd, multiply_add(mm[g], before, mw[g] * weight[g]), before);
            weight[g] = select(odd, multiply_add(wm[g], before, ww[g] * weight[g]), weight[g]);
            count[g] >>= 1;
        }
        most >>= 1;
        if (most == 0) return;
#pragma GCC unroll 4
        for (int g = 0; g < G; ++g) {
            const Floats cross = mw[g] * wm[g], trace = mm[g] + ww[g];
            mm[g] = multiply_add(mm[g], mm[g], cross);
            ww[g] = multiply_add(ww[g], ww[g], cross);
            mw[g] = mw[g] * trace;
            wm[g] = wm[g] * trace;
        }
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
ISTHMUS_INLINE Floats mean_rate(const Leap& leap, Floats first, Floats last) {
    const Floats a = rough_inverse_root(first, leap.epsilon);
    if (!leap.decays) return leap.rate * a;
    const Floats b = rough_inverse_root(last, leap.epsilon);
    return min(2.0f * leap.rate * a * b / (a + b), 1.0f / leap.decay);
}

// The square of a gradient that is decay alone.
ISTHMUS_INLINE Floats squared_decay(const Leap& leap, Floats weight) {
    const Floats gradient = leap.decay * weight;
    return gradient * gradient;
}

struct Sgd {
    static constexpr int states = 0;
    static constexpr bool rests = true;  // a gradient of 0 changes neither weights nor state
    static constexpr bool can_leap = true;
    float rate;

    explicit Sgd(const OptimizerStep& step) : rate(step.rate) {}

    template <bool Rough = false>
    ISTHMUS_INLINE Floats step(Floats weight, Floats gradient, Floats*) const {
        return multiply_add(-rate, gradient, weight);
    }
    template <int G>
    static ISTHMUS_INLINE void leap(Floats (&weights)[G], Floats (&)[G][2],
                                    const Leap (&leaps)[G]) {
        Floats none[G] = {}, rate[G];
        for (int g = 0; g < G; ++g) rate[g] = leaps[g].rate;
        leap_linear(rate, 0.0f, leaps, none, weights);
    }
};

struct Momentum {
    static constexpr int states = 1;
    static constexpr bool rests = false;
    static constexpr bool can_leap = true;
    float rate, momentum;

    explicit Momentum(const OptimizerStep& step) : rate(step.rate), momentum(step.momentum) {}

    template <bool Rough = false>
    ISTHMUS_INLINE Floats step(Floats weight, Floats gradient, Floats* state) const {
        state[0] = multiply_add(momentum, state[0], gradient);
        return multiply_add(-rate, state[0], weight);
    }
    template <int G>
    static ISTHMUS_INLINE void leap(Floats (&weights)[G], Floats (&state)[G][2],
                                    const Leap (&leaps)[G]) {
        Floats rate[G], m[G];
        for (int g = 0; g < G; ++g) {
            rate[g] = leaps[g].rate;
            m[g] = state[g][0];
        }
        leap_linear(rate, leaps[0].momentum, leaps, m, weights);
        for (int g = 0; g < G; ++g) state[g][0] = m[g];
    }
};

// Duchi, Hazan, Singer (JMLR 2011)
struct Adagrad {
    static constexpr int states = 1;
    static constexpr bool rests = true;
    static constexpr bool can_leap = true;
    float rate, epsilon;

    explicit Adagrad(const OptimizerStep& step) : rate(step.rate), epsilon(step.epsilon) {}

    template <bool Rough = false>
    ISTHMUS_INLINE Floats step(Floats weight, Floats gradient, Floats* state) const {
        state[0] = multiply_add(gradient, gradient, state[0]);
        return multiply_add(-rate * gradient, root_of<Rough>(state[0], epsilon), weight);
    }
    template <int G>
    static ISTHMUS_INLINE void leap(Floats (&weights)[G], Floats (&state)[G][2],
                                    const Leap (&leaps)[G]) {
        Floats none[G] = {}, rate[G], steps[G];
        for (int g = 0; g < G; ++g) {
            steps[g] = __builtin_convertvector(leaps[g].count, Floats);
            const Floats square = squared_decay(leaps[g], weights[g]);
            rate[g] = mean_rate(leaps[g], state[g][0] + 0.5f * square,
                                state[g][0] + (steps[g] + 0.5f) * square);
            state[g][0] += 0.5f * steps[g] * square;
        }
        leap_linear(rate, 0.0f, leaps, none, weights);
        for (int g = 0; g < G; ++g) {
            state[g][0] += 0.5f * steps[g] * squared_decay(leaps[g], weights[g]);
        }
    }
};

// Kingma, Ba (ICLR 2015). The state is sums where the paper has means, m / (1 - b1) and v / (1 -
// b2); what turns the one into the other, and the bias corrections, are folded into rate and
// epsilon: with r = sqrt((1-b2^t) / (1-b2)), m/(1-b1^t) / (sqrt(v/(1-b2^t)) + eps) = [r
// (1-b1)/(1-b1^t)] sum_m / (sqrt(sum_v) + eps r).
struct Adam {
    static constexpr int states = 2;
    static constexpr bool rests = false;
    static constexpr bool can_leap = true;
    float rate, beta1, beta2, epsilon;

    explicit Adam(const OptimizerStep& step)
        : rate(step.rate), beta1(step.beta1), beta2(step.beta2), epsilon(step.epsilon) {}

    template <bool Rough = false>
    ISTHMUS_INLINE Floats step(Floats weight, Floats gradient, Floats* state) const {
        state[0] = multiply_add(beta1, state[0], gradient);
        state[1] = multiply_add(gradient, gradient, beta2 * state[1]);
        return multiply_add(-rate * state[0], root_of<Rough>(state[1], epsilon), weight);
    }
    template <int G>
    static ISTHMUS_INLINE void leap(Floats (&weights)[G], Floats (&state)[G][2],
                                    const Leap (&leaps)[G]) {
        Floats rate[G], m[G], remembered[G];
        for (int g = 0; g < G; ++g) {
            const Leap& leap = leaps[g];
            remembered[g] = (1.0f - leap.forget) / (1.0f - leap.beta2);
            const Floats square = squared_decay(leap, weights[g]);
            const Floats kept = leap.forget * state[g][1];
            rate[g] = mean_rate(leap, state[g][1] + 0.5f * square,
                                kept + (remembered[g] + 0.5f) * square);
            m[g] = state[g][0];
            state[g][1] = kept + 0.5f * remembered[g] * square;
        }
        leap_linear(rate, leaps[0].beta1, leaps, m, weights);
        for (int g = 0; g < G; ++g) {
            state[g][0] = m[g];
            state[g][1] += 0.5f * remembered[g] * squared_decay(leaps[g], weights[g]);
        }
    }
};

// Riedmiller, Braun (ICNN 1993), without weight backtracking: each weight has its own step, which
// grows by 1.2 while the gradient keeps its sign and halves where that changes, and then waits one
// step. Meant for full batches, where no weight skips a step: it has no leap(). The state is the
// last gradient, and the step (0: not begun).
struct Rprop {
    static constexpr int states = 2;
    static constexpr bool rests = false;
    static constexpr bool can_leap = false;
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
