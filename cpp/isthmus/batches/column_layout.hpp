#pragma once
// The order in which the core keeps the columns of a sparse matrix, never visible outside.
//
// Columns are dealt, most popular first, to a fixed number of slices; a slice's columns are cut
// into blocks. What a batch reads of a block's weights fits the caches, and a row has cells in most
// blocks, so that a batch costs its cells, however many columns there are. A slice is what one
// worker owns during a pass: it reads and writes the weights of its own columns only. The number of
// slices follows from the matrix, never from the threads, so that sums over slices have one order.

#include <cstdint>
#include <vector>

#include "isthmus/core/types.hpp"

namespace isthmus {

class ColumnLayout {
public:
    ColumnLayout() = default;

    // popularity: stored cells of each column; rows: rows of the matrix that hold any; batch_rows:
    // rows of a batch; slice_of: the slice of each column, from 0 on and none without a column, if
    // they are not to be dealt here. The layout inside a slice follows from its columns alone.
    ColumnLayout(const std::vector<std::int64_t>& popularity, index_t rows, index_t batch_rows,
                 const std::vector<std::int32_t>& slice_of = {});

    // Keeps the columns' order, in one slice. Blocks are wide enough that a row of this many cells
    // has one in most of them.
    static ColumnLayout in_order(index_t cols, double cells_per_row);

    // The same for rows that are nearly full.
    static ColumnLayout in_order(index_t cols) { return in_order(cols, static_cast<double>(cols)); }

    // Keeps the columns' order, in slices that begin where these do, each up to the next.
    static ColumnLayout in_order(const std::vector<Range>& slices, index_t cols);

    index_t cols() const { return static_cast<index_t>(internal_.size()); }
    index_t slices() const { return static_cast<index_t>(slice_blocks_.size()) - 1; }
    index_t blocks() const { return static_cast<index_t>(block_start_.size()) - 1; }

    // The blocks of a slice, and the internal columns of a block.
    Range slice_blocks(index_t slice) const {
        return {slice_blocks_[slice], slice_blocks_[slice + 1]};
    }
    Range block(index_t block) const { return {block_start_[block], block_start_[block + 1]}; }

    // Original column -> internal column.
    const std::int32_t* internal() const { return internal_.data(); }

    // Original column -> internal column and its block, in one look-up.
    struct Place {
        std::int32_t column, block;
    };
    const Place* places() const { return places_.data(); }

private:
    void append_slice(index_t end, index_t width);

    std::vector<std::int32_t> internal_;
    std::vector<Place> places_;
    std::vector<index_t> slice_blocks_;
    std::vector<index_t> block_start_;
};

}  // namespace isthmus
