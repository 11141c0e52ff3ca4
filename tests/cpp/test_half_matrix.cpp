#include "isthmus/core/half_matrix.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
#include <limits>
#include <utility>
#include <vector>

#include "check.hpp"
#include "isthmus/core/bfloat16.hpp"
#include "random_data.hpp"

using isthmus::ConstHalfView;
using isthmus::Floats;
using isthmus::half_t;
using isthmus::HalfMatrix;
using isthmus::kLanes;
using testing::index_t;
using testing::Matrix;

namespace {

constexpr index_t kUnits[] = {1,  16,  17, 32,
                              48, 130, 257};  // pairs, and a vector without a partner

// To the nearest multiple of 2^-7 of its power of two, ties away from 0: by the textbook.
float rounded(float value) {
    if (value == 0.0f) return value;
    int exponent = 0;
    const double mantissa = std::frexp(double{value}, &exponent);  // in [1/2, 1)
    return static_cast<float>(std::ldexp(std::round(std::ldexp(mantissa, 8)), exponent - 8));
}

// A row of halves, as floats in their order.
std::vector<float> values(const half_t* row, index_t width) {
    alignas(64) float found[512];
    index_t p = 0;
    for (; p + 2 * kLanes <= width; p += 2 * kLanes) {
        const isthmus::FloatPair pair = isthmus::widen(isthmus::load_pair(row + p));
        isthmus::store(found + p, pair.a);
        isthmus::store(found + p + kLanes, pair.b);
    }
    if (p < width) isthmus::store(found + p, (Floats)isthmus::load_upper(row + p));
    return {found, found + width};
}

void halves_are_the_nearest() {
    for (const index_t k : kUnits) {
        const Matrix m = testing::random_matrix(3, k, 1);
        HalfMatrix halves(3, k);
        halves.round(m, 0, 3);
        for (index_t r = 0; r < 3; ++r) {
            const std::vector<float> found = values(halves.view().row(r), m.width());
            for (index_t j = 0; j < m.width(); ++j) {
                CHECK_EQUAL(found[static_cast<std::size_t>(j)], j < k ? rounded(m.row(r)[j]) : 0);
            }
        }
    }
}

void split_rows_hold_their_halves_and_are_joined_to_the_bit() {
    const float special[] = {
        0.0f,        -0.0f,      1.0f,   -1.0f,
        1e-40f,      3e38f,      -3e38f, std::numeric_limits<float>::infinity(),
        1.00390625f, 1.01171875f};
    for (const index_t k : kUnits) {
        Matrix m = testing::random_matrix(70, k, 2);
        for (index_t j = 0; j < std::min<index_t>(k, std::size(special)); ++j) {
            m.row(1)[j] = special[j];
        }
        const Matrix before = m.copy();
        isthmus::split_rows(m.view(), 2);
        const ConstHalfView halves = isthmus::split_halves(std::as_const(m).view());
        const std::vector<float> found = values(halves.row(5), halves.width());
        for (index_t j = 0; j < k; ++j) {
            CHECK_EQUAL(found[static_cast<std::size_t>(j)], rounded(before.row(5)[j]));
        }
        isthmus::join_rows(m.view(), 2);
        for (index_t r = 0; r < m.rows(); ++r) {
            CHECK_EQUAL(
                std::memcmp(m.row(r), before.row(r), static_cast<std::size_t>(m.stride()) * 4), 0);
        }
        CHECK(testing::padding_is_zero(m.view()));
    }
}

// What a processor that multiplies halves makes of a factor.
double factor_of(float value) {
#if defined(__AVX512BF16__)
    return double{rounded(value)};
#else
    return double{value};
#endif
}

void sums_of_rows_are_those_of_the_rounded() {
    const Matrix m = testing::random_matrix(7, 48, 3);
    HalfMatrix halves(7, 48);
    halves.round(m, 0, 7);
    const float factors[7] = {0.5f, -1.3f, 2.7f, 0.01f, -0.2f, 1.0f, 3.3f};
    for (index_t count = 0; count <= 7; ++count) {
        constexpr int kVectors = 48 / kLanes;  // in AVX-512, the last one has no partner
        Floats sums[kVectors] = {};
        isthmus::add_rows(sums, factors, 0, count, [&](index_t i) { return halves.view().row(i); });
        alignas(64) float found[48];
        for (int j = 0; j < kVectors; ++j) isthmus::store(found + j * kLanes, sums[j]);
        for (index_t j = 0; j < 48; ++j) {
            double expected = 0.0, size = 0.0;
            for (index_t i = 0; i < count; ++i) {
                const bool alone = count % 2 == 1 && i == count - 1;
                const double factor = alone ? double{factors[i]} : factor_of(factors[i]);
                expected += factor * rounded(m.row(i)[j]);
                size += std::abs(factor * rounded(m.row(i)[j]));
            }
            CHECK_CLOSE(double{found[j]}, expected, 1e-6 * size);
        }
    }
}

void dot_products_are_those_of_the_rounded() {
    for (const index_t k : kUnits) {
        const Matrix m = testing::random_matrix(2, k, 4);
        HalfMatrix halves(2, k);
        halves.round(m, 0, 2);
        const half_t *a = halves.view().row(0), *b = halves.view().row(1);
        isthmus::HalfDot dot;
        const index_t width = halves.view().width();
        index_t p = 0;
        for (; p + 2 * kLanes <= width; p += 2 * kLanes) {
            dot.add(isthmus::HalfDot::Operand(isthmus::load_pair(a + p)),
                    isthmus::load_pair(b + p));
        }
        if (p < width) dot.add_last(a + p, b + p);
        double expected = 0.0, size = 0.0;
        for (index_t j = 0; j < k; ++j) {
            const double product = double{rounded(m.row(0)[j])} * rounded(m.row(1)[j]);
            expected += product;
            size += std::abs(product);
        }
        CHECK_CLOSE(double{isthmus::sum(dot.lanes())}, expected, 1e-6 * size);
    }
}

}  // namespace

int main() {
    halves_are_the_nearest();
    split_rows_hold_their_halves_and_are_joined_to_the_bit();
    sums_of_rows_are_those_of_the_rounded();
    dot_products_are_those_of_the_rounded();
    return check::result();
}
