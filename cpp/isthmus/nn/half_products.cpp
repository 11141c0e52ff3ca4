#include "isthmus/nn/half_products.hpp"

#include <algorithm>

#include "isthmus/core/bfloat16.hpp"
#include "isthmus/core/chunks.hpp"

namespace isthmus {

namespace {

// A tile's sums, a row of the one operand and a word of the other fill the registers.
constexpr int kTileRows = kLanes == 16 ? 8 : 4;
constexpr int kTileVectors = kLanes == 16 ? 3 : 2;
constexpr index_t kPanel = kTileVectors * kLanes;

std::uint32_t* words_of(float* data) { return reinterpret_cast<std::uint32_t*>(data); }

// sums += a.low b.low + a.high b.high
ISTHMUS_INLINE Floats add_products(Floats sums, Words a, Words b) {
#if defined(__AVX512BF16__)
    return (Floats)_mm512_dpbf16_ps((__m512)sums, (__m512bh)a, (__m512bh)b);
#else
    const std::uint32_t upper = 0xFFFF0000u;
    sums = multiply_add((Floats)(a << 16), (Floats)(b << 16), sums);
    return multiply_add((Floats)(a & upper), (Floats)(b & upper), sums);
#endif
}

// Words of two rows: the first in the lower halves.
ISTHMUS_INLINE Words pair_up(Floats low, Floats high) {
    return split(low) >> 16 | (split(high) & 0xFFFF0000u);
}

// The column of the first of word q's two halves, in rows that to_words() has packed: each 128 bits
// hold four columns of one vector, then four of its partner.
index_t first_column(index_t q) {
    const index_t begin = q / kLanes * kPairHalves, word = q % kLanes;
    return begin + word / 4 * 4 + (word % 4 < 2 ? 0 : kLanes) + word % 2 * 2;
}

// Packs a row of floats; a last vector goes with zeros.
void to_words(const float* from, index_t width, std::uint32_t* to) {
    auto* halves = reinterpret_cast<half_t*>(to);
    for (index_t p = 0; p < width; p += kPairHalves) {
        const Floats partner = p + kLanes < width ? load(from + p + kLanes) : Floats{};
        store_pair(halves + p, pack_upper({split(load(from + p)), split(partner)}));
    }
}

index_t pairs_of(index_t columns) { return round_up(columns, kPairHalves) / 2; }

// Whole lines are packed, and whole panels read.
index_t columns_of(index_t columns) { return round_up(round_up(columns, kLineFloats), kPanel); }

template <int Rows, bool Adds>
void multiply_tile(const PackedRows& a, index_t row, const std::uint32_t* b, index_t pairs,
                   int vectors, float* out, index_t stride) {
    Floats sums[Rows][kTileVectors] = {};
    const std::uint32_t* words = a.data + row * a.row_stride;
    for (index_t q = 0; q < pairs; ++q) {
        Words columns[kTileVectors];
#pragma GCC unroll 3
        for (int j = 0; j < kTileVectors; ++j) {
            columns[j] = *reinterpret_cast<const Words*>(b + q * kPanel + j * kLanes);
        }
#pragma GCC unroll 8
        for (int i = 0; i < Rows; ++i) {
            const Words word = words[i * a.row_stride + q * a.pair_stride] - Words{};
#pragma GCC unroll 3
            for (int j = 0; j < kTileVectors; ++j) {
                sums[i][j] = add_products(sums[i][j], word, columns[j]);
            }
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < Rows; ++i) {
        for (int j = 0; j < vectors; ++j) {
            float* to = out + i * stride + j * kLanes;
            store(to, Adds ? load(to) + sums[i][j] : sums[i][j]);
        }
    }
}

}  // namespace

PackedPanels::PackedPanels(index_t rows, index_t cols)
    : words_(1, std::max(pairs_of(rows) * columns_of(cols), pairs_of(cols) * columns_of(rows))) {}

const std::uint32_t* PackedPanels::panel(index_t p) const {
    return reinterpret_cast<const std::uint32_t*>(words_.data()) + p * pairs_ * kPanel;
}

std::uint32_t* PackedPanels::word(index_t pair, index_t column) {
    return words_of(words_.data()) + (column / kPanel * pairs_ + pair) * kPanel + column % kPanel;
}

void PackedPanels::pack_transposed(ConstMatrixView m) {
    pairs_ = pairs_of(m.cols);
    alignas(64) std::uint32_t rows[4][kLanes];
    // columns up to a whole line are 0, and others are not read
    for (index_t r = 0; r < round_up(m.rows, kLineFloats); r += 4) {
        for (index_t p = 0; p < 2 * pairs_; p += kPairHalves) {
            const index_t width = std::min(kPairHalves, m.width() - p);
            for (index_t i = 0; i < 4; ++i) {
                if (r + i < m.rows) {
                    to_words(m.row(r + i) + p, width, rows[i]);
                } else {
                    std::fill_n(rows[i], kLanes, 0u);
                }
            }
            std::uint32_t* to = word(p / 2, r);
            for (index_t q = 0; q < kLanes; ++q) {
                for (index_t i = 0; i < 4; ++i) to[q * kPanel + i] = rows[i][q];
            }
        }
    }
}

void PackedPanels::pack(ConstMatrixView m, bool transposed) {
    pairs_ = transposed ? (m.rows + 1) / 2 : pairs_of(m.rows);
    for (index_t q = 0; q < pairs_; ++q) {
        const index_t r = transposed ? 2 * q : first_column(q);
        for (index_t c = 0; c < m.width(); c += kLanes) {
            const Floats low = r < m.rows ? load(m.row(r) + c) : Floats{};
            const Floats high = r + 1 < m.rows ? load(m.row(r + 1) + c) : Floats{};
            *reinterpret_cast<Words*>(word(q, c)) = pair_up(low, high);
        }
    }
}

PackedWords::PackedWords(index_t rows, index_t cols) : words_(rows, round_up(cols, kPairHalves)) {}

PackedRows PackedWords::pack(ConstMatrixView m, index_t first) {
    for (index_t r = 0; r < m.rows; ++r) {
        to_words(m.row(r), m.width(), words_of(words_.row(first + r)));
    }
    return {words_of(words_.row(first)), m.rows, pairs_of(m.cols), words_.stride(), 1};
}

PackedRows PackedWords::pack_transposed(ConstMatrixView m) {
    for (index_t r = 0; r < m.rows; r += 2) {
        std::uint32_t* to = words_of(words_.row(r / 2));
        for (index_t c = 0; c < m.width(); c += kLanes) {
            const Floats high = r + 1 < m.rows ? load(m.row(r + 1) + c) : Floats{};
            *reinterpret_cast<Words*>(to + c) = pair_up(load(m.row(r) + c), high);
        }
    }
    return {words_of(words_.data()), m.cols, (m.rows + 1) / 2, 1, words_.stride()};
}

void multiply(const PackedRows& a, const PackedPanels& b, bool adds, MatrixView out) {
    for (index_t column = 0; column < out.width(); column += kPanel) {
        const auto vectors = static_cast<int>(std::min(kPanel, out.width() - column) / kLanes);
        const std::uint32_t* panel = b.panel(column / kPanel);
        for (index_t row = 0; row < a.rows; row += kTileRows) {
            with_count<kTileRows>(a.rows - row, [&](auto rows) {
                constexpr int kRows = decltype(rows)::value;
                float* to = out.row(row) + column;
                if (adds) {
                    multiply_tile<kRows, true>(a, row, panel, a.pairs, vectors, to, out.stride);
                } else {
                    multiply_tile<kRows, false>(a, row, panel, a.pairs, vectors, to, out.stride);
                }
            });
        }
    }
}

}  // namespace isthmus
