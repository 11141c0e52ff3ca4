#include "isthmus/core/half_matrix.hpp"

#include <algorithm>
#include <stdexcept>

#include "isthmus/core/bfloat16.hpp"
#include "isthmus/core/parallel.hpp"

namespace isthmus {

namespace {

constexpr index_t kRowsPerPiece = 64;

// Calls change(row, a copy of it, its width) for every row.
template <class Change>
void change_rows(MatrixView weights, int num_threads, const Change& change) {
    const index_t width = weights.width();
    parallel_ranges(weights.rows, kRowsPerPiece, num_threads, [&](index_t begin, index_t end) {
        Matrix copy(1, width);
        for (index_t r = begin; r < end; ++r) {
            std::copy_n(weights.row(r), width, copy.row(0));
            change(weights.row(r), copy.row(0), width);
        }
    });
}

// Rounds `width` floats, which are whole cache lines.
void to_halves(const float* from, half_t* to, index_t width) {
    index_t p = 0;
    for (; p + kPairHalves <= width; p += kPairHalves) {
        store_pair(to + p, pack_upper({split(load(from + p)), split(load(from + p + kLanes))}));
    }
    if (p < width) store_upper(to + p, split(load(from + p)));
}

}  // namespace

Precision precision_from_name(const std::string& name) {
    if (name == "float32") return Precision::float32;
    if (name == "bfloat16") return Precision::bfloat16;
    throw std::invalid_argument("unknown precision '" + name + "': choose float32 or bfloat16");
}

void HalfMatrix::round(const Matrix& from, index_t begin, index_t end) {
    for (index_t r = begin; r < end; ++r) {
        to_halves(from.row(r), reinterpret_cast<half_t*>(floats_.row(r)), from.width());
    }
}

void split_rows(MatrixView weights, int num_threads) {
    change_rows(weights, num_threads, [](float* row, const float* from, index_t width) {
        const SplitRow to(row, width);
        index_t p = 0;
        for (; p + kPairHalves <= width; p += kPairHalves)
            to.store_pair(p, {load(from + p), load(from + p + kLanes)});
        if (p < width) to.store_last(p, load(from + p));
    });
}

void join_rows(MatrixView weights, int num_threads) {
    change_rows(weights, num_threads, [](float* row, float* copy, index_t width) {
        const SplitRow from(copy, width);
        index_t p = 0;
        for (; p + kPairHalves <= width; p += kPairHalves) {
            const FloatPair pair = from.load_pair(p);
            store(row + p, pair.a);
            store(row + p + kLanes, pair.b);
        }
        if (p < width) store(row + p, from.load_last(p));
    });
}

}  // namespace isthmus
