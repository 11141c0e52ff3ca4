#pragma once
// Dense products of matrices that are rounded to bfloat16, with sums in float32: packed into words
// of two halves, multiplied by tiles that stay in registers. Where the processor multiplies pairs
// of halves they take half the time of float32; elsewhere they are right, and slow.
//
// A product sums over pairs: a[i, q] b[q, j] over q, where a and b are words. Both operands' words
// hold the same two places of the sum; in which order these come is theirs alone.

#include <cstdint>

#include "isthmus/core/types.hpp"

namespace isthmus {

// Words [row][pair], each read by itself. Row i's pair q is data[i * row_stride + q * pair_stride].
struct PackedRows {
    const std::uint32_t* data;
    index_t rows, pairs, row_stride, pair_stride;
};

// Words [pair][column], in panels of columns that a tile reads at once.
class PackedPanels {
public:
    PackedPanels() = default;
    // For matrices of at most rows x cols, packed in any way.
    PackedPanels(index_t rows, index_t cols);

    // b = m^T: pairs are of m's columns, in the order of PackedWords::pack().
    void pack_transposed(ConstMatrixView m);
    // b = m: pairs are of m's rows, in the order of PackedWords::pack() or, as `transposed`, in
    // that of PackedWords::pack_transposed().
    void pack(ConstMatrixView m, bool transposed);

    const std::uint32_t* panel(index_t p) const;

private:
    std::uint32_t* word(index_t pair, index_t column);

    Matrix words_;
    index_t pairs_ = 0;
};

// Rows of words: pairs of a matrix's columns, or of its rows.
class PackedWords {
public:
    PackedWords() = default;
    // For matrices of at most rows x cols, packed in any way.
    PackedWords(index_t rows, index_t cols);

    // a = m, with pairs of columns, in the rows from `first` on.
    PackedRows pack(ConstMatrixView m, index_t first = 0);
    // a = m^T, with pairs of rows, of which a last one without a partner goes with zeros.
    PackedRows pack_transposed(ConstMatrixView m);

private:
    Matrix words_;
};

// out = a b, or out += a b: the first `out.cols` columns, whole lines, of the first a.rows rows.
void multiply(const PackedRows& a, const PackedPanels& b, bool adds, MatrixView out);

}  // namespace isthmus
