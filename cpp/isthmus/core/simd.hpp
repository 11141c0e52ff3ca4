#pragma once
// One vector type as wide as the instruction set of this build, on the compilers' vector
// extensions. A product and a sum are fused where multiply_add says so, and nowhere else
// (-ffp-contract=off): compilers fuse the same expression in one loop and not in another, so that
// bits would depend on how rows are shared among threads.

#if defined(ISTHMUS_ANY_CPU)
#error "this file is compiled once for every instruction set: it may include no vector type"
#endif

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "isthmus/core/types.hpp"

#if defined(__AVX512F__) || defined(__AVX__) || defined(__SSE__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define ISTHMUS_INLINE inline __attribute__((always_inline))

namespace isthmus {

#if defined(__AVX512F__)
constexpr index_t kLanes = 16;
#elif defined(__AVX__)
constexpr index_t kLanes = 8;
#else
constexpr index_t kLanes = 4;
#endif

using Floats = float __attribute__((vector_size(kLanes * sizeof(float)), may_alias));
using Ints = std::int32_t __attribute__((vector_size(kLanes * sizeof(std::int32_t)), may_alias));
using Words = std::uint32_t __attribute__((vector_size(kLanes * sizeof(std::uint32_t)), may_alias));

ISTHMUS_INLINE Floats load(const float* p) { return *reinterpret_cast<const Floats*>(p); }
ISTHMUS_INLINE void store(float* p, Floats v) { *reinterpret_cast<Floats*>(p) = v; }
ISTHMUS_INLINE Floats load_unaligned(const float* p) {
    Floats v;
    std::memcpy(&v, p, sizeof v);
    return v;
}
ISTHMUS_INLINE void store_unaligned(float* p, Floats v) { std::memcpy(p, &v, sizeof v); }
ISTHMUS_INLINE Floats broadcast(float x) { return x - Floats{}; }

// 0, 1, 2 and so on
ISTHMUS_INLINE Words lane_numbers() {
    Words numbers{};
    for (index_t i = 0; i < kLanes; ++i) numbers[i] = static_cast<std::uint32_t>(i);
    return numbers;
}

// a x b + c, rounded once where the instruction set can
ISTHMUS_INLINE Floats multiply_add(Floats a, Floats b, Floats c) {
#if defined(__AVX512F__)
    return (Floats)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__AVX__) && defined(__FMA__)
    return (Floats)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__aarch64__)
    return (Floats)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
    return a * b + c;
#endif
}
ISTHMUS_INLINE Floats multiply_add(float a, Floats b, Floats c) {
    return multiply_add(broadcast(a), b, c);
}
ISTHMUS_INLINE Floats multiply_add(Floats a, Floats b, float c) {
    return multiply_add(a, b, broadcast(c));
}

// lanes of `yes` where the mask is set (all ones), of `no` elsewhere
ISTHMUS_INLINE Floats select(Ints mask, Floats yes, Floats no) { return mask ? yes : no; }
// A NaN in `a` stays, so that a run that has diverged shows: the instructions give the second
// operand where the comparison fails, and the compilers do not find them by themselves. NEON's
// give a NaN of either operand; select() costs it one instruction more and gives what the others
// do.
#if defined(__AVX512F__)
ISTHMUS_INLINE Floats max(Floats a, Floats b) {
    return (Floats)_mm512_maskz_max_ps(0xFFFF, (__m512)b, (__m512)a);
}
ISTHMUS_INLINE Floats min(Floats a, Floats b) {
    return (Floats)_mm512_maskz_min_ps(0xFFFF, (__m512)b, (__m512)a);
}
#elif defined(__AVX__)
ISTHMUS_INLINE Floats max(Floats a, Floats b) {
    return (Floats)_mm256_max_ps((__m256)b, (__m256)a);
}
ISTHMUS_INLINE Floats min(Floats a, Floats b) {
    return (Floats)_mm256_min_ps((__m256)b, (__m256)a);
}
#elif defined(__SSE__)
ISTHMUS_INLINE Floats max(Floats a, Floats b) { return (Floats)_mm_max_ps((__m128)b, (__m128)a); }
ISTHMUS_INLINE Floats min(Floats a, Floats b) { return (Floats)_mm_min_ps((__m128)b, (__m128)a); }
#else
ISTHMUS_INLINE Floats max(Floats a, Floats b) { return select(b > a, b, a); }
ISTHMUS_INLINE Floats min(Floats a, Floats b) { return select(b < a, b, a); }
#endif

// The sum of the lanes, always in the same order.
ISTHMUS_INLINE float sum(Floats v) {
#if defined(__AVX512F__)
    // the maskz forms: GCC 12 warns of uninitialised registers in the plain ones
    const __m512 x = (__m512)v;
    const __m256 eight = _mm256_add_ps(_mm512_maskz_extractf32x8_ps(0xFF, x, 0),
                                       _mm512_maskz_extractf32x8_ps(0xFF, x, 1));
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
#elif defined(__AVX__)
    const __m256 eight = (__m256)v;
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
#elif defined(__SSE__)
    __m128 s = (__m128)v;
#endif
#if defined(__SSE__)
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
#elif defined(__aarch64__)
    const auto x = (float32x4_t)v;
    return vaddv_f32(vadd_f32(vget_low_f32(x), vget_high_f32(x)));
#else
    return (v[0] + v[2]) + (v[1] + v[3]);
#endif
}

// Adds four vectors' lanes, to[i] += sum of v[i], in fewer steps than four calls of sum().
ISTHMUS_INLINE void add_sums(const Floats (&v)[4], float* to) {
#if defined(__AVX512F__)
    // halves of two vectors beside each other, then quarters of four, then within quarters
    const auto fold = [](Floats a, Floats b, auto low, auto high) {
        const auto x = (__m512)a, y = (__m512)b;
        return (Floats)_mm512_maskz_shuffle_f32x4(0xFFFF, x, y, decltype(low)::value) +
               (Floats)_mm512_maskz_shuffle_f32x4(0xFFFF, x, y, decltype(high)::value);
    };
    using std::integral_constant;
    constexpr integral_constant<int, 0x44> front;
    constexpr integral_constant<int, 0xEE> back;
    constexpr integral_constant<int, 0x88> even;
    constexpr integral_constant<int, 0xDD> odd;
    Floats s = fold(fold(v[0], v[1], front, back), fold(v[2], v[3], front, back), even, odd);
    s += (Floats)_mm512_maskz_permute_ps(0xFFFF, (__m512)s, 0x4E);
    s += (Floats)_mm512_maskz_permute_ps(0xFFFF, (__m512)s, 0xB1);
    const __m512 first = _mm512_maskz_compress_ps(0x1111, (__m512)s);
    _mm_storeu_ps(to, _mm_add_ps(_mm_loadu_ps(to), _mm512_castps512_ps128(first)));
#elif defined(__AVX__)
    const auto beside = [](Floats a, Floats b) {
        return _mm256_add_ps(_mm256_permute2f128_ps((__m256)a, (__m256)b, 0x20),
                             _mm256_permute2f128_ps((__m256)a, (__m256)b, 0x31));
    };
    const __m256 pairs = _mm256_hadd_ps(beside(v[0], v[1]), beside(v[2], v[3]));
    const __m256 s = _mm256_hadd_ps(pairs, pairs);
    const __m128 all = _mm_unpacklo_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
    _mm_storeu_ps(to, _mm_add_ps(_mm_loadu_ps(to), all));
#else
    for (int i = 0; i < 4; ++i) to[i] += sum(v[i]);
#endif
}

// 1 / (sqrt(b) + epsilon) for b >= 0, to 4 ulp: what Adagrad and Adam multiply by. Where the
// hardware estimates reciprocals to 14 bits, one Newton step each replaces a square root and a
// division, which would cost more than the rest of the update.
ISTHMUS_INLINE Floats inverse_root(Floats b, Floats epsilon) {
#if defined(__AVX512F__)
    const Floats tiny = broadcast(1e-36f);
    const Floats x = max(b, tiny);
    const Floats r = (Floats)_mm512_maskz_rsqrt14_ps(0xFFFF, (__m512)x);
    const Floats estimate = x * r;
    const Floats correction = multiply_add(-estimate, 0.5f * r, 1.5f);
    const Floats root = multiply_add(estimate, correction, epsilon);
    const Floats inverse = (Floats)_mm512_maskz_rcp14_ps(0xFFFF, (__m512)root);
    return inverse * multiply_add(-root, inverse, 2.0f);
#elif defined(__AVX__)
    return 1.0f / ((Floats)_mm256_sqrt_ps((__m256)b) + epsilon);
#elif defined(__SSE__)
    return 1.0f / ((Floats)_mm_sqrt_ps((__m128)b) + epsilon);
#elif defined(__aarch64__)
    return 1.0f / ((Floats)vsqrtq_f32((float32x4_t)b) + epsilon);
#else
    Floats root;
    for (index_t i = 0; i < kLanes; ++i) root[i] = __builtin_sqrtf(b[i]);
    return 1.0f / (root + epsilon);
#endif
}

ISTHMUS_INLINE Floats inverse_root(Floats b, float epsilon) {
    return inverse_root(b, broadcast(epsilon));
}

// The same to 2^-13, for a b of 16 bits: what the hardware estimates, or the exact one where it
// does not.
ISTHMUS_INLINE Floats rough_inverse_root(Floats b, Floats epsilon) {
#if defined(__AVX512F__)
    const Floats x = max(b, broadcast(1e-36f));
    const Floats root =
        multiply_add(x, (Floats)_mm512_maskz_rsqrt14_ps(0xFFFF, (__m512)x), epsilon);
    return (Floats)_mm512_maskz_rcp14_ps(0xFFFF, (__m512)root);
#else
    return inverse_root(b, epsilon);
#endif
}

ISTHMUS_INLINE Floats rough_inverse_root(Floats b, float epsilon) {
    return rough_inverse_root(b, broadcast(epsilon));
}

// Both halves of the 64-bit products of words and a factor.
struct Products {
    Words low, high;
};
ISTHMUS_INLINE Products multiply_wide(Words words, std::uint32_t factor) {
    using Pairs = std::uint64_t __attribute__((vector_size(sizeof(Words)), may_alias));
    constexpr std::uint64_t kLow = 0xFFFFFFFFu;
    // of the lower word of each pair: one instruction, where a product of Pairs would take three
    const auto product = [factor](Pairs a) {
        const Pairs b = factor - Pairs{};
#if defined(__AVX512F__)
        return (Pairs)_mm512_maskz_mul_epu32(0xFF, (__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
        return (Pairs)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#elif defined(__SSE2__) && !defined(__AVX__)
        return (Pairs)_mm_mul_epu32((__m128i)a, (__m128i)b);
#elif defined(__aarch64__)
        return (Pairs)vmull_u32(vmovn_u64((uint64x2_t)a), vmovn_u64((uint64x2_t)b));
#else
        return (a & kLow) * b;
#endif
    };
    const Pairs even = product((Pairs)words);
    const Pairs odd = product((Pairs)words >> 32);
    return {(Words)((even & kLow) | (odd << 32)), (Words)((even >> 32) | (odd & ~kLow))};
}

// exp(x) to 2 ulp over [-87.3, 88.7], clamped below and infinite above: x = n ln2 + r, a
// polynomial in r (the range reduction and coefficients of Cephes' expf), scaled by 2^n.
ISTHMUS_INLINE Floats exp(Floats x) {
    x = min(max(x, broadcast(-87.33f)), broadcast(89.0f));
    // adding 1.5 * 2^23 rounds to the nearest integer and leaves it in the low mantissa bits
    const float magic = 12582912.0f;
    const Floats shifted = multiply_add(x, broadcast(1.44269504088896341f), magic);
    const Floats n = shifted - magic;
    const Floats r = multiply_add(2.12194440e-4f, n, multiply_add(-0.693359375f, n, x));
    Floats p = broadcast(1.9875691500e-4f);
    p = multiply_add(p, r, 1.3981999507e-3f);
    p = multiply_add(p, r, 8.3334519073e-3f);
    p = multiply_add(p, r, 4.1665795894e-2f);
    p = multiply_add(p, r, 1.6666665459e-1f);
    p = multiply_add(p, r, 5.0000001201e-1f);
    p = multiply_add(p, r * r, r + 1.0f);
    // 2^n in two halves: n = 128 would overflow the exponent in one
    const Ints whole = __builtin_convertvector(n, Ints);
    const Ints half = whole >> 1;
    const Ints first = (half + 127) << 23;
    const Ints second = (whole - half + 127) << 23;
    return p * (Floats)first * (Floats)second;
}

}  // namespace isthmus
