#include "isthmus/batches/sampled_batch.hpp"

#include <algorithm>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <string>
#include <utility>

#include "isthmus/batches/negatives.hpp"

namespace isthmus {

namespace {

// A block's weights and their gradients are to stay in a core's caches while the rows pass by, and
// a row's share of a block to be worth its overhead.
constexpr index_t kLeastShift = 7;
constexpr index_t kMostBlockFloats = 1 << 18;
constexpr double kWantedCells = 16.0;

// After every item.
constexpr std::int32_t kNone = std::numeric_limits<std::int32_t>::max();

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
      row_begin_(static_cast<std::size_t>(options.rows)),
      row_end_(row_begin_.size()),
      block_begin_(static_cast<std::size_t>(blocks_ + 2)) {
    options_.negatives = std::min(options.negatives, options.items);  // whose product is to fit
}

Range SampledBatch::block(index_t block) const {
    return {block << shift_, std::min((block + 1) << shift_, options_.items)};
}

void SampledBatch::start(const CsrView& matrix, const std::int32_t* ids, index_t count) {
    rows_ = count;
    std::int64_t total = 0;
    std::size_t segments = 0;
    for (index_t r = 0; r < count; ++r) {
        const index_t positives = matrix.row_nnz(ids[r]);
        const index_t cells =
            positives + std::min(options_.negatives * positives, options_.items - positives);
        start_[static_cast<std::size_t>(r)] = static_cast<std::uint32_t>(total);
        row_begin_[static_cast<std::size_t>(r)] = segments;
        total += cells;
        segments += static_cast<std::size_t>(std::min(cells, blocks_));
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
    weight_.resize(matrix.values ? item_.size() : 0);
    if (by_row_.size() < segments) by_row_.resize(segments);
}

void SampledBatch::sample(const CsrView& matrix, const std::int32_t* ids, index_t begin,
                          index_t end, const Philox& negatives, const Philox& mask) {
    std::unique_ptr<Scratch> scratch = take_scratch();
    for (index_t r = begin; r < end; ++r) sample_row(matrix, ids[r], r, negatives, mask, *scratch);
    put_back(std::move(scratch));
}

std::unique_ptr<SampledBatch::Scratch> SampledBatch::take_scratch() {
    {
        const std::scoped_lock lock(mutex_);
        if (!idle_.empty()) {
            std::unique_ptr<Scratch> scratch = std::move(idle_.back());
            idle_.pop_back();
            return scratch;
        }
    }
    return std::make_unique<Scratch>(options_.items);
}

void SampledBatch::put_back(std::unique_ptr<Scratch> scratch) {
    const std::scoped_lock lock(mutex_);
    idle_.push_back(std::move(scratch));
}

void SampledBatch::sample_row(const CsrView& matrix, std::int32_t id, index_t row,
                              const Philox& negatives, const Philox& mask, Scratch& scratch) {
    const std::int32_t* own = matrix.indices + matrix.indptr[id];
    const float* own_weight = matrix.values ? matrix.values + matrix.indptr[id] : nullptr;
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
    std::size_t segment = row_begin_[static_cast<std::size_t>(row)];
    while (own < own_end || others < others_end) {
        const std::int32_t next_item =
            std::min(own < own_end ? *own : kNone, others < others_end ? *others : kNone);
        const index_t b = next_item >> shift_;
        const auto limit = static_cast<std::int32_t>(block(b).end);
        Segment& cells = by_row_[segment++];
        cells.row = static_cast<std::int32_t>(row);
        cells.block = static_cast<std::int32_t>(b);
        cells.begin = at;
        const std::int32_t* next = own;
        while (next < own_end && *next < limit) ++next;
        std::uint32_t back = at + static_cast<std::uint32_t>(next - own);
        cells.positives_end = back;
        for (; own < next; ++own) {
            const bool masked = Philox::to_uniform(*word++) < options_.corruption;
            back -= masked ? 1 : 0;
            item_[masked ? back : at] = *own;
            if (own_weight) weight_[masked ? back : at] = *own_weight++;
            at += masked ? 0 : 1;
        }
        cells.input_end = at;
        at = cells.positives_end;
        while (others < others_end && *others < limit) item_[at++] = *others++;
        cells.end = at;
    }
    row_end_[static_cast<std::size_t>(row)] = segment;
}

void SampledBatch::sort() {
    const auto for_each_segment = [this](const auto& body) {
        for (std::size_t r = 0; r < static_cast<std::size_t>(rows_); ++r) {
            for (std::size_t i = row_begin_[r]; i < row_end_[r]; ++i) body(by_row_[i]);
        }
    };
    // a counting sort: counts are kept two places on, so that once the blocks are filled their
    // begins are in place
    std::fill(block_begin_.begin(), block_begin_.end(), 0);
    for_each_segment([this](const Segment& segment) {
        ++block_begin_[static_cast<std::size_t>(segment.block) + 2];
    });
    std::partial_sum(block_begin_.begin(), block_begin_.end(), block_begin_.begin());
    if (by_block_.size() < block_begin_.back()) by_block_.resize(block_begin_.back());
    for_each_segment([this](const Segment& segment) {
        by_block_[block_begin_[static_cast<std::size_t>(segment.block) + 1]++] = segment;
    });
}

}  // namespace isthmus
