#include "isthmus/sampled_batch.hpp"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string>

#include "isthmus/negatives.hpp"

namespace isthmus {

namespace {

// A block's weights and their gradients are to stay in a core's caches while the rows pass by, and
// a row's share of a block to be worth its overhead.
constexpr index_t kLeastShift = 7;
constexpr index_t kMostBlockFloats = 1 << 18;
constexpr double kWantedCells = 16.0;

index_t block_shift(const SampledBatch::Options& options) {
    const double cells = options.mean_positives * (1.0 + static_cast<double>(options.negatives));
    const double density = cells / static_cast<double>(options.items);
    index_t shift = kLeastShift;
    while (static_cast<double>(index_t{1} << shift) * density < kWantedCells &&
           (round_up(options.units, kLineFloats) << (shift + 1)) <= kMostBlockFloats) {
        ++shift;
    }
    return shift;
}

}  // namespace

SampledBatch::SampledBatch(const Options& options)
    : options_(options),
      shift_(block_shift(options)),
      blocks_((options.items + block_items() - 1) / block_items()),
      start_(static_cast<std::size_t>(options.rows + 1)),
      segment_(static_cast<std::size_t>(blocks_ * options.rows)) {
    options_.negatives = std::min(options.negatives, options.items);  // whose product is to fit
}

ColumnRange SampledBatch::block(index_t block) const {
    return {block << shift_, std::min((block + 1) << shift_, options_.items)};
}

void SampledBatch::start(const CsrView& matrix, const std::int32_t* ids, index_t count) {
    rows_ = count;
    std::int64_t total = 0;
    for (index_t r = 0; r < count; ++r) {
        const index_t positives = matrix.row_nnz(ids[r]);
        start_[static_cast<std::size_t>(r)] = static_cast<std::uint32_t>(total);
        total += positives + std::min(options_.negatives * positives, options_.items - positives);
        if (total > std::numeric_limits<std::uint32_t>::max()) {
            throw std::invalid_argument(
                "a batch may hold at most 4,294,967,295 positives and negatives: lower batch_size "
                "or negatives");
        }
    }
    start_[static_cast<std::size_t>(count)] = static_cast<std::uint32_t>(total);
    if (item_.size() < static_cast<std::size_t>(total)) {
        item_.resize(static_cast<std::size_t>(total));
    }
}

void SampledBatch::sample(const CsrView& matrix, const std::int32_t* ids, index_t begin,
                          index_t end, const Philox& negatives, const Philox& mask) {
    Scratch scratch{ItemSet(options_.items), {}, {}};
    for (index_t r = begin; r < end; ++r) sample_row(matrix, ids[r], r, negatives, mask, scratch);
}

void SampledBatch::sample_row(const CsrView& matrix, std::int32_t id, index_t row,
                              const Philox& negatives, const Philox& mask, Scratch& scratch) {
    const std::int32_t* own = matrix.indices + matrix.indptr[id];
    const std::int32_t* const own_end = matrix.indices + matrix.indptr[id + 1];
    const index_t n = own_end - own;
    const auto key = static_cast<std::uint32_t>(id);
    const std::uint32_t first = start_[static_cast<std::size_t>(row)];
    const auto wanted = static_cast<index_t>(start_[static_cast<std::size_t>(row + 1)] - first) - n;
    sample_negatives(negatives, key, own, n, options_.items, wanted, scratch.chosen,
                     scratch.negatives);
    const std::int32_t* others = scratch.negatives.data();
    const std::int32_t* const others_end = others + wanted;
    scratch.words.resize(static_cast<std::size_t>(n));
    const std::uint32_t* word = scratch.words.data();
    if (options_.corruption > 0.0f) mask.words(key, own, n, scratch.words.data());

    std::uint32_t at = first;
    for (index_t b = 0; b < blocks_; ++b) {
        const auto limit = static_cast<std::int32_t>(block(b).end);
        Segment& cells = segment_[static_cast<std::size_t>(b * rows_ + row)];
        cells.begin = at;
        const std::int32_t* next = own;
        while (next < own_end && *next < limit) ++next;
        std::uint32_t back = at + static_cast<std::uint32_t>(next - own);
        cells.positives_end = back;
        for (; own < next; ++own) {
            const bool masked = Philox::to_uniform(*word++) < options_.corruption;
            back -= masked ? 1 : 0;
            item_[masked ? back : at] = *own;
            at += masked ? 0 : 1;
        }
        cells.input_end = at;
        at = cells.positives_end;
        while (others < others_end && *others < limit) item_[at++] = *others++;
        cells.end = at;
    }
}

}  // namespace isthmus
