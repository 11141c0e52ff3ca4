#pragma once
// A batch of rows of implicit feedback: each row's positives, of which a mask leaves some to the
// input, and sampled negatives, by blocks of items whose weights fit a cache.

#include <cstdint>
#include <vector>

#include "isthmus/column_layout.hpp"
#include "isthmus/csr_view.hpp"
#include "isthmus/item_set.hpp"
#include "isthmus/random.hpp"
#include "isthmus/types.hpp"

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

    // Takes rows ids[0..count) of `matrix`, whose columns ascend; sample() fills in their cells.
    void start(const CsrView& matrix, const std::int32_t* ids, index_t count);

    // Fills in rows [begin, end), functions of the draws and the rows' ids alone. Threads may share
    // the rows out.
    void sample(const CsrView& matrix, const std::int32_t* ids, index_t begin, index_t end,
                const Philox& negatives, const Philox& mask);

    index_t rows() const { return rows_; }
    index_t blocks() const { return blocks_; }
    index_t block_items() const { return index_t{1} << shift_; }
    ColumnRange block(index_t block) const;
    index_t cells() const { return static_cast<index_t>(start_[static_cast<std::size_t>(rows_)]); }

    // A row's cells of a block: the input's first, then the other positives, then the negatives.
    struct Cells {
        const std::int32_t* item;
        index_t first;  // their place among the batch's
        index_t inputs, positives, size;
    };
    Cells cells(index_t block, index_t row) const {
        const Segment& at = segment_[static_cast<std::size_t>(block * rows_ + row)];
        return {item_.data() + at.begin, at.begin, at.input_end - at.begin,
                at.positives_end - at.begin, at.end - at.begin};
    }

    // The value of every input, which makes up for those that are masked.
    float input() const { return 1.0f / (1.0f - options_.corruption); }

private:
    struct Segment {
        std::uint32_t begin, input_end, positives_end, end;
    };
    struct Scratch {
        ItemSet chosen;
        std::vector<std::int32_t> negatives;
        std::vector<std::uint32_t> words;
    };
    void sample_row(const CsrView& matrix, std::int32_t id, index_t row, const Philox& negatives,
                    const Philox& mask, Scratch& scratch);

    Options options_;
    index_t shift_, blocks_, rows_ = 0;
    std::vector<std::uint32_t> start_;  // per row: its first cell; and the end
    std::vector<Segment> segment_;      // blocks x rows
    std::vector<std::int32_t> item_;
};

}  // namespace isthmus
