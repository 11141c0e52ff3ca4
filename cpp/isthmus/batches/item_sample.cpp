#include "isthmus/batches/item_sample.hpp"

#include <algorithm>
#include <cmath>

#include "isthmus/batches/negatives.hpp"
#include "isthmus/core/parallel.hpp"

namespace isthmus {

namespace {

constexpr index_t kItemsPerPiece = 256;

}  // namespace

ItemSample::ItemSample(index_t items, index_t drawn)
    : drawn_(drawn), set_(items), place_(static_cast<std::size_t>(items)) {}

void ItemSample::choose(const CsrView& matrix, const std::int32_t* ids, index_t count,
                        const Philox& draw, std::uint32_t batch) {
    std::vector<std::int32_t> own, others;
    for (index_t r = 0; r < count; ++r) {
        for (index_t i = matrix.indptr[ids[r]]; i < matrix.indptr[ids[r] + 1]; ++i) {
            set_.insert(matrix.indices[i]);
        }
    }
    set_.drain([&](std::int32_t item) { own.push_back(item); });
    const auto n_own = static_cast<index_t>(own.size());
    sample_negatives(draw, batch, own.data(), n_own, matrix.cols, drawn_, set_, others);
    items_.resize(own.size() + others.size());
    std::merge(own.begin(), own.end(), others.begin(), others.end(), items_.begin());

    const double represented = others.empty() ? 1.0
                                              : static_cast<double>(matrix.cols - n_own) /
                                                    static_cast<double>(others.size());
    log_weight_.assign(items_.size(), static_cast<float>(std::log(represented)));
    for (std::size_t place = 0; place < items_.size(); ++place) {
        place_[static_cast<std::size_t>(items_[place])] = static_cast<std::int32_t>(place);
    }
    for (const std::int32_t item : own) {
        log_weight_[static_cast<std::size_t>(place_[static_cast<std::size_t>(item)])] = 0.0f;
    }
    columns_.resize(static_cast<std::size_t>(matrix.nnz()));
    for (index_t r = 0; r < count; ++r) {
        for (index_t i = matrix.indptr[ids[r]]; i < matrix.indptr[ids[r] + 1]; ++i) {
            columns_[static_cast<std::size_t>(i)] =
                place_[static_cast<std::size_t>(matrix.indices[i])];
        }
    }
    rows_ = {matrix.rows, size(), matrix.indptr, columns_.data(), matrix.values};
}

// Calls copy(matrix of all items, matrix of the sample's) for the weights and each state.
template <class Copy>
void SampledParameter::for_each_pair(const Copy& copy) {
    copy(*whole_->weights, weights_);
    for (int i = 0; i < optimizer_states(kind_); ++i) copy(whole_->state[i], part_.state[i]);
}

void SampledParameter::reserve(index_t items) {
    const bool by_rows = axis_ == Axis::rows;
    const index_t room = by_rows ? weights_.rows() : weights_.cols();
    if (items <= room) return;
    const index_t whole = by_rows ? whole_->weights->rows() : whole_->weights->cols();
    const index_t wanted = std::min(whole, std::max(items, 2 * room));
    weights_ = by_rows ? Matrix(wanted, whole_->weights->cols()) : Matrix(1, wanted);
    part_ = Parameter(weights_, kind_);
}

Parameter& SampledParameter::gather(const std::vector<std::int32_t>& items, int num_threads) {
    const auto count = static_cast<index_t>(items.size());
    reserve(count);
    for_each_pair([&](const Matrix& all, Matrix& some) {
        parallel_ranges(count, kItemsPerPiece, num_threads, [&](index_t begin, index_t end) {
            for (index_t i = begin; i < end; ++i) {
                const std::int32_t item = items[static_cast<std::size_t>(i)];
                if (axis_ == Axis::rows) {
                    std::copy_n(all.row(item), all.width(), some.row(i));
                } else {
                    some.row(0)[i] = all.row(0)[item];
                }
            }
        });
    });
    return part_;
}

void SampledParameter::scatter(const std::vector<std::int32_t>& items, int num_threads) {
    const auto count = static_cast<index_t>(items.size());
    for_each_pair([&](Matrix& all, const Matrix& some) {
        parallel_ranges(count, kItemsPerPiece, num_threads, [&](index_t begin, index_t end) {
            for (index_t i = begin; i < end; ++i) {
                const std::int32_t item = items[static_cast<std::size_t>(i)];
                if (axis_ == Axis::rows) {
                    std::copy_n(some.row(i), all.width(), all.row(item));
                } else {
                    all.row(0)[item] = some.row(0)[i];
                }
            }
        });
    });
}

}  // namespace isthmus
