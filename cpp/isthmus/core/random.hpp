#pragma once
// Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw, SC 2011).
//
// A draw is a function of (seed, stream, epoch, row, position) and of nothing else: not of the
// thread, the batch, the order of the columns or the machine that asks.

#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

#include "isthmus/core/types.hpp"

namespace isthmus {

// What a draw is for. Values are part of the reproducibility promise: append, never renumber.
enum class Stream : std::uint32_t {
    shuffle = 0,
    corruption = 1,
    noise = 2,
    latent = 3,
    negatives = 4,
    cells = 5,               // the order in which SGD visits a block of them
    rounding = 6,            // of the optimizer's state to halves
    dropout = 16,            // + layer
    initialization = 64,     // + layer
    hidden_units = 1 << 16,  // + step of Gibbs sampling
    visible_units = 1 << 17  // + step
};

constexpr Stream operator+(Stream stream, int layer) {
    return static_cast<Stream>(static_cast<std::uint32_t>(stream) +
                               static_cast<std::uint32_t>(layer));
}

class Philox {
public:
    Philox(std::uint64_t seed, Stream stream, std::uint32_t epoch)
        : key0_(static_cast<std::uint32_t>(seed)),
          key1_(static_cast<std::uint32_t>(seed >> 32)),
          epoch_(epoch),
          stream_(static_cast<std::uint32_t>(stream)) {}

    // The four words at (row, position).
    std::array<std::uint32_t, 4> operator()(std::uint32_t row, std::uint32_t position) const {
        std::uint32_t c0 = position, c1 = row, c2 = epoch_, c3 = stream_;
        std::uint32_t k0 = key0_, k1 = key1_;
        for (int round = 0; round < kRounds; ++round) {
            const std::uint64_t p0 = std::uint64_t{kFactor0} * c0;
            const std::uint64_t p1 = std::uint64_t{kFactor1} * c2;
            const std::uint32_t n0 = static_cast<std::uint32_t>(p1 >> 32) ^ c1 ^ k0;
            const std::uint32_t n2 = static_cast<std::uint32_t>(p0 >> 32) ^ c3 ^ k1;
            c1 = static_cast<std::uint32_t>(p1);
            c3 = static_cast<std::uint32_t>(p0);
            c0 = n0;
            c2 = n2;
            k0 += kWeyl0;
            k1 += kWeyl1;
        }
        return {c0, c1, c2, c3};
    }

    // In [0, 1), a multiple of 2^-24.
    float uniform(std::uint32_t row, std::uint32_t position) const {
        return to_uniform((*this)(row, position)[0]);
    }

    // Standard normal, by Box and Muller.
    float normal(std::uint32_t row, std::uint32_t position) const {
        const auto words = (*this)(row, position);
        // (0, 1], so that the logarithm is finite
        const float u = (static_cast<float>(words[0] >> 8) + 1.0f) * 0x1p-24f;
        const float v = to_uniform(words[1]);
        return std::sqrt(-2.0f * std::log(u)) * std::cos(6.28318530717958647692f * v);
    }

    // Draws the first word at each of `count` positions of a row, in vectors.
    void words(std::uint32_t row, const std::int32_t* positions, index_t count,
               std::uint32_t* out) const;

    // The same at each of `count` rows of one position: what words() draws, for a matrix that is
    // stored transposed.
    void words_of_rows(const std::int32_t* rows, index_t count, std::uint32_t position,
                       std::uint32_t* out) const;

    // Draws all words at the `count` positions of a row from `first` on, in vectors: the first
    // words of all positions, then the second ones, and so on.
    void all_words(std::uint32_t row, std::uint32_t first, index_t count, std::uint32_t* out) const;

    // Draws normal() at each of the first `count` positions of a row, in vectors; the last digits
    // differ from normal().
    void normals(std::uint32_t row, index_t count, float* out) const;

    static float to_uniform(std::uint32_t word) { return static_cast<float>(word >> 8) * 0x1p-24f; }

private:
    static constexpr int kRounds = 10;
    static constexpr std::uint32_t kFactor0 = 0xD2511F53u, kFactor1 = 0xCD9E8D57u;
    static constexpr std::uint32_t kWeyl0 = 0x9E3779B9u, kWeyl1 = 0xBB67AE85u;

    struct Vectors;  // of words: random.cpp's own

    std::uint32_t key0_, key1_, epoch_, stream_;
};

// A permutation of [0, items.size()) applied in place (Fisher and Yates), by the shuffle stream.
void shuffle(std::vector<std::int32_t>& items, std::uint64_t seed, std::uint32_t epoch);

}  // namespace isthmus
