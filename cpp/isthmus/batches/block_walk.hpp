#pragma once
// The order in which threads walk the blocks of a batch where each row has a sum that goes on from
// block to block: a slice's blocks come in order for every row, so that the bits of the sums do
// not depend on the threads.

#include <algorithm>
#include <atomic>
#include <vector>

#include "isthmus/batches/batch.hpp"
#include "isthmus/batches/column_layout.hpp"
#include "isthmus/core/parallel.hpp"
#include "isthmus/core/types.hpp"

namespace isthmus {

// Calls before(block), then walk(slice, block, rows) until it had all rows of the batch, in any
// order, then after(block), for each block. None of them may throw.
//
// Threads that divide the slices take a slice each. More threads take a block each, and follow the
// one in the block before a few rows behind: the rows' sums move from thread to thread, while a
// block's weights, which are more, stay in the cache of one. Where there are too few blocks for
// that, threads share the rows.
template <class Before, class Walk, class After>
void walk_blocks(const Batch& batch, int num_threads, const Before& before, const Walk& walk,
                 const After& after) {
    const ColumnLayout& layout = batch.layout();
    const index_t slices = layout.slices();
    if (slices % num_threads == 0) {
        parallel_for(slices, num_threads, [&](index_t slice) {
            const Range own = layout.slice_blocks(slice);
            for (index_t b = own.begin; b < own.end; ++b) {
                before(b);
                walk(slice, b, Range{0, batch.rows()});
                after(b);
            }
        });
        return;
    }

    const index_t pieces = (3 * num_threads + slices - 1) / slices;
    const auto rows = [&](index_t piece) { return batch.rows_of(piece, pieces); };
    if (layout.blocks() < 2 * num_threads) {
        parallel_for(layout.blocks(), num_threads, before);
        parallel_for(slices * pieces, num_threads, [&](index_t task) {
            const index_t slice = task / pieces;
            const Range own = layout.slice_blocks(slice);
            for (index_t b = own.begin; b < own.end; ++b) walk(slice, b, rows(task % pieces));
        });
        parallel_for(layout.blocks(), num_threads, after);
        return;
    }

    index_t longest = 0;
    for (index_t s = 0; s < slices; ++s) longest = std::max(longest, layout.slice_blocks(s).size());
    std::vector<std::atomic<index_t>> done(static_cast<std::size_t>(layout.blocks()));
    // tasks start in order: the block that one follows has been started
    parallel_for(slices * longest, num_threads, [&](index_t task) {
        const index_t slice = task % slices;
        const Range own = layout.slice_blocks(slice);
        const index_t b = own.begin + task / slices;
        if (b >= own.end) return;
        before(b);
        for (index_t piece = 0; piece < pieces; ++piece) {
            if (b > own.begin) wait_for(done[static_cast<std::size_t>(b - 1)], piece + 1);
            walk(slice, b, rows(piece));
            done[static_cast<std::size_t>(b)].store(piece + 1, std::memory_order_release);
        }
        after(b);
    });
}

}  // namespace isthmus
