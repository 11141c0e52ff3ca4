#include "isthmus/nn/half_products.hpp"

#include <cmath>

#include "check.hpp"
#include "random_data.hpp"

using isthmus::PackedPanels;
using isthmus::PackedRows;
using isthmus::PackedWords;
using testing::Doubles;
using testing::index_t;
using testing::Matrix;
using testing::random_halves;

namespace {

struct Shape {
    index_t rows, inner, cols;
};
// one of each, whole tiles and rests of them, odd numbers of pairs and of lines
constexpr Shape kShapes[] = {{1, 1, 1},     {8, 32, 48},  {9, 33, 49},
                             {23, 47, 130}, {40, 16, 17}, {5, 129, 16}};

double element(const Matrix& m, index_t r, index_t c, bool transposed) {
    return double{transposed ? m.row(c)[r] : m.row(r)[c]};
}

// Checks out = op(a) op(b), or out += op(a) op(b), with the operands packed before in other shapes.
void check_product(const Shape& s, bool transpose_a, bool transpose_b, bool adds) {
    const Matrix a =
        transpose_a ? random_halves(s.inner, s.rows, 1) : random_halves(s.rows, s.inner, 1);
    const Matrix b =
        transpose_b ? random_halves(s.cols, s.inner, 2) : random_halves(s.inner, s.cols, 2);
    Matrix out = testing::random_matrix(s.rows, s.cols, 3);
    Doubles expected(out.view());
    for (index_t r = 0; r < s.rows; ++r) {
        for (index_t c = 0; c < s.cols; ++c) {
            double total = adds ? double{out.row(r)[c]} : 0.0;
            for (index_t i = 0; i < s.inner; ++i) {
                total += element(a, r, i, transpose_a) * element(b, i, c, transpose_b);
            }
            expected.row(r)[c] = total;
        }
    }
    PackedWords words(a.rows() + 3, a.cols() + 40);
    PackedPanels panels(b.rows() + 40, b.cols() + 3);
    words.pack(random_halves(a.rows() + 3, a.cols() + 40, 4).view());
    panels.pack(random_halves(b.rows() + 40, b.cols() + 3, 5).view(), true);
    const PackedRows rows = transpose_a ? words.pack_transposed(a.view()) : words.pack(a.view(), 3);
    if (transpose_b) {
        panels.pack_transposed(b.view());
    } else {
        panels.pack(b.view(), transpose_a);
    }
    multiply(rows, panels, adds, out.view());
    CHECK(difference(out.view(), expected) < 1e-4);
    CHECK(testing::padding_is_zero(out.view()));
}

}  // namespace

int main() {
    for (const Shape& shape : kShapes) {
        for (const bool adds : {false, true}) {
            check_product(shape, false, false, adds);
            check_product(shape, false, true, adds);
            check_product(shape, true, false, adds);
        }
    }
    return check::result();
}
