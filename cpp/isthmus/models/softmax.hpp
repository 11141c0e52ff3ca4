#pragma once
// The softmax units of a restricted Boltzmann machine: a probability for each level of a rating.

#include <cstdint>
#include <limits>

#include "isthmus/core/chunks.hpp"
#include "isthmus/core/simd.hpp"
#include "isthmus/core/types.hpp"

namespace isthmus {

// p[k] = softmax over k < levels of (bias[k] + weights_(first + k) . h), for whole vectors of h; p
// has room for whole vectors, which are 0 after the last level.
inline void level_probabilities(ConstMatrixView weights, index_t first, const float* bias,
                                index_t levels, const float* h, float* p) {
    const index_t width = weights.width();
    float top = -std::numeric_limits<float>::infinity();
    for (index_t k = 0; k < levels; ++k) {
        p[k] = dot(weights.row(first + k), h, width) + bias[k];
        top = p[k] > top ? p[k] : top;
    }
    const index_t padded = round_up(levels, kLanes);
    for (index_t k = levels; k < padded; ++k) p[k] = top;
    float total = 0.0f;
    for (index_t k = 0; k < padded; k += kLanes) store(p + k, exp(load(p + k) - top));
    for (index_t k = levels; k < padded; ++k) p[k] = 0.0f;
    for (index_t k = 0; k < padded; k += kLanes) total += sum(load(p + k));
    const float inverse = 1.0f / total;
    for (index_t k = 0; k < padded; k += kLanes) store(p + k, load(p + k) * inverse);
}

// The level at u in [0, 1) of the cumulative probabilities.
inline std::uint8_t draw_level(const float* p, index_t levels, float u) {
    float below = 0.0f;
    for (index_t k = 0; k + 1 < levels; ++k) {
        below += p[k];
        if (u < below) return static_cast<std::uint8_t>(k);
    }
    return static_cast<std::uint8_t>(levels - 1);
}

inline float expected_value(const float* p, const float* values, index_t levels) {
    float expected = 0.0f;
    for (index_t k = 0; k < levels; ++k) expected += p[k] * values[k];
    return expected;
}

}  // namespace isthmus
