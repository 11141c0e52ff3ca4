#include "isthmus/nn/hidden_products.hpp"

#include <algorithm>

#include "check.hpp"
#include "random_data.hpp"

using isthmus::HiddenProducts;
using isthmus::Precision;
using isthmus::Range;
using testing::Doubles;
using testing::index_t;
using testing::Matrix;
using testing::random_halves;
using testing::same_bits;

namespace {

struct Shape {
    index_t rows, inputs, units;
};
// one of each, whole tiles, and rests of tiles, pairs and lines
constexpr Shape kShapes[] = {{1, 1, 1}, {16, 32, 48}, {9, 33, 49}, {23, 47, 130}, {40, 70, 17}};

struct Layer {
    Matrix weights, inputs, error;

    explicit Layer(const Shape& s)
        : weights(random_halves(s.inputs, s.units, 1)),
          inputs(random_halves(s.rows, s.inputs, 2)),
          error(random_halves(s.rows, s.units, 3)) {}
};

struct Results {
    Matrix forward, backward, gradient;

    explicit Results(const Shape& s)
        : forward(s.rows, s.units), backward(s.rows, s.inputs), gradient(s.inputs, s.units) {}
};

// Calls body(range) for [0, count) in pieces of `grain`.
template <class Body>
void in_pieces(index_t count, index_t grain, const Body& body) {
    for (index_t begin = 0; begin < count; begin += grain) {
        body(Range{begin, std::min(begin + grain, count)});
    }
}

Results compute(const Shape& s, Precision precision, index_t grain) {
    const Layer layer(s);
    Results out(s);
    HiddenProducts products(s.rows + 5, s.inputs, s.units, precision);
    products.read_weights(layer.weights.view());
    in_pieces(s.rows, grain, [&](Range rows) {
        products.forward(layer.inputs.view(), rows, out.forward.view());
        products.backward(layer.error.view(), rows, out.backward.view());
    });
    products.read_batch(layer.inputs.view(), layer.error.view());
    in_pieces(s.inputs, grain, [&](Range units) { products.gradient(units, out.gradient.view()); });
    return out;
}

void check_against_doubles(const Shape& s, const Results& found) {
    const Layer layer(s);
    Doubles forward(s.rows, s.units), backward(s.rows, s.inputs), gradient(s.inputs, s.units);
    for (index_t r = 0; r < s.rows; ++r) {
        for (index_t i = 0; i < s.inputs; ++i) {
            for (index_t u = 0; u < s.units; ++u) {
                const double input = layer.inputs.row(r)[i], error = layer.error.row(r)[u];
                const double weight = layer.weights.row(i)[u];
                forward.row(r)[u] += input * weight;
                backward.row(r)[i] += error * weight;
                gradient.row(i)[u] += input * error;
            }
        }
    }
    CHECK(difference(found.forward.view(), forward) < 1e-4);
    CHECK(difference(found.backward.view(), backward) < 1e-4);
    CHECK(difference(found.gradient.view(), gradient) < 1e-4);
    CHECK(testing::padding_is_zero(found.forward.view()));
    CHECK(testing::padding_is_zero(found.backward.view()));
    CHECK(testing::padding_is_zero(found.gradient.view()));
}

// Threads take pieces, which change no bit.
void check_pieces(const Shape& s, const Results& whole) {
    const Results parts = compute(s, Precision::bfloat16, 16);
    CHECK(same_bits(parts.forward, whole.forward));
    CHECK(same_bits(parts.backward, whole.backward));
    CHECK(same_bits(parts.gradient, whole.gradient));
}

}  // namespace

int main() {
    for (const Shape& shape : kShapes) {
        check_against_doubles(shape, compute(shape, Precision::float32, 16));
        const Results whole = compute(shape, Precision::bfloat16, 1000);
        check_against_doubles(shape, whole);
        check_pieces(shape, whole);
    }
    return check::result();
}
