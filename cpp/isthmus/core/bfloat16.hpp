#pragma once
// Vectors of halves (half_matrix.hpp): unpacked, packed and multiplied.
//
// Halves lie in pairs of vectors a, b: each 128 bits of a pair hold those of a, then those of b. So
// an instruction packs a pair, and one each unpacks a and b. A last vector without a partner, which
// only kLanes = 16 has, lies in order.

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "isthmus/core/chunks.hpp"
#include "isthmus/core/half_matrix.hpp"
#include "isthmus/core/simd.hpp"
#include "isthmus/core/types.hpp"

namespace isthmus {

constexpr index_t kPairHalves = 2 * kLanes;

struct FloatPair {
    Floats a, b;
};
struct WordPair {
    Words a, b;
};

#if defined(__AVX512F__)
using HalfPair = __m512i;
// Where a pair's halves come from: in each 128 bits four words' of a, then four of b.
alignas(64) constexpr std::int16_t kLowerHalves[32] = {0,  2,  4,  6,  32, 34, 36, 38, 8,  10, 12,
                                                       14, 40, 42, 44, 46, 16, 18, 20, 22, 48, 50,
                                                       52, 54, 24, 26, 28, 30, 56, 58, 60, 62};
alignas(64) constexpr std::int16_t kUpperHalves[32] = {1,  3,  5,  7,  33, 35, 37, 39, 9,  11, 13,
                                                       15, 41, 43, 45, 47, 17, 19, 21, 23, 49, 51,
                                                       53, 55, 25, 27, 29, 31, 57, 59, 61, 63};
// Packs the upper halves of words.
ISTHMUS_INLINE HalfPair pack_upper(WordPair w) {
    return _mm512_permutex2var_epi16((__m512i)w.a, _mm512_load_si512(kUpperHalves), (__m512i)w.b);
}
// Words of halves: those of `low` in the lower, those of `high` in the upper 16 bits.
ISTHMUS_INLINE WordPair unpack(HalfPair low, HalfPair high) {
    return {(Words)_mm512_unpacklo_epi16(low, high), (Words)_mm512_unpackhi_epi16(low, high)};
}
#elif defined(__AVX2__)
using HalfPair = __m256i;
ISTHMUS_INLINE HalfPair pack_upper(WordPair w) {
    return _mm256_packs_epi32((__m256i)((Ints)w.a >> 16), (__m256i)((Ints)w.b >> 16));
}
ISTHMUS_INLINE WordPair unpack(HalfPair low, HalfPair high) {
    return {(Words)_mm256_unpacklo_epi16(low, high), (Words)_mm256_unpackhi_epi16(low, high)};
}
#elif defined(__SSE2__) && !defined(__AVX__)
using HalfPair = __m128i;
ISTHMUS_INLINE HalfPair pack_upper(WordPair w) {
    return _mm_packs_epi32((__m128i)((Ints)w.a >> 16), (__m128i)((Ints)w.b >> 16));
}
ISTHMUS_INLINE WordPair unpack(HalfPair low, HalfPair high) {
    return {(Words)_mm_unpacklo_epi16(low, high), (Words)_mm_unpackhi_epi16(low, high)};
}
#else
using HalfPair = half_t __attribute__((vector_size(2 * kLanes * sizeof(half_t)), may_alias));
ISTHMUS_INLINE HalfPair pack_upper(WordPair w) {
    HalfPair packed{};
    for (index_t i = 0; i < kLanes; ++i) {
        packed[i] = static_cast<half_t>(w.a[i] >> 16);
        packed[kLanes + i] = static_cast<half_t>(w.b[i] >> 16);
    }
    return packed;
}
ISTHMUS_INLINE WordPair unpack(HalfPair low, HalfPair high) {
    WordPair words{};
    for (index_t i = 0; i < kLanes; ++i) {
        words.a[i] = static_cast<std::uint32_t>(low[i]) | static_cast<std::uint32_t>(high[i]) << 16;
        words.b[i] = static_cast<std::uint32_t>(low[kLanes + i]) |
                     static_cast<std::uint32_t>(high[kLanes + i]) << 16;
    }
    return words;
}
#endif

ISTHMUS_INLINE HalfPair load_pair(const half_t* p) { return *reinterpret_cast<const HalfPair*>(p); }
ISTHMUS_INLINE void store_pair(half_t* p, HalfPair v) { *reinterpret_cast<HalfPair*>(p) = v; }

// Packs the lower halves of words.
ISTHMUS_INLINE HalfPair pack_lower(WordPair w) {
#if defined(__AVX512F__)
    return _mm512_permutex2var_epi16((__m512i)w.a, _mm512_load_si512(kLowerHalves), (__m512i)w.b);
#else
    return pack_upper({w.a << 16, w.b << 16});
#endif
}

// A last vector without a partner, in the upper halves of words.
ISTHMUS_INLINE Words load_upper(const half_t* p) {
#if defined(__AVX512F__)
    const auto* from = reinterpret_cast<const __m256i*>(p);
    return (Words)_mm512_cvtepu16_epi32(_mm256_load_si256(from)) << 16;
#else
    Words words{};
    for (index_t i = 0; i < kLanes; ++i) words[i] = static_cast<std::uint32_t>(p[i]) << 16;
    return words;
#endif
}
ISTHMUS_INLINE void store_upper(half_t* p, Words words) {
#if defined(__AVX512F__)
    auto* to = reinterpret_cast<__m256i*>(p);
    _mm256_store_si256(to, _mm512_maskz_cvtepi32_epi16(0xFFFF, (__m512i)(words >> 16)));
#else
    for (index_t i = 0; i < kLanes; ++i) p[i] = static_cast<half_t>(words[i] >> 16);
#endif
}

// What split weights lack of float32 is not on a cache line where their number of lines is odd.
ISTHMUS_INLINE HalfPair load_unaligned_pair(const half_t* p) {
    HalfPair v;
    std::memcpy(&v, p, sizeof v);
    return v;
}
ISTHMUS_INLINE void store_unaligned_pair(half_t* p, HalfPair v) { std::memcpy(p, &v, sizeof v); }

// The nearest half, ties away from 0, is in the upper 16 bits; join() gives the float back.
ISTHMUS_INLINE Words split(Floats v) { return (Words)v + 0x8000u; }
ISTHMUS_INLINE Floats join(Words words) { return (Floats)(words - 0x8000u); }

ISTHMUS_INLINE FloatPair widen(HalfPair halves) {
    const WordPair words = unpack(HalfPair{}, halves);
    return {(Floats)words.a, (Floats)words.b};
}

// A row of split weights, `width` of them.
class SplitRow {
public:
    ISTHMUS_INLINE SplitRow(float* row, index_t width)
        : upper_(reinterpret_cast<half_t*>(row)), lower_(upper_ + width) {}

    ISTHMUS_INLINE FloatPair load_pair(index_t at) const {
        const WordPair words =
            unpack(load_unaligned_pair(lower_ + at), isthmus::load_pair(upper_ + at));
        return {join(words.a), join(words.b)};
    }
    ISTHMUS_INLINE void store_pair(index_t at, FloatPair weights) const {
        const WordPair words{split(weights.a), split(weights.b)};
        isthmus::store_pair(upper_ + at, pack_upper(words));
        store_unaligned_pair(lower_ + at, pack_lower(words));
    }
    ISTHMUS_INLINE void prefetch_upper(index_t at) const { __builtin_prefetch(upper_ + at, 1); }
    ISTHMUS_INLINE void prefetch_lower(index_t at) const { __builtin_prefetch(lower_ + at, 1); }
    ISTHMUS_INLINE Floats load_last(index_t at) const {
        return join(load_upper(upper_ + at) | load_upper(lower_ + at) >> 16);
    }
    ISTHMUS_INLINE void store_last(index_t at, Floats weights) const {
        const Words words = split(weights);
        store_upper(upper_ + at, words);
        store_upper(lower_ + at, words << 16);
    }

private:
    half_t *upper_, *lower_;
};

// sums += factor x row, over N vectors.
template <int N>
ISTHMUS_INLINE void add_scaled(Floats (&sums)[N], float factor, const half_t* row) {
#pragma GCC unroll 8
    for (int j = 0; j + 2 <= N; j += 2) {
        const FloatPair cells = widen(load_pair(row + j * kLanes));
        sums[j] = multiply_add(factor, cells.a, sums[j]);
        sums[j + 1] = multiply_add(factor, cells.b, sums[j + 1]);
    }
    if constexpr (N % 2 == 1) {
        const auto last = (Floats)load_upper(row + (N - 1) * kLanes);
        sums[N - 1] = multiply_add(factor, last, sums[N - 1]);
    }
}

// The factors of two rows; rounded to halves where the processor multiplies those.
struct HalfFactors {
#if defined(__AVX512BF16__)
    explicit ISTHMUS_INLINE HalfFactors(const float* values) {
        const __m128i two = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(values));
        both = (__m512bh)_mm512_broadcastd_epi32((__m128i)_mm_cvtneps_pbh((__m128)two));
    }
    __m512bh both;
#else
    explicit ISTHMUS_INLINE HalfFactors(const float* values) : a(values[0]), b(values[1]) {}
    float a, b;
#endif
};

// sums += factors.a x first + factors.b x second, over N vectors.
template <int N>
ISTHMUS_INLINE void add_scaled_pair(Floats (&sums)[N], const HalfFactors& factors,
                                    const half_t* first, const half_t* second) {
#if defined(__AVX512BF16__)
#pragma GCC unroll 8
    for (int j = 0; j + 2 <= N; j += 2) {
        const index_t p = j * kLanes;
        const WordPair cells = unpack(load_pair(first + p), load_pair(second + p));
        sums[j] = (Floats)_mm512_dpbf16_ps((__m512)sums[j], (__m512bh)cells.a, factors.both);
        sums[j + 1] =
            (Floats)_mm512_dpbf16_ps((__m512)sums[j + 1], (__m512bh)cells.b, factors.both);
    }
    if constexpr (N % 2 == 1) {
        const index_t p = (N - 1) * kLanes;
        const Words cells = load_upper(first + p) >> 16 | load_upper(second + p);
        sums[N - 1] = (Floats)_mm512_dpbf16_ps((__m512)sums[N - 1], (__m512bh)cells, factors.both);
    }
#else
    add_scaled(sums, factors.a, first);
    add_scaled(sums, factors.b, second);
#endif
}

// sums += the sum of values[i] x row(i), for i in [begin, end), in that order.
template <int N, class Row>
ISTHMUS_INLINE void add_rows(Floats (&sums)[N], const float* values, index_t begin, index_t end,
                             const Row& row) {
    index_t i = begin;
    if constexpr (std::is_same_v<decltype(row(i)), const half_t*>) {
        for (; i + 2 <= end; i += 2) {
            add_scaled_pair(sums, HalfFactors(values + i), row(i), row(i + 1));
        }
    }
    for (; i < end; ++i) add_scaled(sums, values[i], row(i));
}

// Dot products of halves, a pair of vectors at a time.
class HalfDot {
public:
    // One operand, which many sums share.
    struct Operand {
        explicit ISTHMUS_INLINE Operand(HalfPair pair) : halves(pair), wide(widen(pair)) {}
        HalfPair halves;
        FloatPair wide;
    };

    ISTHMUS_INLINE void add(const Operand& a, HalfPair b) {
#if defined(__AVX512BF16__)
        sums_ = (Floats)_mm512_dpbf16_ps((__m512)sums_, (__m512bh)a.halves, (__m512bh)b);
#else
        const FloatPair wide = widen(b);
        sums_ = multiply_add(a.wide.a, wide.a, sums_);
        others_ = multiply_add(a.wide.b, wide.b, others_);
#endif
    }
    // A last vector without a partner.
    ISTHMUS_INLINE void add_last(const half_t* a, const half_t* b) {
        sums_ = multiply_add((Floats)load_upper(a), (Floats)load_upper(b), sums_);
    }
    // Whose sum is the product.
    ISTHMUS_INLINE Floats lanes() const { return sums_ + others_; }

private:
    Floats sums_{}, others_{};
};

}  // namespace isthmus
