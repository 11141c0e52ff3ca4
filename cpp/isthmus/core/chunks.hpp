#pragma once
// Loops over rows of floats, some vectors at a time with their number known to the compiler, so
// that they stay in registers.

#include <type_traits>
#include <utility>

#include "isthmus/core/simd.hpp"

namespace isthmus {

// Hidden units are taken this many vectors at a time: as many sums as fit the registers beside
// the operands.
constexpr int kChunkVectors = 8;
constexpr index_t kChunkFloats = kChunkVectors * kLanes;

// Calls body(std::integral_constant<int, n>), for n in [1, Most].
template <int Most, class Body>
ISTHMUS_INLINE void with_count(index_t n, Body&& body) {
    if constexpr (Most > 1) {
        if (n < Most) {
            with_count<Most - 1>(n, std::forward<Body>(body));
            return;
        }
    }
    body(std::integral_constant<int, Most>{});
}

// Cuts [0, width) into chunks of kChunkVectors vectors and a rest: body(offset, vectors).
template <class Body>
ISTHMUS_INLINE void for_each_chunk(index_t width, Body&& body) {
    index_t offset = 0;
    for (; offset + kChunkFloats <= width; offset += kChunkFloats) {
        body(offset, std::integral_constant<int, kChunkVectors>{});
    }
    if (offset < width) {
        with_count<kChunkVectors>((width - offset) / kLanes,
                                  [&](auto vectors) { body(offset, vectors); });
    }
}

template <int N>
ISTHMUS_INLINE void load_vectors(const float* from, Floats (&to)[N]) {
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) to[j] = load(from + j * kLanes);
}

template <int N>
ISTHMUS_INLINE void store_vectors(const Floats (&from)[N], float* to) {
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) store(to + j * kLanes, from[j]);
}

template <int N>
ISTHMUS_INLINE void add_scaled(Floats (&sums)[N], float factor, const float* vector) {
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) {
        sums[j] = multiply_add(factor, load(vector + j * kLanes), sums[j]);
    }
}

template <int N>
ISTHMUS_INLINE Floats dot(const Floats (&a)[N], const float* b) {
    Floats products = a[0] * load(b);
#pragma GCC unroll 8
    for (int j = 1; j < N; ++j) products = multiply_add(a[j], load(b + j * kLanes), products);
    return products;
}

// a . b over `width` floats: whole vectors, aligned.
ISTHMUS_INLINE float dot(const float* a, const float* b, index_t width) {
    Floats products{};
    for (index_t p = 0; p < width; p += kLanes) {
        products = multiply_add(load(a + p), load(b + p), products);
    }
    return sum(products);
}

}  // namespace isthmus
