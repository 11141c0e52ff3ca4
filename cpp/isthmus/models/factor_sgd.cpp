#include "isthmus/models/factor_sgd.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <numeric>
#include <utility>

#include "isthmus/core/chunks.hpp"
#include "isthmus/core/parallel.hpp"
#include "isthmus/core/random.hpp"
#include "isthmus/core/simd.hpp"
#include "isthmus/nn/epoch.hpp"

namespace isthmus {

namespace {

constexpr index_t kBlockCells = 4096;  // enough to be worth a thread's while
constexpr index_t kMaxBands = 128;
constexpr index_t kCellsAhead = 6;
constexpr index_t kPollCells = index_t{1} << 21;  // between two looks for Ctrl-C

using Counts = std::vector<index_t>;

// Deals rows to bands, those with most cells first, so that blocks have about equal shares.
std::vector<std::int32_t> deal(const Counts& counts, index_t bands) {
    std::vector<std::int32_t> order(counts.size()), band(counts.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](std::int32_t a, std::int32_t b) { return counts[a] > counts[b]; });
    for (std::size_t i = 0; i < order.size(); ++i) {
        band[order[i]] = static_cast<std::int32_t>(static_cast<index_t>(i) % bands);
    }
    return band;
}

// What a step at one of a row's cells leaves of its factors and bias: its share of the penalty.
struct Kept {
    float factors;
    float bias;
};

std::vector<Kept> kept(const Counts& counts, const RidgePenalty& penalty, float rate) {
    std::vector<Kept> rows(counts.size());
    std::transform(counts.begin(), counts.end(), rows.begin(), [&](index_t count) {
        const float share = rate / static_cast<float>(std::max<index_t>(count, 1));
        return Kept{1.0f - share * penalty.factors * penalty.scale(count),
                    1.0f / (1.0f + share * penalty.bias)};
    });
    return rows;
}

struct Side {
    MatrixView factors;
    float* bias;
    const Kept* kept;
};

double visit(const RatedCell* begin, const RatedCell* end, const Side& users, const Side& items,
             float mean, float rate) {
    const index_t width = users.factors.width();
    double squared_error = 0.0;
    for (const RatedCell* cell = begin; cell < end; ++cell) {
        if (end - cell > kCellsAhead) {
            const char* p =
                reinterpret_cast<const char*>(users.factors.row(cell[kCellsAhead].user));
            const char* q =
                reinterpret_cast<const char*>(items.factors.row(cell[kCellsAhead].item));
            for (index_t byte = 0; byte < width * 4; byte += 64) {
                __builtin_prefetch(p + byte, 1);
                __builtin_prefetch(q + byte, 1);
            }
        }
        float* p = users.factors.row(cell->user);
        float* q = items.factors.row(cell->item);
        float& user_bias = users.bias[cell->user];
        float& item_bias = items.bias[cell->item];
        const float error = cell->value - mean - user_bias - item_bias - dot(p, q, width);
        squared_error += static_cast<double>(error) * error;

        const Kept keep_user = users.kept[cell->user];
        const Kept keep_item = items.kept[cell->item];
        const float step = rate * error;
        for (index_t j = 0; j < width; j += kLanes) {
            const Floats old_p = load(p + j), old_q = load(q + j);
            store(p + j, multiply_add(step, old_q, keep_user.factors * old_p));
            store(q + j, multiply_add(step, old_p, keep_item.factors * old_q));
        }
        user_bias = keep_user.bias * (user_bias + step);
        item_bias = keep_item.bias * (item_bias + step);
    }
    return squared_error;
}

}  // namespace

FactorSgd::FactorSgd(const CsrView& by_user, std::uint64_t seed, int num_threads)
    : seed_(seed),
      cells_(static_cast<std::size_t>(by_user.nnz())),
      user_cells_(static_cast<std::size_t>(by_user.rows)),
      item_cells_(static_cast<std::size_t>(by_user.cols)) {
    for (index_t u = 0; u < by_user.rows; ++u) {
        user_cells_[static_cast<std::size_t>(u)] = by_user.row_nnz(u);
        for (index_t i = by_user.indptr[u]; i < by_user.indptr[u + 1]; ++i) {
            ++item_cells_[static_cast<std::size_t>(by_user.indices[i])];
        }
    }
    const auto wanted = static_cast<index_t>(
        std::sqrt(static_cast<double>(by_user.nnz()) / static_cast<double>(kBlockCells)));
    bands_ = std::clamp<index_t>(wanted, 1, std::min({kMaxBands, by_user.rows, by_user.cols}));
    const std::vector<std::int32_t> user_band = deal(user_cells_, bands_);
    const std::vector<std::int32_t> item_band = deal(item_cells_, bands_);
    const auto block_of = [&](index_t user, std::int32_t item) {
        return static_cast<std::size_t>(user_band[static_cast<std::size_t>(user)] * bands_ +
                                        item_band[static_cast<std::size_t>(item)]);
    };
    block_begin_.assign(static_cast<std::size_t>(bands_ * bands_ + 1), 0);
    for (index_t u = 0; u < by_user.rows; ++u) {
        for (index_t i = by_user.indptr[u]; i < by_user.indptr[u + 1]; ++i) {
            ++block_begin_[block_of(u, by_user.indices[i]) + 1];
        }
    }
    std::partial_sum(block_begin_.begin(), block_begin_.end(), block_begin_.begin());
    std::vector<index_t> place(block_begin_.begin(), block_begin_.end() - 1);
    for (index_t u = 0; u < by_user.rows; ++u) {
        for (index_t i = by_user.indptr[u]; i < by_user.indptr[u + 1]; ++i) {
            const std::int32_t item = by_user.indices[i];
            cells_[static_cast<std::size_t>(place[block_of(u, item)]++)] = {
                static_cast<std::int32_t>(u), item, by_user.values[i]};
        }
    }

    const Philox draw(seed, Stream::cells, 0);
    parallel_for(bands_ * bands_, num_threads, [&](index_t b) {
        RatedCell* first = cells_.data() + block_begin_[static_cast<std::size_t>(b)];
        const index_t size = block_begin_[static_cast<std::size_t>(b) + 1] -
                             block_begin_[static_cast<std::size_t>(b)];
        for (index_t i = size; i > 1; --i) {
            const std::uint64_t word =
                draw(static_cast<std::uint32_t>(b), static_cast<std::uint32_t>(i - 1))[0];
            std::swap(first[i - 1], first[(word * static_cast<std::uint64_t>(i)) >> 32]);
        }
    });
}

std::vector<std::int32_t> FactorSgd::offsets(index_t epoch) const {
    std::vector<std::int32_t> order(static_cast<std::size_t>(bands_));
    std::iota(order.begin(), order.end(), 0);
    shuffle(order, seed_, static_cast<std::uint32_t>(epoch));
    return order;
}

double FactorSgd::run_epoch(BiasedMF& model, const SidePenalties& penalties, float rate,
                            index_t epoch, int num_threads, const Poll& poll) const {
    const std::vector<Kept> user_kept = kept(user_cells_, penalties.user, rate);
    const std::vector<Kept> item_kept = kept(item_cells_, penalties.item, rate);
    const Side users{model.user_factors.view(), model.user_bias.data(), user_kept.data()};
    const Side items{model.item_factors.view(), model.item_bias.data(), item_kept.data()};
    const std::vector<std::int32_t> diagonals = offsets(epoch);
    std::vector<double> squared_error(static_cast<std::size_t>(bands_ * bands_));
    // How many diagonals are done in each band of users. A block waits for the two before it that
    // share its users or its items, rather than for the whole diagonal: where other programs use
    // the cores, threads would wait for each other at every one.
    std::vector<std::atomic<index_t>> done(static_cast<std::size_t>(bands_));

    const auto take = [&](index_t task) {
        const index_t d = task / bands_, band = task % bands_;
        const index_t offset = diagonals[static_cast<std::size_t>(d)];
        if (d > 0) {
            const index_t before = diagonals[static_cast<std::size_t>(d - 1)];
            wait_for(done[static_cast<std::size_t>(band)], d);
            wait_for(done[static_cast<std::size_t>((band + offset - before + bands_) % bands_)], d);
        }
        const auto b = static_cast<std::size_t>(block(band, offset));
        squared_error[static_cast<std::size_t>(task)] =
            visit(cells_.data() + block_begin_[b], cells_.data() + block_begin_[b + 1], users,
                  items, model.mean, rate);
        done[static_cast<std::size_t>(band)].store(d + 1, std::memory_order_release);
    };

    const index_t round = std::max<index_t>(1, kPollCells * bands_ / std::max<index_t>(1, nnz()));
    double total = 0.0;
    with_team(num_threads, [&] {
        for (index_t d = 0; d < bands_; d += round) {
            if (poll) poll(nnz() * d / bands_);
            const index_t begin = d * bands_, end = std::min(d + round, bands_) * bands_;
            // pieces are taken in order: what one waits for has been taken before it
            parallel_for(end - begin, num_threads, [&](index_t i) { take(begin + i); });
            for (index_t task = begin; task < end; ++task) {
                total += squared_error[static_cast<std::size_t>(task)];
            }
            if (!std::isfinite(total)) throw Diverged(epoch, d / round);
        }
    });
    return total;
}

std::vector<RatedCell> FactorSgd::order(index_t epoch) const {
    std::vector<RatedCell> all;
    all.reserve(cells_.size());
    for (const std::int32_t offset : offsets(epoch)) {
        for (index_t band = 0; band < bands_; ++band) {
            const auto b = static_cast<std::size_t>(block(band, offset));
            all.insert(all.end(), cells_.begin() + block_begin_[b],
                       cells_.begin() + block_begin_[b + 1]);
        }
    }
    return all;
}

}  // namespace isthmus
