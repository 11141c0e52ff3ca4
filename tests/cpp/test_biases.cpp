// Biases of rows and columns against loops over a dense table of doubles.

#include "isthmus/solvers/biases.hpp"

#include <cmath>
#include <cstddef>
#include <vector>

#include "check.hpp"
#include "random_data.hpp"

using testing::index_t;
using testing::Sparse;

namespace {

constexpr double kMean = 2.6, kRowDamping = 4.0, kColumnDamping = 8.0;
constexpr index_t kSweeps = 5;
using Biases = std::vector<double>;

std::size_t at(index_t i) { return static_cast<std::size_t>(i); }

// NaN where nothing is stored.
testing::Doubles dense(const Sparse& sparse) {
    testing::Doubles table(sparse.rows(), sparse.cols);
    table.numbers.assign(table.numbers.size(), std::nan(""));
    for (index_t r = 0; r < sparse.rows(); ++r) {
        for (auto i = sparse.indptr[at(r)]; i < sparse.indptr[at(r) + 1]; ++i) {
            table.row(r)[sparse.indices[at(i)]] = double{sparse.values[at(i)]};
        }
    }
    return table;
}

bool has_cells(const testing::Doubles& table, index_t row) {
    for (index_t c = 0; c < table.cols; ++c) {
        if (!std::isnan(table.row(row)[c])) return true;
    }
    return false;
}

Biases rows_naively(const testing::Doubles& table, index_t rows, const Biases& column_bias,
                    double damping, double mean = kMean) {
    Biases bias(at(rows));
    for (index_t r = 0; r < rows; ++r) {
        double sum = 0.0, cells = 0.0;
        for (index_t c = 0; c < table.cols; ++c) {
            if (std::isnan(table.row(r)[c])) continue;
            sum += table.row(r)[c] - mean - column_bias[at(c)];
            cells += 1.0;
        }
        if (cells > 0.0) bias[at(r)] = sum / (cells + damping);
    }
    return bias;
}

// Shifts what biases of rows with cells are on average to the mean.
void center_naively(const testing::Doubles& table, Biases& bias, double& mean) {
    const auto rows = static_cast<index_t>(bias.size());
    double sum = 0.0, filled = 0.0;
    for (index_t r = 0; r < rows; ++r) {
        if (has_cells(table, r)) sum += bias[at(r)], filled += 1.0;
    }
    for (index_t r = 0; r < rows; ++r) {
        if (has_cells(table, r)) bias[at(r)] -= sum / filled;
    }
    mean += sum / filled;
}

// Squared error, and the penalty of biases.
double objective(const testing::Doubles& table, const Biases& rows, const Biases& columns,
                 double mean) {
    double sum = 0.0;
    for (std::size_t r = 0; r < rows.size(); ++r) {
        for (std::size_t c = 0; c < columns.size(); ++c) {
            const double value = table.row(static_cast<index_t>(r))[c];
            if (!std::isnan(value)) sum += std::pow(value - mean - rows[r] - columns[c], 2);
        }
    }
    for (const double bias : rows) sum += kRowDamping * bias * bias;
    for (const double bias : columns) sum += kColumnDamping * bias * bias;
    return sum;
}

testing::Doubles transposed(const testing::Doubles& table, index_t rows) {
    testing::Doubles result(table.cols, rows);
    for (index_t r = 0; r < rows; ++r) {
        for (index_t c = 0; c < table.cols; ++c) result.row(c)[r] = table.row(r)[c];
    }
    return result;
}

void check_close(const Biases& actual, const Biases& expected) {
    CHECK_EQUAL(actual.size(), expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i) CHECK_CLOSE(actual[i], expected[i], 1e-12);
}

void rows_are_as_by_a_naive_loop() {
    const Sparse data = testing::random_sparse(300, 40, 3);  // more rows than are a piece of work
    const Biases none(at(data.cols));
    Biases column_bias(at(data.cols));
    for (std::size_t c = 0; c < column_bias.size(); ++c) {
        column_bias[c] = 0.1 * static_cast<double>(c);
    }
    for (const double damping : {0.0, kRowDamping}) {
        Biases bias(at(data.rows()), 42.0);
        fit_row_biases(data.view(), kMean, nullptr, damping, 3, bias.data());
        check_close(bias, rows_naively(dense(data), data.rows(), none, damping));
        fit_row_biases(data.view(), kMean, column_bias.data(), damping, 3, bias.data());
        check_close(bias, rows_naively(dense(data), data.rows(), column_bias, damping));
        CHECK_EQUAL(bias[3], 0.0);  // a row without cells, as every fifth one
    }
}

void both_are_as_by_naive_loops() {
    Sparse data = testing::random_sparse(300, 40, 4);
    data.cols += 2;  // without a cell
    const testing::Doubles by_rows = dense(data);
    const testing::Doubles by_columns = transposed(by_rows, data.rows());
    Biases expected_rows(at(data.rows())), expected_columns(at(data.cols));
    double expected_mean = kMean;
    for (index_t sweep = 0; sweep < kSweeps; ++sweep) {
        center_naively(by_rows, expected_rows, expected_mean);
        center_naively(by_columns, expected_columns, expected_mean);
        expected_rows =
            rows_naively(by_rows, data.rows(), expected_columns, kRowDamping, expected_mean);
        expected_columns =
            rows_naively(by_columns, data.cols, expected_rows, kColumnDamping, expected_mean);
    }
    Biases rows(at(data.rows())), columns(at(data.cols));
    const double mean = fit_biases(data.view(), kMean, kRowDamping, kColumnDamping, kSweeps,
                                   rows.data(), columns.data());
    CHECK_CLOSE(mean, expected_mean, 1e-12);
    check_close(rows, expected_rows);
    check_close(columns, expected_columns);
    CHECK_EQUAL(rows[3], 0.0);
    CHECK_EQUAL(columns.back(), 0.0);
}

// The mean value of a column's other cells, damped, is its bias without a cell.
double bias_without(const testing::Doubles& table, const Biases& rows, index_t rows_count,
                    index_t row, index_t column, double damping) {
    double sum = 0.0, cells = 0.0;
    for (index_t r = 0; r < rows_count; ++r) {
        const double value = table.row(r)[column];
        if (r == row || std::isnan(value)) continue;
        sum += value - kMean - rows[at(r)];
        cells += 1.0;
    }
    return sum / (cells + damping);
}

// Sums, and sums of squares, of each row's cells in each of two slices of columns.
Biases moments_naively(const testing::Doubles& table, index_t rows, const Biases& bias,
                       double damping, index_t slices) {
    Biases moments(at(slices * rows * 2));
    for (index_t r = 0; r < rows; ++r) {
        for (index_t c = 0; c < table.cols; ++c) {
            if (std::isnan(table.row(r)[c])) continue;
            const double left =
                table.row(r)[c] - kMean - bias_without(table, bias, rows, r, c, damping);
            double* const own = moments.data() + 2 * (c % slices * rows + r);
            own[0] += left;
            own[1] += left * left;
        }
    }
    return moments;
}

void what_is_left_out_has_no_part_in_a_bias() {
    const Sparse data = testing::random_sparse(90, 40, 7);
    const testing::Doubles by_rows = dense(data), by_columns = transposed(by_rows, data.rows());
    // each side's biases fit the other's, as after many sweeps
    Biases rows(at(data.rows())), columns(at(data.cols));
    for (int sweep = 0; sweep < 200; ++sweep) {
        columns = rows_naively(by_columns, data.cols, rows, kColumnDamping);
        rows = rows_naively(by_rows, data.rows(), columns, kRowDamping);
    }
    const auto factors = [](const testing::Doubles& table, index_t lines, double damping) {
        Biases result(at(lines));
        for (index_t i = 0; i < lines; ++i) {
            double cells = 0.0;
            for (index_t j = 0; j < table.cols; ++j) cells += std::isnan(table.row(i)[j]) ? 0 : 1;
            result[at(i)] = (cells + damping) / (cells - 1.0 + damping);
        }
        return result;
    };
    const Biases row_factors = factors(by_rows, data.rows(), kRowDamping);
    const Biases column_factors = factors(by_columns, data.cols, kColumnDamping);
    std::vector<std::int32_t> slice_of(at(data.cols));
    for (std::size_t c = 0; c < slice_of.size(); ++c) slice_of[c] = static_cast<int>(c % 2);
    Biases of_rows(at(2 * data.rows() * 2)), of_columns(at(data.cols * 2));
    sum_left_out(data.view(), kMean, {rows.data(), row_factors.data()},
                 {columns.data(), column_factors.data()}, slice_of.data(), of_rows.data(),
                 of_columns.data());
    check_close(of_rows, moments_naively(by_rows, data.rows(), rows, kColumnDamping, 2));
    check_close(of_columns, moments_naively(by_columns, data.cols, columns, kRowDamping, 1));
}

void together_they_are_at_the_minimum() {
    const Sparse data = testing::random_sparse(300, 40, 4);
    const testing::Doubles table = dense(data);
    Biases rows(at(data.rows())), columns(at(data.cols));
    const double mean = fit_biases(data.view(), kMean, kRowDamping, kColumnDamping, 40, rows.data(),
                                   columns.data());
    const double least = objective(table, rows, columns, mean);
    for (const double step : {-1e-3, 1e-3}) {
        CHECK(objective(table, rows, columns, mean + step) > least);
        for (Biases* side : {&rows, &columns}) {
            Biases moved = *side;
            for (double& bias : moved) bias += bias != 0.0 ? step : 0.0;
            const bool by_rows = side == &rows;
            const double other =
                objective(table, by_rows ? moved : rows, by_rows ? columns : moved, mean - step);
            CHECK(other > least);
        }
    }
}

void any_number_of_threads_gives_the_same_bits() {
    const Sparse data = testing::random_sparse(1500, 60, 5);
    const Biases columns(at(data.cols), 0.1);
    const auto fit = [&](int num_threads) {
        Biases rows(at(data.rows()));
        fit_row_biases(data.view(), kMean, columns.data(), kRowDamping, num_threads, rows.data());
        return rows;
    };
    const Biases one = fit(1);
    for (const int num_threads : {2, 3, 5, 16}) CHECK(fit(num_threads) == one);
}

// Rows from the middle of a matrix: their indptr does not begin at 0.
void rows_of_a_larger_matrix_are_by_themselves() {
    const Sparse whole = testing::random_sparse(80, 30, 6);
    constexpr index_t kFirst = 21, kRows = 40;
    Sparse part;
    part.cols = whole.cols;
    for (index_t r = kFirst; r < kFirst + kRows; ++r) {
        for (auto i = whole.indptr[at(r)]; i < whole.indptr[at(r) + 1]; ++i) {
            part.indices.push_back(whole.indices[at(i)]);
            part.values.push_back(whole.values[at(i)]);
        }
        part.indptr.push_back(static_cast<std::int64_t>(part.indices.size()));
    }
    const isthmus::CsrView rows{kRows, whole.cols, whole.indptr.data() + kFirst,
                                whole.indices.data(), whole.values.data()};
    Biases row_bias(at(kRows)), column_bias(at(whole.cols));
    Biases expected_rows(at(kRows)), expected_columns(at(whole.cols));
    const double mean = fit_biases(rows, kMean, kRowDamping, kColumnDamping, kSweeps,
                                   row_bias.data(), column_bias.data());
    const double expected_mean = fit_biases(part.view(), kMean, kRowDamping, kColumnDamping,
                                            kSweeps, expected_rows.data(), expected_columns.data());
    CHECK_EQUAL(mean, expected_mean);
    CHECK(row_bias == expected_rows);
    CHECK(column_bias == expected_columns);
}

void a_matrix_without_cells_has_none() {
    const Sparse data{3, {0, 0, 0}, {}, {}};
    Biases rows(2), columns(3);
    CHECK_EQUAL(fit_biases(data.view(), kMean, kRowDamping, kColumnDamping, kSweeps, rows.data(),
                           columns.data()),
                kMean);
    CHECK(rows == Biases(2));
    CHECK(columns == Biases(3));
}

}  // namespace

int main() {
    rows_are_as_by_a_naive_loop();
    both_are_as_by_naive_loops();
    what_is_left_out_has_no_part_in_a_bias();
    together_they_are_at_the_minimum();
    any_number_of_threads_gives_the_same_bits();
    rows_of_a_larger_matrix_are_by_themselves();
    a_matrix_without_cells_has_none();
    return check::result();
}
