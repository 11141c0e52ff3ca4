#include "isthmus/models/ease.hpp"

#include <cmath>
#include <stdexcept>
#include <vector>

#include "check.hpp"
#include "isthmus/solvers/cholesky.hpp"
#include "random_data.hpp"

using isthmus::NotPositiveDefinite;
using testing::Doubles;
using testing::index_t;
using testing::Matrix;
using testing::Sparse;

namespace {

constexpr index_t kUsers = 400, kItems = 600;  // three blocks of pivots, the last one not full

Sparse transposed(const Sparse& matrix) {
    const auto nnz = matrix.indices.size();
    Sparse columns;
    columns.cols = matrix.rows();
    columns.indptr.resize(static_cast<std::size_t>(matrix.cols) + 1);
    columns.indices.resize(nnz);
    columns.values.resize(nnz);
    isthmus::transpose(matrix.view(), 1, columns.indptr.data(), columns.indices.data(),
                       columns.values.data());
    return columns;
}

Sparse with_rows(index_t cols, const std::vector<std::vector<std::int32_t>>& rows) {
    Sparse sparse;
    sparse.cols = cols;
    for (const auto& row : rows) {
        sparse.indices.insert(sparse.indices.end(), row.begin(), row.end());
        sparse.indptr.push_back(static_cast<std::int64_t>(sparse.indices.size()));
    }
    sparse.values.assign(sparse.indices.size(), 1.0f);
    return sparse;
}

Matrix inverse(const Sparse& rows, float lambda, int num_threads) {
    const Sparse columns = transposed(rows);
    Matrix p(rows.cols, rows.cols);
    isthmus::gram_matrix(rows.view(), columns.view(), lambda, num_threads, p.view());
    isthmus::invert_positive_definite(p.view(), num_threads, {});
    return p;
}

Matrix weights(const Sparse& rows, float lambda, int num_threads) {
    Matrix p = inverse(rows, lambda, num_threads);
    isthmus::ease_weights(p.view(), num_threads);
    return p;
}

// X^T X + lambda I, cell by cell.
Doubles gram(const Sparse& rows, double lambda) {
    Doubles product(rows.cols, rows.cols);
    for (index_t r = 0; r < rows.rows(); ++r) {
        for (auto i = rows.indptr[static_cast<std::size_t>(r)];
             i < rows.indptr[static_cast<std::size_t>(r) + 1]; ++i) {
            for (auto j = rows.indptr[static_cast<std::size_t>(r)];
                 j < rows.indptr[static_cast<std::size_t>(r) + 1]; ++j) {
                const auto a = static_cast<std::size_t>(i), b = static_cast<std::size_t>(j);
                product.row(rows.indices[a])[rows.indices[b]] +=
                    double{rows.values[a]} * rows.values[b];
            }
        }
    }
    for (index_t i = 0; i < rows.cols; ++i) product.row(i)[i] += lambda;
    return product;
}

void small_weights_are_those_worked_out_by_hand() {
    // X^T X + I = [3 1; 1 3], whose inverse is [3 -1; -1 3] / 8
    const Sparse two = with_rows(2, {{0}, {0, 1}, {1}});
    const Matrix b = weights(two, 1.0f, 1);
    CHECK_EQUAL(b.row(0)[0], 0.0f);
    CHECK_EQUAL(b.row(1)[1], 0.0f);
    CHECK_CLOSE(b.row(0)[1], 1.0 / 3.0, 1e-7);
    CHECK_CLOSE(b.row(1)[0], 1.0 / 3.0, 1e-7);

    // [4 2 0; 2 4 0; 0 0 2]: an item that nobody has with another's has no weight
    const Sparse three = with_rows(3, {{0, 1}, {0, 1}, {0}, {1}, {2}});
    const Matrix c = weights(three, 1.0f, 1);
    CHECK_CLOSE(c.row(0)[1], 0.5, 1e-7);
    CHECK_CLOSE(c.row(1)[0], 0.5, 1e-7);
    for (const index_t i : {0, 1}) {
        CHECK_EQUAL(c.row(2)[i], 0.0f);
        CHECK_EQUAL(c.row(i)[2], 0.0f);
    }

    // weights are not symmetric: B_ij = -P_ij / P_jj.  [3 1; 1 2] has the inverse [2 -1; -1 3] / 5
    const Matrix d = weights(with_rows(2, {{0}, {0, 1}}), 1.0f, 1);
    CHECK_CLOSE(d.row(0)[1], 1.0 / 3.0, 1e-7);
    CHECK_CLOSE(d.row(1)[0], 1.0 / 2.0, 1e-7);
}

void a_matrix_times_its_inverse_is_one() {
    const Sparse rows = testing::random_sparse(kUsers, kItems, 3);
    const Matrix p = inverse(rows, 50.0f, 2);
    const Doubles a = gram(rows, 50.0);
    double worst = 0.0;
    for (index_t i = 0; i < kItems; ++i) {
        for (index_t j = 0; j < kItems; ++j) {
            double product = 0.0;
            for (index_t k = 0; k < kItems; ++k) product += a.row(i)[k] * double{p.row(k)[j]};
            worst = std::fmax(worst, std::abs(product - (i == j ? 1.0 : 0.0)));
            CHECK_EQUAL(p.row(i)[j], p.row(j)[i]);
        }
    }
    CHECK_CLOSE(worst, 0.0, 1e-3);
}

void the_number_of_threads_changes_no_bit() {
    const Sparse rows = testing::random_sparse(kUsers, kItems, 3);
    const Matrix one = weights(rows, 50.0f, 1);
    for (const int threads : {2, 3, 8}) {
        CHECK(testing::same_bits(one, weights(rows, 50.0f, threads)));
    }
}

void a_matrix_that_is_not_positive_definite_is_refused() {
    // two items that the same users have, and next to no penalty
    const Sparse same = with_rows(2, std::vector<std::vector<std::int32_t>>(100, {0, 1}));
    CHECK_THROWS(inverse(same, 1e-6f, 1), NotPositiveDefinite);
    CHECK(std::isfinite(inverse(same, 1.0f, 1).row(0)[0]));
}

void it_can_be_interrupted_between_blocks() {
    const Sparse rows = testing::random_sparse(kUsers, kItems, 3);
    const Sparse columns = transposed(rows);
    Matrix p(kItems, kItems);
    isthmus::gram_matrix(rows.view(), columns.view(), 50.0f, 2, p.view());
    int polls = 0;
    const auto stop = [&] {
        if (++polls == 2) throw std::runtime_error("stop");
    };
    CHECK_THROWS(isthmus::invert_positive_definite(p.view(), 2, stop), std::runtime_error);
    CHECK_EQUAL(polls, 2);
}

}  // namespace

int main() {
    small_weights_are_those_worked_out_by_hand();
    a_matrix_times_its_inverse_is_one();
    the_number_of_threads_changes_no_bit();
    a_matrix_that_is_not_positive_definite_is_refused();
    it_can_be_interrupted_between_blocks();
    return check::result();
}
