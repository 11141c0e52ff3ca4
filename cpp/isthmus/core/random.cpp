#include "isthmus/core/random.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <utility>

#include "isthmus/core/simd.hpp"

namespace isthmus {

namespace {

constexpr index_t kStrip = 256;  // normals drawn at once
constexpr int kVectors = 2;      // of words drawn at once
constexpr index_t kDrawn = kVectors * kLanes;

// Copies at most `count` words of a strip.
ISTHMUS_INLINE void copy_words(const void* from, void* to, index_t count) {
    constexpr std::size_t kBytes = kDrawn * sizeof(std::uint32_t);
    if (count >= kDrawn) {
        std::memcpy(to, from, kBytes);  // of a known size: no call
    } else {
        std::memcpy(to, from, static_cast<std::size_t>(count) * sizeof(std::uint32_t));
    }
}

// log(u) of a positive, normal u to float precision: u = m 2^n with m in [sqrt(1/2), sqrt(2)), and
// log(m) = 2 artanh((m - 1) / (m + 1)).
float logarithm(float u) {
    constexpr std::uint32_t kRootHalf = 0x3F3504F3u;
    std::uint32_t bits;
    std::memcpy(&bits, &u, sizeof bits);
    bits -= kRootHalf;
    const std::int32_t n = static_cast<std::int32_t>(bits) >> 23;
    bits = (bits & 0x7FFFFFu) + kRootHalf;
    float m;
    std::memcpy(&m, &bits, sizeof m);
    const float s = (m - 1.0f) / (m + 1.0f);
    const float q = s * s;
    const float series = 1.0f + q * (1.0f / 3 + q * (1.0f / 5 + q * (1.0f / 7 + q * (1.0f / 9))));
    return static_cast<float>(n) * 0.693147180559945f + 2.0f * s * series;
}

// cos(2 pi v) for v in [0, 1), to float precision: the sine or cosine of what v is off the nearest
// quarter of a turn.
float cosine_of_turns(float v) {
    const auto quarter = static_cast<std::int32_t>(4.0f * v + 0.5f);
    const float a = 6.28318530717958647692f * (v - 0.25f * static_cast<float>(quarter));
    const float q = a * a;
    const float sine =
        a * (1.0f + q * (-1.0f / 6 + q * (1.0f / 120 + q * (-1.0f / 5040 + q * (1.0f / 362880)))));
    const float cosine =
        1.0f + q * (-1.0f / 2 + q * (1.0f / 24 + q * (-1.0f / 720 + q * (1.0f / 40320))));
    const float value = quarter % 2 == 0 ? cosine : sine;
    return quarter == 1 || quarter == 2 ? -value : value;
}

}  // namespace

// Draws the four words at N vectors of (row, position); interleaved, they hide the latency of the
// products.
struct Philox::Vectors {
    template <int N>
    static void draw(const Philox& philox, const Words (&rows)[N], const Words (&positions)[N],
                     Words (&drawn)[4][N]);
};

template <int N>
void Philox::Vectors::draw(const Philox& philox, const Words (&rows)[N],
                           const Words (&positions)[N], Words (&drawn)[4][N]) {
    Words(&c0)[N] = drawn[0], (&c1)[N] = drawn[1], (&c2)[N] = drawn[2], (&c3)[N] = drawn[3];
    for (int n = 0; n < N; ++n) {
        c0[n] = positions[n];
        c1[n] = rows[n];
        c2[n] = philox.epoch_ - Words{};
        c3[n] = philox.stream_ - Words{};
    }
    std::uint32_t k0 = philox.key0_, k1 = philox.key1_;
#pragma GCC unroll 10
    for (int round = 0; round < kRounds; ++round) {
#pragma GCC unroll 2
        for (int n = 0; n < N; ++n) {
            const Products p0 = multiply_wide(c0[n], kFactor0);
            const Products p1 = multiply_wide(c2[n], kFactor1);
            c0[n] = p1.high ^ c1[n] ^ k0;
            c2[n] = p0.high ^ c3[n] ^ k1;
            c1[n] = p1.low;
            c3[n] = p0.low;
        }
        k0 += kWeyl0;
        k1 += kWeyl1;
    }
}

void Philox::words(std::uint32_t row, const std::int32_t* positions, index_t count,
                   std::uint32_t* out) const {
    const Words rows[kVectors] = {row - Words{}, row - Words{}};
    for (index_t first = 0; first < count; first += kDrawn) {
        Words at[kVectors] = {}, drawn[4][kVectors];
        copy_words(positions + first, at, count - first);
        Vectors::draw(*this, rows, at, drawn);
        copy_words(drawn[0], out + first, count - first);
    }
}

void Philox::words_of_rows(const std::int32_t* rows, index_t count, std::uint32_t position,
                           std::uint32_t* out) const {
    const Words positions[kVectors] = {position - Words{}, position - Words{}};
    for (index_t first = 0; first < count; first += kDrawn) {
        Words at[kVectors] = {}, drawn[4][kVectors];
        copy_words(rows + first, at, count - first);
        Vectors::draw(*this, at, positions, drawn);
        copy_words(drawn[0], out + first, count - first);
    }
}

void Philox::all_words(std::uint32_t row, std::uint32_t first, index_t count,
                       std::uint32_t* out) const {
    std::uint32_t places[kDrawn];
    std::iota(places, places + kDrawn, first);
    const Words rows[kVectors] = {row - Words{}, row - Words{}};
    for (index_t i = 0; i < count; i += kDrawn) {
        Words at[kVectors], drawn[4][kVectors];
        copy_words(places, at, kDrawn);
        for (Words& vector : at) vector += static_cast<std::uint32_t>(i);
        Vectors::draw(*this, rows, at, drawn);
        for (index_t w = 0; w < 4; ++w) copy_words(drawn[w], out + w * count + i, count - i);
    }
}

void Philox::normals(std::uint32_t row, index_t count, float* out) const {
    float u[kStrip], v[kStrip];
    std::uint32_t words[4 * kStrip];
    for (index_t first = 0; first < count; first += kStrip) {
        const index_t size = std::min(kStrip, count - first);
        all_words(row, static_cast<std::uint32_t>(first), size, words);
        for (index_t i = 0; i < size; ++i) {
            u[i] = (static_cast<float>(words[i] >> 8) + 1.0f) * 0x1p-24f;
            v[i] = to_uniform(words[size + i]);
        }
        for (index_t i = 0; i < size; ++i) {
            out[first + i] = std::sqrt(-2.0f * logarithm(u[i])) * cosine_of_turns(v[i]);
        }
    }
}

void shuffle(std::vector<std::int32_t>& items, std::uint64_t seed, std::uint32_t epoch) {
    const Philox draw(seed, Stream::shuffle, epoch);
    for (std::size_t i = items.size(); i > 1; --i) {
        const std::uint64_t word = draw(0, static_cast<std::uint32_t>(i - 1))[0];
        std::swap(items[i - 1], items[static_cast<std::size_t>((word * i) >> 32)]);
    }
}

}  // namespace isthmus
