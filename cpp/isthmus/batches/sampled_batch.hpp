#pragma once
// A batch of rows of implicit feedback: each row's positives, of which a mask leaves some to the
// input, and sampled negatives, by blocks of items whose weights fit a cache.

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "isthmus/batches/column_layout.hpp"
#include "isthmus/batches/item_set.hpp"
#include "isthmus/core/csr.hpp"
#include "isthmus/core/random.hpp"
#include "isthmus/core/types.hpp"

namespace isthmus {

class SampledBatch {
public:
    struct Options {
        index_t items, units;   // of the weights that are to be trained on it
        index_t rows;           // at most
        double mean_positives;  // of a row
        index_t negatives = 5;  // for each positive
        float corruption = 0;   // probability that a positive is masked in the input
    };
    explicit SampledBatch(const Options& options);

    // Begins a batch of rows ids[0..count) of `matrix`, whose columns ascend and whose values (or
    // null, for 1) are the positives' weights. Call sample() for all rows next, and then sort().
    void start(const CsrView& matrix, const std::int32_t* ids, index_t count);

    // Fills in rows [begin, end), by the draws and the rows' ids alone. Different threads may fill
    // different rows.
    void sample(const CsrView& matrix, const std::int32_t* ids, index_t begin, index_t end,
                const Philox& negatives, const Philox& mask);

    // Lists the rows of every block.
    void sort();

    index_t rows() const { return rows_; }
    index_t blocks() const { return blocks_; }
    index_t block_items() const { return index_t{1} << shift_; }
    Range block(index_t block) const;
    index_t cells() const { return static_cast<index_t>(start_[static_cast<std::size_t>(rows_)]); }

    // A row's cells of a block: the input's first, then the other positives, then the negatives.
    struct Cells {
        index_t row;
        const std::int32_t* item;
        const float* weight;  // of the positives; null where all are 1
        index_t first;        // their place among the batch's
        index_t inputs, positives, size;
    };
    // Calls body(cells) for a row's blocks that have any of its cells, or a block's rows, in order.
    template <class Body>
    void for_each_of_row(index_t row, Body&& body) const {
        const auto at = static_cast<std::size_t>(row);
        for_each(by_row_, row_begin_[at], row_end_[at], body);
    }
    template <class Body>
    void for_each_of_block(index_t block, Body&& body) const {
        const auto at = static_cast<std::size_t>(block);
        for_each(by_block_, block_begin_[at], block_begin_[at + 1], body);
    }
    bool has_cells(index_t block) const {
        const auto at = static_cast<std::size_t>(block);
        return block_begin_[at] < block_begin_[at + 1];
    }

    // The value of every input: above 1, to make up for the masked ones.
    float input() const { return 1.0f / (1.0f - options_.corruption); }

private:
    // Cells of a row in a block.
    struct Segment {
        std::int32_t row, block;
        std::uint32_t begin, input_end, positives_end, end;
    };
    // Scratch for sampling a row, as large as all items: reused by other rows, and left empty.
    struct Scratch {
        explicit Scratch(index_t items) : chosen(items) {}
        ItemSet chosen;
        std::vector<std::int32_t> negatives;
        std::vector<std::uint32_t> words;
    };
    template <class Body>
    void for_each(const std::vector<Segment>& segments, std::size_t begin, std::size_t end,
                  const Body& body) const {
        for (std::size_t i = begin; i < end; ++i) {
            const Segment& at = segments[i];
            body(Cells{at.row, item_.data() + at.begin,
                       weight_.empty() ? nullptr : weight_.data() + at.begin, at.begin,
                       at.input_end - at.begin, at.positives_end - at.begin, at.end - at.begin});
        }
    }
    std::unique_ptr<Scratch> take_scratch();
    void put_back(std::unique_ptr<Scratch> scratch);
    void sample_row(const CsrView& matrix, std::int32_t id, index_t row, const Philox& negatives,
                    const Philox& mask, Scratch& scratch);

    Options options_;
    index_t shift_, blocks_, rows_ = 0;
    std::vector<std::uint32_t> start_;  // per row: its first cell; and the end
    std::vector<std::int32_t> item_;
    std::vector<float> weight_;  // as the items; empty unless positives have weights
    // Segments that have a cell, row by row (with unused room between rows), and block by block.
    std::vector<Segment> by_row_, by_block_;
    std::vector<std::size_t> row_begin_, row_end_, block_begin_;
    std::mutex mutex_;
    std::vector<std::unique_ptr<Scratch>> idle_;
};

}  // namespace isthmus
