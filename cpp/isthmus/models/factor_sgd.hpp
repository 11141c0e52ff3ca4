#pragma once
// Stochastic gradient descent on a factor model, in parallel with the same bits at any thread count
// (Gemulla, Nijkamp, Haas, Sismanis, KDD 2011).
//
// Users and items are dealt to as many bands as the matrix has cells to fill; a block is the cells
// of one band of each. Blocks on a diagonal share neither users nor items, so they may be taken at
// once, and a block follows those of the diagonal before that share any with it: the result is that
// of visiting the cells one by one.

#include <cstdint>
#include <vector>

#include "isthmus/core/csr.hpp"
#include "isthmus/core/parallel.hpp"
#include "isthmus/core/types.hpp"
#include "isthmus/models/biased_mf.hpp"
#include "isthmus/solvers/als.hpp"

namespace isthmus {

struct RatedCell {
    std::int32_t user;
    std::int32_t item;
    float value;
};

class FactorSgd {
public:
    // The cells are copied, in an order drawn within each block.
    FactorSgd(const CsrView& by_user, std::uint64_t seed, int num_threads);

    // Visits every cell once: e = value - prediction, p += rate (e q - penalty p), and so for q. A
    // row's penalty is spread over its cells, so that an epoch's steps add up to the gradient of
    // what ALS minimises, halved. A bias may have a penalty of more than its few cells bear in
    // steps: b = (b + rate e) / (1 + rate penalty), which has the same minimum. Returns the squared
    // errors before each step, summed. `poll` is called now and then with roughly the cells done.
    // Throws Diverged.
    double run_epoch(BiasedMF& model, const SidePenalties& penalties, float rate, index_t epoch,
                     int num_threads, const Poll& poll) const;

    // The cells in the order in which an epoch visits them, if there is one thread.
    std::vector<RatedCell> order(index_t epoch) const;

    index_t users() const { return static_cast<index_t>(user_cells_.size()); }
    index_t items() const { return static_cast<index_t>(item_cells_.size()); }
    index_t nnz() const { return static_cast<index_t>(cells_.size()); }

private:
    // The bands of items that go with those of users, band by band, in an epoch's n-th diagonal.
    std::vector<std::int32_t> offsets(index_t epoch) const;
    index_t block(index_t band, index_t offset) const {
        return band * bands_ + (band + offset) % bands_;
    }

    std::uint64_t seed_;
    index_t bands_;
    std::vector<RatedCell> cells_;                  // in order of the block
    std::vector<index_t> block_begin_;              // bands^2 + 1
    std::vector<index_t> user_cells_, item_cells_;  // each row's number of them
};

}  // namespace isthmus
