#pragma once
// Training on a sample of the items, for catalogues over which a softmax would take too long.
//
// A batch's items are those that its rows have and, of all others, some that are drawn. They and
// their weights are copied to the first places of small matrices, which the batch is trained on as
// if there were no more, and back: weights and state of other items stay as they are, as with
// PyTorch's SparseAdam.

#include <cstdint>
#include <vector>

#include "isthmus/batches/item_set.hpp"
#include "isthmus/core/csr.hpp"
#include "isthmus/core/random.hpp"
#include "isthmus/core/types.hpp"
#include "isthmus/nn/optimizers.hpp"
#include "isthmus/nn/parameter.hpp"

namespace isthmus {

class ItemSample {
public:
    // drawn: how many to draw for each batch, or all others if there are no more.
    ItemSample(index_t items, index_t drawn);

    // Chooses the items of rows ids[0..count) of `matrix`: a function of (draw, batch) and these.
    void choose(const CsrView& matrix, const std::int32_t* ids, index_t count, const Philox& draw,
                std::uint32_t batch);

    // Ascending.
    const std::vector<std::int32_t>& items() const { return items_; }
    index_t size() const { return static_cast<index_t>(items_.size()); }

    // The matrix given, with places among items() for the columns of the chosen rows.
    const CsrView& rows() const { return rows_; }

    // Per place: 0 for an item of a row's, and otherwise the logarithm of how many items one that
    // was drawn stands for. Sums over items of exp(logit + log_weight) have the right mean.
    const float* log_weight() const { return log_weight_.data(); }

private:
    index_t drawn_;
    ItemSet set_;                      // of those that are being chosen
    std::vector<std::int32_t> place_;  // per item of all, of those that were chosen
    std::vector<std::int32_t> items_;
    std::vector<float> log_weight_;
    std::vector<std::int32_t> columns_;  // the rows' cells, renumbered
    CsrView rows_;
};

// The part of a parameter that belongs to a sample's items: rows of a matrix or, of a bias,
// columns.
class SampledParameter {
public:
    enum class Axis { rows, columns };

    SampledParameter(Parameter& whole, Axis axis, OptimizerKind kind)
        : whole_(&whole), axis_(axis), kind_(kind) {}
    SampledParameter(const SampledParameter&) = delete;  // its parameter points into it
    SampledParameter& operator=(const SampledParameter&) = delete;

    // Copies weights and state of the items to the first places, and back.
    Parameter& gather(const std::vector<std::int32_t>& items, int num_threads);
    void scatter(const std::vector<std::int32_t>& items, int num_threads);

private:
    template <class Copy>
    void for_each_pair(const Copy& copy);
    void reserve(index_t items);

    Parameter* whole_;
    Axis axis_;
    OptimizerKind kind_;
    Matrix weights_;
    Parameter part_;
};

}  // namespace isthmus
