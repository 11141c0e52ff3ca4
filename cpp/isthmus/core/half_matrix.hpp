#pragma once
// Matrices of numbers in 16 bits: bfloat16, the upper half of a float32 (8 bits of exponent, 7 of
// mantissa). Loops that wait for a cache read half the bytes, and sum in float32. In which order a
// row's halves lie is a matter of the instruction set (bfloat16.hpp).
//
// Weights in training are split: the first half of a row's bytes holds their halves, which the
// loops read, the second what these lack of the float32, which only steps read. Nothing is lost,
// and weights take the same room.

#include <cstdint>
#include <string>

#include "isthmus/core/types.hpp"

namespace isthmus {

// How sparse products read weights and what they multiply. Sums are in float32 either way.
enum class Precision { float32, bfloat16 };

// Throws std::invalid_argument naming the choices.
Precision precision_from_name(const std::string& name);

using half_t = std::uint16_t;  // the bits of a bfloat16

struct ConstHalfView {
    const half_t* data = nullptr;
    index_t rows = 0;
    index_t cols = 0;
    index_t stride = 0;  // halves from one row to the next

    const half_t* row(index_t i) const { return data + i * stride; }
    index_t width() const { return round_up(cols, kLineFloats); }
};

// The halves of split rows, or of rows that hold only halves, `cols` each.
inline ConstHalfView halves_of(ConstMatrixView m, index_t cols) {
    return {reinterpret_cast<const half_t*>(m.data), m.rows, cols, 2 * m.stride};
}
inline ConstHalfView split_halves(ConstMatrixView m) { return halves_of(m, m.cols); }

// As many floats as a row of `cols` halves, padded as floats are, needs room for.
constexpr index_t floats_for_halves(index_t cols) { return round_up(cols, kLineFloats) / 2; }

// Owns rows x cols halves.
class HalfMatrix {
public:
    HalfMatrix() = default;
    HalfMatrix(index_t rows, index_t cols) : floats_(rows, floats_for_halves(cols)), cols_(cols) {}

    ConstHalfView view() const { return halves_of(floats_.view(), cols_); }

    // Rounds rows [begin, end) of a matrix of the same shape.
    void round(const Matrix& from, index_t begin, index_t end);

private:
    Matrix floats_;
    index_t cols_ = 0;
};

// Splits every row of weights in place; joins them again.
void split_rows(MatrixView weights, int num_threads);
void join_rows(MatrixView weights, int num_threads);

}  // namespace isthmus
