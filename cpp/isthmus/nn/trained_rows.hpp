#pragma once
// How a step reads and writes a row of weights and its optimizer's state: as floats, or with
// weights split and the state in halves (core/bfloat16.hpp). `at` is a vector's first unit.

#include <cstdint>

#include "isthmus/core/bfloat16.hpp"
#include "isthmus/core/simd.hpp"
#include "isthmus/nn/parameter.hpp"

namespace isthmus {

struct FloatWeights {
    static constexpr int kTogether = 1;    // vectors that a step should read at once
    static constexpr bool kRough = false;  // whether roots may be

    ISTHMUS_INLINE FloatWeights(const TrainedMatrix& trained, index_t row, std::uint32_t)
        : weights(trained.weights.row(row)) {
        for (int i = 0; i < 2; ++i) {
            state[i] = trained.state[i].data ? trained.state[i].row(row) : nullptr;
        }
    }

    template <int States, int N>
    ISTHMUS_INLINE void load(index_t at, Floats (&w)[N], Floats (&s)[N][2]) const {
#pragma GCC unroll 8
        for (int j = 0; j < N; ++j) {
            w[j] = isthmus::load(weights + at + j * kLanes);
            for (int i = 0; i < States; ++i) s[j][i] = isthmus::load(state[i] + at + j * kLanes);
        }
    }

    template <int States, int N>
    ISTHMUS_INLINE void store(index_t at, const Floats (&w)[N], const Floats (&s)[N][2]) const {
#pragma GCC unroll 8
        for (int j = 0; j < N; ++j) {
            isthmus::store(weights + at + j * kLanes, w[j]);
            for (int i = 0; i < States; ++i) isthmus::store(state[i] + at + j * kLanes, s[j][i]);
        }
    }

    // Fetch the lines that hold kTogether vectors: of all, or of what is read where nothing steps.
    ISTHMUS_INLINE void prefetch_weights(index_t at) const { __builtin_prefetch(weights + at); }
    ISTHMUS_INLINE void prefetch(index_t at) const {
        __builtin_prefetch(weights + at, 1);
        for (const float* own : state) {
            if (own) __builtin_prefetch(own + at, 1);
        }
    }

    float* weights;
    float* state[2];
};

// The state is rounded up or down at random, with the distance as the odds: rounded to the nearest,
// a mean of squares would never see what a single step adds to it.
class HalfWeights {
public:
    static constexpr int kTogether = 2;
    static constexpr bool kRough = true;

    // `noise` differs from step to step.
    ISTHMUS_INLINE HalfWeights(const TrainedMatrix& trained, index_t row, std::uint32_t noise)
        : weights_(trained.weights.row(row), trained.weights.width()),
          seeds_(hash(lane_numbers() * 0x85EBCA77u + noise + number_of(trained, row))) {
        for (int i = 0; i < 2; ++i) {
            const MatrixView& state = trained.state[i];
            state_[i] = state.data ? reinterpret_cast<half_t*>(state.row(row)) : nullptr;
        }
    }

    template <int States, int N>
    ISTHMUS_INLINE void load(index_t at, Floats (&w)[N], Floats (&s)[N][2]) const {
#pragma GCC unroll 8
        for (int j = 0; j + 2 <= N; j += 2) {
            const index_t p = at + j * kLanes;
            const FloatPair pair = weights_.load_pair(p);
            w[j] = pair.a;
            w[j + 1] = pair.b;
            for (int i = 0; i < States; ++i) {
                const FloatPair own = widen(load_pair(state_[i] + p));
                s[j][i] = own.a;
                s[j + 1][i] = own.b;
            }
        }
        if constexpr (N % 2 == 1) {
            const index_t p = at + (N - 1) * kLanes;
            w[N - 1] = weights_.load_last(p);
            for (int i = 0; i < States; ++i) s[N - 1][i] = (Floats)load_upper(state_[i] + p);
        }
    }

    template <int States, int N>
    ISTHMUS_INLINE void store(index_t at, const Floats (&w)[N], const Floats (&s)[N][2]) const {
#pragma GCC unroll 8
        for (int j = 0; j + 2 <= N; j += 2) {
            const index_t p = at + j * kLanes;
            weights_.store_pair(p, {w[j], w[j + 1]});
            if constexpr (States > 0) {
                const Words a = noise(p), b = noise(p + kLanes);
                for (int i = 0; i < States; ++i) {
                    const WordPair rounded{round(s[j][i], a, i), round(s[j + 1][i], b, i)};
                    store_pair(state_[i] + p, pack_upper(rounded));
                }
            }
        }
        if constexpr (N % 2 == 1) {
            const index_t p = at + (N - 1) * kLanes;
            weights_.store_last(p, w[N - 1]);
            if constexpr (States > 0) {
                const Words a = noise(p);
                for (int i = 0; i < States; ++i) {
                    store_upper(state_[i] + p, round(s[N - 1][i], a, i));
                }
            }
        }
    }

    ISTHMUS_INLINE void prefetch_weights(index_t at) const { weights_.prefetch_upper(at); }
    ISTHMUS_INLINE void prefetch(index_t at) const {
        weights_.prefetch_upper(at);
        weights_.prefetch_lower(at);
        for (const half_t* own : state_) {
            if (own) __builtin_prefetch(own + at, 1);
        }
    }

private:
    static ISTHMUS_INLINE std::uint32_t number_of(const TrainedMatrix& trained, index_t row) {
        return static_cast<std::uint32_t>(trained.number ? trained.number[row] : row);
    }

    // Random words, one for each of a vector's units: their upper bits are random enough.
    ISTHMUS_INLINE Words noise(index_t at) const {
        return (seeds_ + static_cast<std::uint32_t>(at)) * 0x9E3779B1u;
    }

    // Adds 16 random bits below those that stay.
    static ISTHMUS_INLINE Words round(Floats value, Words noise, int state) {
        return (Words)value + (state == 0 ? noise >> 8 & 0xFFFFu : noise >> 16);
    }

    static ISTHMUS_INLINE Words hash(Words x) {
        x = (x ^ x >> 16) * 0x21F0AAADu;
        x = (x ^ x >> 15) * 0x735A2D97u;
        return x ^ x >> 15;
    }

    SplitRow weights_;
    half_t* state_[2];
    Words seeds_;
};

// Calls body(type of the rows), as a null pointer to it.
template <class Body>
void with_rows(const TrainedMatrix& trained, Body&& body) {
    if (trained.precision == Precision::float32) {
        body(static_cast<FloatWeights*>(nullptr));
    } else {
        body(static_cast<HalfWeights*>(nullptr));
    }
}

}  // namespace isthmus
