#pragma once
// The steps that weights without a gradient have skipped, taken when they are read again: one after
// the other, or many as one.

#include <algorithm>
#include <cmath>

#include "isthmus/core/simd.hpp"
#include "isthmus/nn/optimizer_policies.hpp"
#include "isthmus/nn/optimizers.hpp"

namespace isthmus {

// More steps in a row are taken as a few leaps.
constexpr index_t kMostExactSteps = 32;
constexpr bool are_leapt(index_t skipped) { return skipped > kMostExactSteps; }

// What to catch up with: the first `count` steps, the last of which may have another decay.
struct CatchUp {
    const OptimizerStep* steps;
    index_t count;
    float OptimizerStep::* decay;  // that of the weights

    bool decays() const { return steps->*decay != 0.0f; }
};

// The numbers of steps that a vector's lanes have taken: of one row, which are the same, or of a
// row each.
struct TakenByRow {
    std::int32_t taken;

    Ints lanes() const { return taken - Ints{}; }
    template <class Value>
    ISTHMUS_INLINE Floats gather(const Value& value, Ints steps) const {
        return broadcast(value(steps[0]));
    }
};
struct TakenByLane {
    Ints taken;

    Ints lanes() const { return taken; }
    template <class Value>
    ISTHMUS_INLINE Floats gather(const Value& value, Ints steps) const {
        Floats gathered{};
        for (index_t l = 0; l < kLanes; ++l) gathered[l] = value(steps[l]);
        return gathered;
    }
};

ISTHMUS_INLINE Ints least(Ints a, std::int32_t b) { return a < b ? a : b - Ints{}; }

// `length` steps of each lane as one, or as many as are left but for the last.
template <class Taken>
ISTHMUS_INLINE Leap leap_of(const CatchUp& goal, const Taken& own, Ints taken, Ints count,
                            index_t length) {
    // Without decay a weight moves as long as its momentum lasts: for about ten steps.
    const Ints typical = taken + (goal.decays() ? count / 2 : least(count / 2, 8));
    const auto of = [&](float OptimizerStep::* member) {
        return own.gather([&](std::int32_t t) { return goal.steps[t].*member; }, typical);
    };
    Leap leap;
    leap.rate = of(&OptimizerStep::rate);
    leap.epsilon = of(&OptimizerStep::epsilon);
    leap.decay = of(goal.decay);
    leap.decays = goal.decays();
    leap.momentum = goal.steps->momentum;
    leap.beta1 = goal.steps->beta1;
    leap.beta2 = goal.steps->beta2;
    leap.forget = exp(std::log(leap.beta2) * __builtin_convertvector(count, Floats));
    leap.count = count;
    leap.most = length;
    return leap;
}

// Takes all steps but the last as leaps. They are short at first, while the last gradients are
// being forgotten; there is one without decay, as nothing else moves the weights.
template <class Optimizer, class Taken, int N>
ISTHMUS_INLINE void leap_ahead(Floats (&weights)[N], Floats (&state)[N][2], const Taken (&own)[N],
                               Ints (&taken)[N], std::int32_t fewest_taken, const CatchUp& goal) {
    constexpr int G = N % 4 == 0 ? 4 : 1;  // vectors whose matrices fit the registers
    const auto last = static_cast<std::int32_t>(goal.count - 1);
    std::int32_t left = last - fewest_taken;
    std::int32_t length = goal.decays() ? std::int32_t{kMostExactSteps / 2} : left;
    for (; left > 0; left -= length, length *= 16) {
        const std::int32_t most = std::min(length, left);
        for (int first = 0; first < N; first += G) {
            Floats w[G], s[G][2];
            Leap leaps[G];
            for (int g = 0; g < G; ++g) {
                const int j = first + g;
                const Ints count = least(last - taken[j], most);
                leaps[g] = leap_of(goal, own[j], taken[j], count, most);
                taken[j] += count;
                w[g] = weights[j];
                for (int i = 0; i < Optimizer::states; ++i) s[g][i] = state[j][i];
            }
            Optimizer::leap(w, s, leaps);
            for (int g = 0; g < G; ++g) {
                weights[first + g] = w[g];
                for (int i = 0; i < Optimizer::states; ++i) state[first + g][i] = s[g][i];
            }
        }
    }
}

// Takes the steps that each lane has yet to take, which are more than kMostExactSteps for all or
// for none of the lanes. The steps of one vector wait for each other; those of several keep the
// processor busy.
template <class Optimizer, class Taken, int N>
ISTHMUS_INLINE void take_skipped(Floats (&weights)[N], Floats (&state)[N][2], const Taken (&own)[N],
                                 std::int32_t fewest_taken, const CatchUp& goal) {
    Ints taken[N];
    for (int j = 0; j < N; ++j) taken[j] = own[j].lanes();
    std::int32_t t = fewest_taken;
    if constexpr (Optimizer::can_leap) {
        if (are_leapt(goal.count - fewest_taken)) {
            leap_ahead<Optimizer>(weights, state, own, taken, fewest_taken, goal);
            t = static_cast<std::int32_t>(goal.count - 1);
        }
    }
    for (; t < goal.count; ++t) {
        const OptimizerStep& step = goal.steps[t];
        const Optimizer optimizer(step);
#pragma GCC unroll 8
        for (int j = 0; j < N; ++j) {
            Floats next[2] = {state[j][0], state[j][1]};
            const Floats moved = optimizer.step(weights[j], (step.*goal.decay) * weights[j], next);
            const Ints due = taken[j] <= t;
            weights[j] = select(due, moved, weights[j]);
            for (int i = 0; i < Optimizer::states; ++i) {
                state[j][i] = select(due, next[i], state[j][i]);
            }
        }
    }
}

}  // namespace isthmus
