#pragma once
// A mini-batch of sparse rows, its cells regrouped by block of columns: what the kernels walk.

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

#include "isthmus/batches/column_layout.hpp"
#include "isthmus/core/csr.hpp"
#include "isthmus/core/parallel.hpp"
#include "isthmus/core/types.hpp"

namespace isthmus {

enum class Corruption { none, mask, gaussian };

// How stored values become inputs and targets of the network.
struct RowTransform {
    const float* input_offset = nullptr;   // per row of the matrix; null: 0
    const float* target_offset = nullptr;  // per row of the matrix; null: 0
    float input_scale = 1.0f;
    float target_scale = 1.0f;
    const float* input_factor = nullptr;   // per row of the matrix, on its inputs; null: 1
    const float* column_offset = nullptr;  // per column of the matrix, of targets; null: 0
    const float* cell_offset = nullptr;    // per cell of the matrix, on the targets' scale; null: 0
    const float* cell_weight = nullptr;    // per cell of the matrix, of its loss; null: 1

    // Replaces the stored values by their roots, or by ones if they are null, scaled so that a row
    // has length 1. row_total (or null), per row of the matrix, is the sum of all its values, if
    // others are elsewhere.
    bool unit_rows = false;
    const double* row_total = nullptr;

    // Target of a cell with this value, at `place` of the matrix's arrays.
    float target(float value, index_t row, index_t column, index_t place) const {
        float offset = target_offset ? target_offset[row] : 0.0f;
        if (column_offset) offset += column_offset[column];
        const float scaled = (value - offset) * target_scale;
        return cell_offset ? scaled - cell_offset[place] : scaled;
    }
};

// The input's corruption in training (Vincent et al., ICML 2008). Masked cells leave the input and
// stay in the target; survivors are scaled by 1 / (1 - level), so that their sum keeps its mean.
struct CorruptionPlan {
    Corruption kind = Corruption::none;
    float level = 0.0f;  // probability (mask) or standard deviation (gaussian)
    std::uint64_t seed = 0;
    std::uint32_t epoch = 0;
    const std::int32_t* columns = nullptr;  // their numbers among all machines'; null: their own
    // Draws for (column, row) what is drawn for (row, column) otherwise, so that a matrix and its
    // transpose have the same cells corrupted.
    bool transposed = false;
};

// A batch's cells sorted by column, for the gradients of weights.
class ColumnLists {
public:
    // Cells of an internal column that has any: [begin, end), the input's ones [begin, input_end),
    // each with its row in the batch, its input and its error.
    struct List {
        std::int32_t column;
        std::uint32_t begin, input_end, end;
    };
    struct Lists {
        const List *first, *last;
        const List* begin() const { return first; }
        const List* end() const { return last; }
    };
    // The lists of a block, in ascending order of columns.
    Lists block(index_t block) const {
        const Span& span = spans_[static_cast<std::size_t>(block)];
        return {lists_.data() + span.begin, lists_.data() + span.end};
    }
    const std::int32_t* row() const { return row_.data(); }
    const float* input() const { return input_.data(); }
    const float* error() const { return error_.data(); }

private:
    friend class Batch;
    struct Span {
        index_t begin = 0, end = 0;
    };
    std::vector<List> lists_;
    std::vector<Span> spans_;  // per block
    std::vector<std::int32_t> row_;
    std::vector<float> input_, error_;
};

// The cells of a batch in order of (block, row); within a segment (one row's cells in one block)
// those that reach the input come first.
class Batch {
public:
    // Rows `ids[0..count)` of `matrix`. With `keeps_places`, place() tells where each cell came
    // from.
    void assemble(const CsrView& matrix, const std::int32_t* ids, index_t count,
                  const ColumnLayout& layout, const RowTransform& transform,
                  const CorruptionPlan& corruption, int num_threads, bool keeps_places = false);

    // Lists the cells of a block by column, with their inputs and their errors as they now stand;
    // blocks may be listed by different threads at once.
    void list_columns(index_t block);

    index_t rows() const { return rows_; }

    // Returns the rows of one of `pieces` of about equal work, however the cells are spread.
    Range rows_of(index_t piece, index_t pieces) const;

    index_t nnz() const { return static_cast<index_t>(segment_[segment_.size() - 1]); }
    const ColumnLayout& layout() const { return *layout_; }

    // Cells of (block, row): [begin, end), the input's ones [begin, input_end).
    struct Segment {
        index_t begin, input_end, end;
    };
    Segment segment(index_t block, index_t row) const {
        const std::size_t at = static_cast<std::size_t>(block * rows_ + row);
        return {segment_[at], input_end_[at], segment_[at + 1]};
    }
    const std::int32_t* column() const { return column_.data(); }  // internal columns
    const float* input() const { return input_.data(); }
    const float* target() const { return target_.data(); }
    // Of each cell's loss; null where all are 1.
    const float* weight() const { return weight_.empty() ? nullptr : weight_.data(); }
    const std::int32_t* place() const { return place_.data(); }  // in its row of the matrix
    // The decoder's error, written in the place of the target it came from.
    float* error() { return target_.data(); }
    const float* error() const { return target_.data(); }

    // The lists of the blocks that list_columns() was called for.
    const ColumnLists& lists() const { return lists_; }

    // Swaps the lists with `other`, to use them while the next batch is assembled and to reuse its
    // memory.
    void swap_lists(ColumnLists& other) { std::swap(lists_, other); }

private:
    void count_cells(const CsrView& matrix, const std::int32_t* ids, Range rows,
                     std::uint32_t* scratch);
    void place_cells(const CsrView& matrix, const std::int32_t* ids, Range rows,
                     const RowTransform& transform, const CorruptionPlan& corruption,
                     std::uint32_t* scratch);
    // Room for two numbers a block and piece of rows.
    std::uint32_t* scratch_of(index_t piece);
    ColumnLists::Lists open_lists(index_t block);

    const ColumnLayout* layout_ = nullptr;
    index_t rows_ = 0;
    std::vector<index_t> work_;             // of the rows before each, and of all
    std::vector<std::uint32_t> segment_;    // blocks x rows + 1
    std::vector<std::uint32_t> input_end_;  // blocks x rows
    std::vector<std::uint32_t> scratch_;
    std::vector<std::int32_t> column_;
    std::vector<std::int32_t> place_;  // empty unless it is kept
    std::vector<float> input_, target_;
    std::vector<float> weight_;        // empty unless cells have weights
    std::vector<std::uint32_t> slot_;  // per column, while its block is listed: its list; else 0
    ColumnLists lists_;
};

// Assembles all rows of `matrix` in their order, uncorrupted, at most `most` at a time, and calls
// body(ids, first row, rows) on each batch, within one team of threads.
template <class Body>
void for_each_batch(Batch& batch, const CsrView& matrix, index_t most, const ColumnLayout& layout,
                    const RowTransform& transform, int num_threads, Body&& body) {
    std::vector<std::int32_t> ids(static_cast<std::size_t>(most));
    with_team(num_threads, [&] {
        for (index_t first = 0; first < matrix.rows; first += most) {
            const index_t count = std::min(most, matrix.rows - first);
            std::iota(ids.begin(), ids.begin() + count, static_cast<std::int32_t>(first));
            batch.assemble(matrix, ids.data(), count, layout, transform, {}, num_threads);
            body(static_cast<const std::int32_t*>(ids.data()), first, count);
        }
    });
}

// How many rows of `matrix` are encoded at a time outside training.
inline index_t rows_at_once(const CsrView& matrix) {
    return std::clamp(matrix.rows, index_t{1}, index_t{512});
}

// Codes of every row of `matrix`, uncorrupted, its columns in their order: encode(batch, ids,
// begin, end) is to leave those of batch rows [begin, end), rows of the matrix by ids, in
// `encoded`, which has room for rows_at_once(matrix). Pieces have `grain` rows.
template <class Encode>
void encode_in_batches(const CsrView& matrix, const RowTransform& transform, index_t grain,
                       int num_threads, const Matrix& encoded, MatrixView codes, Encode&& encode) {
    const ColumnLayout layout = ColumnLayout::in_order(matrix.cols, matrix.mean_row_nnz());
    Batch batch;
    const auto encode_batch = [&](const std::int32_t* ids, index_t first, index_t count) {
        parallel_ranges(count, grain, num_threads, [&](index_t begin, index_t end) {
            encode(std::as_const(batch), ids, begin, end);
            for (index_t r = begin; r < end; ++r) {
                std::copy_n(encoded.row(r), codes.cols, codes.row(first + r));
            }
        });
    };
    for_each_batch(batch, matrix, rows_at_once(matrix), layout, transform, num_threads,
                   encode_batch);
}

}  // namespace isthmus
